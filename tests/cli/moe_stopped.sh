#!/usr/bin/env bash
# moe_stopped.sh - a run that a signal ends leaves no file; one that ends well replaces old ones; a bar on a terminal only.
# SPDX-License-Identifier: MIT
exec 2>&1
python3 "$TESTS/moe_stopped_check.py"
