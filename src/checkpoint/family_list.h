/* family_list.h - every family of models. To add one: add its file, then its line here. */
/* SPDX-License-Identifier: MIT */
FAMILY(gmm_family_deepseek_v3)
FAMILY(gmm_family_gpt_oss)
FAMILY(gmm_family_mixtral)
FAMILY(gmm_family_qwen3_moe)
