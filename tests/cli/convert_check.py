"""convert_check.py - what `gathermm convert` makes of every family: tensors against the models' decoded values, byte for
byte round trips, config.json, the index and the other files."""
# SPDX-License-Identifier: MIT
import glob
import json
import os
import re
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["ROOT"], "tests", "checkpoint"))
from make_models import bf16, f32  # noqa: E402
from tensor_files import read, values  # noqa: E402

EXPERTS = {"mixtral": ("block_sparse_moe.", ("w1", "w3", "w2"), "switch_mlp."),
           "qwen3_moe": ("mlp.", ("gate_proj", "up_proj", "down_proj"), "switch_mlp."),
           "deepseek_v3": ("mlp.", ("gate_proj", "up_proj", "down_proj"), "switch_mlp."),
           "gpt_oss": ("mlp.", None, "experts.")}
PARTS = ("gate", "up", "down")
ROUND = {"F32": f32, "BF16": lambda v: bf16(f32(v)), "F16": lambda v: struct.unpack("<e", struct.pack("<e", f32(v)))[0]}


def load(folder):
    """Every tensor of a folder; the index and the metadata must agree with the files."""
    tensors, files = {}, {}
    for path in sorted(glob.glob(f"{folder}/model*.safetensors")):
        content, metadata = read(path)
        tensors.update(content)
        files.update({name: os.path.basename(path) for name in content})
    if os.path.exists(f"{folder}/model.safetensors.index.json"):
        with open(f"{folder}/model.safetensors.index.json", encoding="utf-8") as file:
            index = json.load(file)
        assert index["weight_map"] == files
        assert index["metadata"]["total_size"] == sum(len(data) for _, _, data in tensors.values())
    return tensors, metadata, len(set(files.values()))


def config_of(folder):
    """config.json."""
    with open(f"{folder}/config.json", encoding="utf-8") as file:
        return json.load(file)


def convert(source, out, layout, *options):
    """Run it and print its summary."""
    done = subprocess.run(["gathermm", "convert", source, out, "--to", layout, *options], check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    print(re.sub(r"; [0-9.]+ seconds", "", done.stdout), end="")


def expect(reference, tensors, name, wanted, shape):
    """A tensor has these numbers, rounded once to its type."""
    dtype, has, data = tensors[name]
    assert has == shape, (name, has, shape)
    got = values(dtype, data)
    assert list(got) == [ROUND[dtype](v) for v in wanted], name


def reference_of(path):
    """{name: (shape, doubles)}."""
    return {name: (shape, struct.unpack(f"<{len(data) // 8}d", data))
            for name, (dtype, shape, data) in read(path)[0].items() if dtype == "F64"}


def check_dense(family, layout, reference, tensors):
    """Experts, routers and shared experts that are dense after the conversion."""
    block, published, stack = EXPERTS[family]
    checked = 0
    for layer in sorted({name.split(".")[0] for name in reference}):
        prefix = f"model.layers.{layer}.{block}"
        router = prefix + ("router" if family == "gpt_oss" else "gate") + ".weight"
        if tensors[router][0] != "U32":
            expect(reference, tensors, router, *reversed(reference[f"{layer}.router"]))
            checked += 1
        for i, part in enumerate(PARTS):
            shape, wanted = reference[f"{layer}.{part}"]
            size = shape[1] * shape[2]
            if layout == "mlx" and tensors[f"{prefix}{stack}{part}_proj.weight"][0] != "U32":
                expect(reference, tensors, f"{prefix}{stack}{part}_proj.weight", wanted, shape)
                checked += 1
            if layout == "hf" and published:
                for e in range(shape[0]):
                    expect(reference, tensors, f"{prefix}experts.{e}.{published[i]}.weight",
                           wanted[e * size : (e + 1) * size], shape[1:])
                    checked += 1
            if f"{layer}.shared_{part}" in reference:
                shape, wanted = reference[f"{layer}.shared_{part}"]
                expect(reference, tensors, f"{prefix}shared_experts.{part}_proj.weight", wanted, shape)
                checked += 1
    return checked


def take_apart(data, rows):
    """Even and odd rows of `rows` rows."""
    size = len(data) // rows
    pieces = [data[r * size : (r + 1) * size] for r in range(rows)]
    return b"".join(pieces[0::2]), b"".join(pieces[1::2])


def check_blocks(published, converted):
    """gpt-oss: the bytes of blocks, scales and biases, in both layouts."""
    checked = 0
    for layer in range(2):
        prefix = f"model.layers.{layer}.mlp.experts."
        for before, after in (("_blocks", ".weight"), ("_scales", ".scales"), ("_bias", ".bias")):
            if prefix + "gate_up_proj" + before not in published or prefix + "gate_proj" + after not in converted:
                continue
            _, shape, data = published[prefix + "gate_up_proj" + before]
            gate, up = take_apart(data, shape[0] * shape[1])
            assert converted[prefix + "gate_proj" + after][2] == gate
            assert converted[prefix + "up_proj" + after][2] == up
            dtype, shape, data = converted[prefix + "down_proj" + after]
            assert published[prefix + "down_proj" + before][2] == data
            assert dtype == {"_blocks": "U32", "_scales": "U8", "_bias": "BF16"}[before]
            checked += 3
    return checked


def check_carried(before, after):
    """Tensors of one name and type have the same bytes in both."""
    same = [name for name in before if name in after and before[name][0] == after[name][0]]
    assert all(before[name] == after[name] for name in same)
    return len(same)


def missing(before, after):
    """Names of `before` that are not in `after`, whatever became of experts and scales."""
    coded = re.compile(r"experts|switch_mlp|kv_b_proj|embed_q|unembed_out|_scale_inv$|\.scales$|\.biases$")
    return sorted(name for name in before if name not in after and not coded.search(name))


def main():
    """Both ways, every family."""
    for name in sys.argv[1:]:
        family = name.rsplit("_", 1)[0]
        layout = "hf" if name.endswith("mlx") else "mlx"
        source, metadata, _ = load(f"models/{name}")
        reference = reference_of(f"models/{name}.reference.safetensors")
        print(f"== {name}")
        convert(f"models/{name}", f"{name}.{layout}", layout, "--shard-size", "100K")
        there, metadata, files = load(f"{name}.{layout}")
        dense = check_dense(family, layout, reference, there)
        blocks = check_blocks(*((source, there) if layout == "mlx" else (there, source)))
        print(f"{files} files, format {metadata['format']}; {dense} tensors have the model's numbers, {blocks} its bytes,",
              f"{check_carried(source, there)} are carried; missing: {missing(source, there)}")
        config = config_of(f"{name}.{layout}")
        print("quantization:", json.dumps(config.get("quantization")), json.dumps(config.get("quantization_config")))
        plain = {k: v for k, v in config_of(f"models/{name}").items() if not k.startswith("quantization")}
        assert plain == {k: v for k, v in config.items() if not k.startswith("quantization")}
        convert(f"{name}.{layout}", f"{name}.back", "hf" if layout == "mlx" else "mlx", "--quiet")
        back, _, _ = load(f"{name}.back")
        convert(f"{name}.back", f"{name}.again", layout, "--quiet")
        again, _, _ = load(f"{name}.again")
        equal = sorted(n for n in source if back.get(n) != source[n])
        print(f"back: {len(source) - len(equal)} of {len(source)} tensors have the same bytes;",
              f"there again: {all(again[n] == there[n] for n in again)}, missing: {sorted(set(there) - set(again))}")


main()
