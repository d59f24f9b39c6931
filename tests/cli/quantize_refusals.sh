#!/usr/bin/env bash
# quantize_refusals.sh - what quantize will not do, by name, leaving nothing behind.
# SPDX-License-Identifier: MIT
exec 2>&1

try() {
    echo "\$ gathermm quantize $*"
    gathermm quantize "$@" --mode affine
    echo "[$?]"
}

python3 - <<'PYTHON'
import os, sys
sys.path.insert(0, os.environ["TESTS"])
from tensor_files import tensor, write, write_json, write_npy, write_sharded

write("in.safetensors", {"a.weight": tensor("F32", 2, 64)})
write("small.safetensors", {"a.weight": tensor("F32", 2, 32), "b.weight": tensor("F32", 64), "c": tensor("F32", 2, 64)})
write("taken.safetensors", {"a.weight": tensor("F32", 2, 64), "a.biases": tensor("F32", 2, 1)})
done = {"x.weight": tensor("F32", 2, 64), "a.weight": tensor("U32", 2, 8), "a.scales": tensor("F32", 2, 1)}
write("done.safetensors", done)
write_npy("array.npy", "<f4", (2, 64), bytes(512))
for folder, key in (("configured", "quantization"), ("foreign", "quantization_config")):
    os.makedirs(folder)
    write(f"{folder}/model.safetensors", {"a.weight": tensor("F32", 2, 64)})
    write_json(f"{folder}/config.json", {key: {"quant_method": "fp8"}})
write_sharded("twice", index=False)
write("twice/model-extra.safetensors", {"lm_head.weight": tensor("F16", 2, 64)})
with open("cut.safetensors", "wb") as file, open("in.safetensors", "rb") as whole:
    file.write(whole.read()[:-4])
PYTHON
echo precious >exists
mkdir full empty
touch before full/file
ln -s nowhere dangling
ls -A >before
for out in exists full empty dangling in.safetensors; do
    try in.safetensors $out
done
cat exists
try small.safetensors out
try taken.safetensors out
try done.safetensors out
try configured out
try foreign out
try twice out
try cut.safetensors out
try array.npy out
try empty out
try in.safetensors no/such/folder/out
try in.safetensors out --exclude 'a'
try in.safetensors out --include 'b.*'
GMM_CPU_MASK=warp gathermm quantize in.safetensors out --mode affine >output 2>errors
echo "bad GMM_CPU_MASK: [$?] $(wc -l <output) lines of output, $(grep -c GMM_CPU_MASK errors) of errors that name it"
rm output errors
diff before <(ls -A) && echo "nothing is left"
