#!/usr/bin/env bash
# convert_progress.sh - a bar on a terminal, wiped at the end; none in a pipe.
# SPDX-License-Identifier: MIT
exec 2>&1
mkdir models
python3 "$TESTS/convert_models.py" models
python3 "$TESTS/progress_check.py" convert models/deepseek_v3_hf --to mlx
