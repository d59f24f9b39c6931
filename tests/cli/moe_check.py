"""moe_check.py - run `gathermm moe` on every model of make_models.py or, with "trained", on the bundled one, and hold
what it says against their layers' outputs in double precision, and its files against one another."""
# SPDX-License-Identifier: MIT
import array
import json
import math
import os
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET

import tensor_files

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ["mixtral_hf", "mixtral_mlx", "qwen3_moe_hf", "qwen3_moe_mlx", "gpt_oss_hf", "gpt_oss_dense", "gpt_oss_mlx",
         "deepseek_v3_hf", "deepseek_v3_mlx"]
TRAINED = os.path.join(os.environ["ROOT"], "examples", "tinymoe")
BITS = {"affine8": 8.5, "mxfp4": 4.25, "f16": 16}


def write_npy(path, shape, values):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        file.write(array.array("f", values).tobytes())


def read_npy(path):
    with open(path, "rb") as file:
        content = file.read()
    size = struct.unpack("<H", content[8:10])[0]
    assert b"'<f4'" in content[:10 + size]
    return array.array("f", content[10 + size:])


def run(*words):
    done = subprocess.run(["gathermm", "moe", *words, "--seconds", "0.001", "--threads", "1"], text=True, check=False,
                          capture_output=True)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def doubles(tensor):
    return array.array("d", tensor[2])


def distance(got, exact):
    return math.sqrt(math.fsum((g - e) ** 2 for g, e in zip(got, exact)) / math.fsum(e * e for e in exact))


def check_row(row):
    assert row["min_s"] <= row["median_s"] and row["repetitions"] >= 3 and row["spread"] >= 0
    assert abs(row["tokens_s"] * row["median_s"] / row["tokens"] - 1) < 1e-4
    assert row["ceiling"] in ("read", "fma_f32") and row["ceiling_share"] > 0
    assert 0 < row["bound_ratio"] < 1, row
    assert row["checked_tokens"] + row["undecided_tokens"] == min(8, row["routing_tokens"])
    assert row["top_k"] <= row["experts_used"] <= row["experts"]
    assert 1 <= row["busiest"] <= row["experts"] / row["top_k"] + 1e-5
    assert -1e-9 <= row["entropy_bits"] <= math.log2(row["experts"]) + 1e-5
    assert row["resident_bytes"] is None or 0 <= row["resident_bytes"]
    assert 1e-9 < row["error"] < (1e-6 if row["stored"] else 0.5), row
    assert row["stored"] or row["format"] == "f16" or row["error"] > 1e-4, row


def check_layer(name, number, reference):
    """A layer's own hidden states; returns its rows."""
    shape = reference[f"{number}.x"][1]
    write_npy("x.npy", shape, array.array("f", reference[f"{number}.x"][2]))
    text = run(f"models/{name}", "--layers", str(number), "--input", "x.npy", "--output", "y.npy", "--json", "rows.json",
               "--plot", "rows.svg", "--formats", "affine8,mxfp4,f16", "--tokens", "1,5")
    exact, rows = doubles(reference[f"{number}.y"]), load("rows.json")
    error = distance(read_npy("y.npy"), exact)
    for row in rows:
        check_row(row)
        assert row["layer"] == number and row["routing_tokens"] == shape[0] == 5
        if row["stored"] and not row["undecided_tokens"]:
            assert abs(row["error"] / error - 1) < 1e-3, (row, error)
        if row["format"] in BITS and not row["stored"]:
            weights = 3 * row["experts"] * row["hidden"] * row["intermediate"] * BITS[row["format"]] / 8
            biases = row["experts"] * (2 * row["intermediate"] + row["hidden"]) * 4 if "gpt_oss" in name else 0
            assert row["expert_bytes"] == weights + biases, row
    assert len(list(ET.parse("rows.svg").getroot().iter(SVG + "title"))) == len(rows)
    assert sum(line.startswith("  ") and line.endswith(("% read", "% fma_f32")) for line in text.split("\n")) == len(rows)
    return rows


def check_families():
    for model in NAMES:
        tensors, _ = tensor_files.read(f"models/{model}.reference.safetensors")
        for layer in sorted({int(key.split(".")[0]) for key in tensors}):
            found = check_layer(model, layer, tensors)
            print(model, layer, " ".join(dict.fromkeys(row["format"] + "*" * row["stored"] for row in found)),
                  f"{found[0]['experts_used']} of {found[0]['experts']} experts, {found[0]['owned_bytes']} bytes owned")


def check_trained():
    """The model's text has the outputs and the balance that its reference has."""
    tensors, _ = tensor_files.read(os.path.join(TRAINED, "reference.safetensors"))
    for layer in range(3):
        write_npy("x.npy", [256, 256], doubles(tensors[f"layers.{layer}.moe_input"]))
        run(TRAINED, "--layers", str(layer), "--input", "x.npy", "--output", "y.npy", "--json", "rows.json", "--tokens", "32")
        stored = load("rows.json")[0]
        ids = array.array("i", tensors[f"layers.{layer}.topk_ids"][2])
        shares = [ids.count(e) / len(ids) for e in set(ids)]
        assert stored["experts_used"] == len(shares) and abs(stored["busiest"] - 8 * max(shares)) < 1e-5
        assert abs(stored["entropy_bits"] + sum(s * math.log2(s) for s in shares)) < 1e-5
        off = distance(read_npy("y.npy"), doubles(tensors[f"layers.{layer}.moe_output"]))
        assert off < 1e-6, off
    print("tinymoe: outputs and balance as its reference has them")


def check_drawn():
    """Drawn hidden states are the same for a seed, and others for another; no table beside JSON on standard output."""
    outputs = []
    for seed in ("1", "1", "2"):
        assert json.loads(run(TRAINED, "--layers", "1", "--output", "y.npy", "--tokens", "3", "--seed", seed, "--check", "0",
                              "--json", "-"))[0]["error"] is None
        outputs.append(read_npy("y.npy"))
    assert outputs[0] == outputs[1] != outputs[2] and len(outputs[0]) == 64 * 256
    size = math.sqrt(sum(v * v for v in outputs[0]) / len(outputs[0]))
    print("drawn: the same for a seed;", "finite" if math.isfinite(size) and size > 0 else size)


def check_several():
    """Layers in the order of the words, each once, and what they take together."""
    text = run(TRAINED, "--layers", "2,0-1,1", "--tokens", "2", "--formats", "mxfp4", "--check", "1", "--json", "rows.json")
    print([row["layer"] for row in load("rows.json")], "all 3 layers, one after the other:" in text)


if sys.argv[1:] == ["trained"]:
    check_trained()
    check_drawn()
    check_several()
else:
    check_families()
print(sorted(os.listdir(".")))
