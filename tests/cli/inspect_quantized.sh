#!/usr/bin/env bash
# inspect_quantized.sh - how quantized modules decode, by config.json or by shape; overrides; parts that do not fit.
# SPDX-License-Identifier: MIT
exec 2>&1
python3 - <<'PYTHON'
import os, sys
sys.path.insert(0, os.environ["TESTS"])
from tensor_files import tensor, write, write_json

def module(name, rows, words, groups, scales="BF16", biases=True, lead=()):
    parts = {f"{name}.weight": tensor("U32", *lead, rows, words), f"{name}.scales": tensor(scales, *lead, rows, groups)}
    if biases:
        parts[f"{name}.biases"] = tensor(scales, *lead, rows, groups)
    return parts

def checkpoint(folder, tensors, quantization, key="quantization"):
    os.makedirs(folder)
    write(f"{folder}/model.safetensors", tensors)
    if quantization:
        write_json(f"{folder}/config.json", {key: quantization})

mixed = {
    **module("m.up", 4, 32, 4, lead=(2,)),
    **module("m.gate", 4, 64, 4),
    **module("m.mx", 4, 16, 4, scales="U8", biases=False),
    "m.norm.weight": tensor("BF16", 8),
    "m.router.weight": tensor("BF16", 4, 64),
}
checkpoint("mixed", mixed, {
    "group_size": 64, "bits": 4, "mode": "affine", "m.gate": {"group_size": 64, "bits": 8},
    "m.mx": {"mode": "mxfp4", "group_size": 32, "bits": 4}, "m.router": False,
})
checkpoint("legacy", module("m.up", 4, 32, 4), {"group_size": 64, "bits": 4}, key="quantization_config")
checkpoint("shapes", {
    **module("a.mxfp4", 4, 16, 4, scales="U8", biases=False),
    **module("a.mxfp8", 4, 32, 4, scales="U8", biases=False),
    **module("a.nvfp4", 4, 8, 4, scales="U8", biases=False),
    **module("a.three", 4, 12, 4),
    **module("a.four", 4, 32, 4),
}, None)
checkpoint("broken", {
    **module("b.fits", 4, 32, 4), **module("b.groups", 4, 32, 5), **module("b.nobiases", 4, 32, 4, biases=False),
    **module("b.rows", 4, 32, 4), "b.rows.scales": tensor("BF16", 3, 4), **module("b.no", 4, 32, 4),
    "b.alone.weight": tensor("U32", 4, 32),
}, {"group_size": 64, "bits": 4, "mode": "affine", "b.no": False})
checkpoint("unknown", module("c.up", 4, 32, 4), {"group_size": 64, "bits": 4, "mode": "int4"})
PYTHON
for folder in mixed legacy shapes broken unknown; do
    echo "\$ gathermm inspect $folder"
    gathermm inspect $folder | sed -n '/^total/,$p'
    echo "[${PIPESTATUS[0]}]"
done
gathermm inspect mixed --json | sed -n '/"quantization"/,$p'
gathermm inspect broken --json >broken.json
echo "[$?]"
echo "a shard by itself is explained by the config.json beside it:"
gathermm inspect mixed/model.safetensors | sed -n '/^total/,$p'
