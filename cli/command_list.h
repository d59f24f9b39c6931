/* command_list.h - every subcommand. To add one: add its file, then its line here. */
/* SPDX-License-Identifier: MIT */
COMMAND(cmd_audit)
COMMAND(cmd_bench)
COMMAND(cmd_convert)
COMMAND(cmd_guard)
COMMAND(cmd_info)
COMMAND(cmd_inspect)
COMMAND(cmd_moe)
COMMAND(cmd_quantize)
COMMAND(cmd_replay)
