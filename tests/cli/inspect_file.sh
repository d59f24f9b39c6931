#!/usr/bin/env bash
# inspect_file.sh - safetensors files: the trained example, every type and rank, names that a terminal would obey.
# SPDX-License-Identifier: MIT
exec 2>&1
cp "$ROOT/examples/tinymoe/model.safetensors" tinymoe.safetensors
gathermm inspect tinymoe.safetensors
gathermm inspect tinymoe.safetensors --tensors '*.layers.0.*gate*'
gathermm inspect tinymoe.safetensors --tensors nothing
gathermm inspect tinymoe.safetensors --json --tensors 'model.norm.*'

python3 - <<'PYTHON'
import os, sys
sys.path.insert(0, os.environ["TESTS"])
from tensor_files import tensor, write

write("types.safetensors", {
    "scalar": tensor("F32"),
    "empty": tensor("F16", 0, 7),
    "octets": tensor("U8", 5),
    "eight": tensor("F8_E4M3", 3, 1),
    "schön": tensor("I64", 2, 2, 2, 2),
    "bad\x1b[31m\u009b\n.name": tensor("F64", 1),
}, {"note": "red \x1b[31m", "format": "pt"})
write("none.safetensors", {})
PYTHON
gathermm inspect types.safetensors
gathermm inspect types.safetensors --json
gathermm inspect none.safetensors
echo "[$?]"
