"""quantize_check.py - decode a quantized checkpoint with Python's own numbers and compare it with its source."""
# SPDX-License-Identifier: MIT
import glob
import json
import os
import sys

from tensor_files import read, values, words


def load(folder):
    """Every tensor of a folder, and which file has it."""
    tensors, files = {}, {}
    for path in sorted(glob.glob(f"{folder}/model*.safetensors")):
        content, metadata = read(path)
        print(os.path.basename(path), metadata)
        tensors.update(content)
        files.update({name: os.path.basename(path) for name in content})
    return tensors, files


before, _ = load(sys.argv[1])
after, files = load(sys.argv[2])
with open(f"{sys.argv[2]}/config.json", encoding="utf-8") as file:
    config = json.load(file)["quantization"]
with open(f"{sys.argv[2]}/model.safetensors.index.json", encoding="utf-8") as file:
    index = json.load(file)
bits, group_size = config["bits"], config["group_size"]

assert index["weight_map"] == files and list(files) != sorted(files)
assert list(index["weight_map"]) == sorted(files)
assert index["metadata"]["total_size"] == sum(len(data) for _, _, data in after.values())
decoded = kept = 0
for name, (dtype, shape, data) in before.items():
    module = name[: -len(".weight")]
    if f"{module}.scales" not in after:
        assert after[name] == (dtype, shape, data), name
        kept += 1
        continue
    codes = words(after[name][2])
    scales = values(after[f"{module}.scales"][0], after[f"{module}.scales"][2])
    biases = values(after[f"{module}.biases"][0], after[f"{module}.biases"][2])
    assert after[name][1] == shape[:-1] + [shape[-1] * bits // 32]
    for i, number in enumerate(values(dtype, data)):
        code = codes[i * bits // 32] >> (i * bits % 32) & (2**bits - 1)
        scale, bias = scales[i // group_size], biases[i // group_size]
        # MLX stretches the step so that zero has a code, by at most half a step at the group's larger end, which is
        # at least `half` steps from zero: the other end may then be this many steps off. Rounding scale and bias to
        # their own type comes on top.
        most, half = 2**bits - 1, (2**bits - 1) // 2
        slack = (abs(scale) * most + abs(bias)) * 2.0**-8
        assert abs(scale * code + bias - number) <= abs(scale) * most / (2 * half - 1) + slack, (name, i)
    decoded += 1
print(f"{decoded} decoded, {kept} kept")
