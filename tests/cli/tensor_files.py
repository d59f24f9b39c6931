"""tensor_files.py - safetensors, npy and small checkpoints for the tests, with Python's own library only."""
# SPDX-License-Identifier: MIT
import array
import json
import os
import struct
import sys

BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "U32": 4, "U8": 1, "I64": 8, "F8_E4M3": 1}


def floats(dtype, values):
    """Bytes of floating numbers; BF16 by cutting, so give it numbers that it has."""
    if dtype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{ {'F32': 'f', 'F16': 'e', 'F64': 'd'}[dtype]}", *values)


def numbers(count, seed=1):
    """Whole numbers in [-100, 100] that every type holds, in no simple order."""
    state, out = seed, []
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        out.append(float((state >> 12) % 201 - 100))
    return out


def tensor(dtype, *shape, seed=1):
    """(dtype, shape, bytes) with numbers in it."""
    count = 1
    for size in shape:
        count *= size
    if dtype in ("F32", "F16", "BF16", "F64"):
        data = floats(dtype, numbers(count, seed))
    else:
        data = bytes(i % 251 for i in range(count * BYTES[dtype]))
    return dtype, list(shape), data


def write(path, tensors, metadata=None):
    """Write {name: (dtype, shape, bytes)}."""
    header, offset = {}, 0
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)


def read(path):
    """{name: (dtype, shape, bytes)} and the metadata."""
    with open(path, "rb") as file:
        content = file.read()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    data = content[8 + size :]
    return {
        name: (t["dtype"], t["shape"], data[t["data_offsets"][0] : t["data_offsets"][1]]) for name, t in header.items()
    }, metadata


def write_npy(path, descr, shape, data, fortran=False):
    """Write an npy file, version 1.0."""
    header = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {tuple(shape)}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data)


def write_json(path, value):
    """Write a JSON file."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)


def write_sharded(folder, index=True):
    """A checkpoint of two shards, with the odd cases: kept types, ranks, axes, stacked experts, other files."""
    os.makedirs(f"{folder}/sub")
    shards = {
        "model-00001-of-00002.safetensors": {
            "model.embed_tokens.weight": tensor("BF16", 16, 64, seed=2),
            "model.layers.0.mlp.switch_mlp.up_proj.weight": tensor("BF16", 3, 8, 128, seed=3),
            "model.layers.0.mlp.gate.weight": tensor("BF16", 3, 64, seed=4),
            "model.layers.0.norm.weight": tensor("BF16", 64),
            "model.layers.0.conv.weight": tensor("BF16", 4, 3),
        },
        "model-00002-of-00002.safetensors": {
            "model.layers.1.norm.weight": tensor("BF16", 64),
            "model.layers.1.proj.weight": tensor("F32", 8, 64, seed=5),
            "model.layers.1.proj.bias": tensor("F32", 8),
            "position_ids": tensor("I64", 1, 5),
            "lm_head.weight": tensor("F16", 16, 64, seed=6),
        },
    }
    for name, tensors in shards.items():
        write(f"{folder}/{name}", tensors, {"format": "pt", "from": name})
    if index:
        weight_map = {tensor_name: name for name, tensors in shards.items() for tensor_name in tensors}
        write_json(f"{folder}/model.safetensors.index.json", {"metadata": {"total_size": 1}, "weight_map": weight_map})
    write_json(f"{folder}/config.json", {"model_type": "test", "rms_norm_eps": 1e-05, "nest": {"b": 1, "a": 0.1}})
    write_json(f"{folder}/tokenizer.json", {"é": "ü"})
    with open(f"{folder}/.hidden", "w", encoding="utf-8") as file:
        file.write("hidden\n")


def half_value(dtype, code):
    """The number of a 16-bit code."""
    if dtype == "F16":
        return struct.unpack("<e", struct.pack("<H", code))[0]
    return struct.unpack("<f", struct.pack("<HH", 0, code))[0]


def values(dtype, data):
    """Floating numbers of bytes."""
    if dtype == "F32":
        return struct.unpack(f"<{len(data) // 4}f", data)
    return [half_value(dtype, code) for code in struct.unpack(f"<{len(data) // 2}H", data)]


def words(data):
    """Little-endian 32-bit words."""
    out = array.array("I", data)
    if sys.byteorder == "big":
        out.byteswap()
    return out
