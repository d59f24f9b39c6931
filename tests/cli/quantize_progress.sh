#!/usr/bin/env bash
# quantize_progress.sh - a bar on a terminal, wiped at the end, never wider than the window; none in a pipe.
# SPDX-License-Identifier: MIT
exec 2>&1
cp "$ROOT/examples/tinymoe/model.safetensors" in.safetensors
python3 "$TESTS/progress_check.py" quantize in.safetensors --mode affine
