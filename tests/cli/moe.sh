#!/usr/bin/env bash
# moe.sh - expert layers of every family in every form, compared with their outputs in double precision; no time is judged.
# SPDX-License-Identifier: MIT
exec 2>&1
unset GMM_CPU_MASK
python3 "$ROOT/tests/checkpoint/make_models.py" models
python3 "$TESTS/moe_check.py"

# The table, without its numbers that change.
gathermm moe models/qwen3_moe_mlx --seconds 0.001 --threads 1 --tokens 1,4 --formats affine4/32,mxfp8,nvfp4 >text
echo "[$?]"
sed -E 's/ +[0-9.]+ [um]?s +[0-9.]+% .*% (read|fma_f32|mixed)$/ .../; s/^(1 thread: read) .*/\1 .../' text |
    sed -E 's/in memory(.*): .*/in memory\1 .../; /^note: .*above 110%/d'

# Rows that are no whole groups.
gathermm moe models/deepseek_v3_hf --seconds 0.001 --threads 1 --tokens 1 --formats affine4,f32 | grep -c '^note: layer 1: affine4 left out: rows of'
