#!/usr/bin/env bash
# convert_refusals.sh - what convert will not do, by name, leaving nothing behind; what --force replaces.
# SPDX-License-Identifier: MIT
exec 2>&1

try() {
    echo "\$ gathermm convert $*"
    gathermm convert "$@" | sed -E 's/; [0-9.]+ seconds$//'
    echo "[${PIPESTATUS[0]}]"
}

mkdir models
python3 "$TESTS/convert_models.py" models
rm models/*.reference.safetensors
in=models/mixtral_hf
cp -r $in cut
python3 - <<'PYTHON'
import json, os, sys
sys.path.insert(0, os.environ["TESTS"])
from tensor_files import read, tensor, write, write_json, write_sharded

with open("cut/model-00002-of-00003.safetensors", "r+b") as file:
    file.truncate(os.path.getsize(file.name) - 4)

def changed(folder, model, change):
    """A model of one file with other tensors."""
    os.makedirs(folder)
    tensors, _ = read(f"models/{model}/model.safetensors")
    with open(f"models/{model}/config.json", encoding="utf-8") as file:
        config = json.load(file)
    change(tensors, config)
    write(f"{folder}/model.safetensors", tensors)
    write_json(f"{folder}/config.json", config)

name = "model.layers.0.mlp.experts.3.up_proj.weight"
changed("mixed", "qwen3_moe_hf", lambda t, c: t.update({name: tensor("BF16", 32, 64)}))
changed("short", "qwen3_moe_hf", lambda t, c: t.pop(name))
changed("taken", "qwen3_moe_hf",
        lambda t, c: t.update({"model.layers.0.mlp.switch_mlp.up_proj.weight": tensor("BF16", 2)}))
changed("unscaled", "mixtral_mlx",
        lambda t, c: t.update({"model.a.weight": tensor("U32", 4, 8), "model.a.scales": tensor("BF16", 4, 3)}))
changed("dense", "gpt_oss_dense", lambda t, c: c.update(model_type="llama"))
write_sharded("alien")
PYTHON
echo precious >file
mkdir full sub empty
echo precious >full/notes
cp -r $in/. sub
mkdir sub/folder
ln -s $in link
find models -type f -exec sha256sum {} + | sort >sums
ls -A >before
try $in out
try $in out --to gguf
try $in --to mlx
try $in out --to mlx --shard-size 5X
try $in out --to mlx --shard-size 99999999999999999999T
try $in out --to mlx --shard-size 1000
try $in out --to mlx --quantize int4
try $in out --to mlx --quantize affine --bits 7
try $in out --to mlx --bits 4
try $in out --to mlx --include '*'
try models/mixtral_mlx out --to hf --quantize affine
try $in out --to hf
try models/mixtral_mlx out --to mlx
try $in out --to mlx --quantize affine --include nothing
try no/such out --to mlx
try $in/config.json out --to mlx
try $in no/such/out --to mlx
try $in /proc/out --to mlx
for out in file full empty sub; do
    try $in $out --to mlx
    [ $out = empty ] || try $in $out --to mlx --force
done
try $in $in --to mlx --force
try $in link/ --to mlx --force
try link $in/out --to mlx
try $in models --to mlx --force
for folder in cut mixed short taken unscaled dense alien; do
    try $folder out --to mlx
done
try unscaled out --to hf
find models -type f -exec sha256sum {} + | sort | diff sums - && diff before <(ls -A) && echo "nothing is left, nothing is changed"
cat file full/notes
try $in out --to mlx --dry-run
try $in out --to mlx --json --dry-run
try $in out --to mlx
echo old >out/old
try models/qwen3_moe_mlx out --to hf
try models/qwen3_moe_mlx out --to hf --force
ls out
try $in empty --to mlx --force --quantize affine --group-size 32 --exclude '*.gate' --dtype f16
ls -A
