#!/usr/bin/env bash
# quantize_cast.sh - --dtype between all types: every f16 and bf16 code and the hard f32 ones.
# SPDX-License-Identifier: MIT
exec 2>&1
python3 "$TESTS/cast_check.py" make
for dtype in f32 f16 bf16; do
    gathermm quantize in.safetensors $dtype --mode affine --dtype $dtype --quiet
    gathermm quantize in.safetensors $dtype.json --mode affine --dtype $dtype --json 2>/dev/null | grep overflows
    python3 "$TESTS/cast_check.py" $dtype
done
