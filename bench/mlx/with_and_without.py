#!/usr/bin/env python3
# with_and_without.py - MLX programs on this CPU with gathermm.mlx.install() and without, turn about in one process.
# SPDX-License-Identifier: MIT
"""Wants gathermm, mlx-cpu and mlx-lm: see docs/python.md. Each number is the best call of its side; a turn is a tenth of a second,
or one call that takes longer."""
import argparse
import json
import pathlib
import time

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.generate import generate_step
from mlx_lm.models import mixtral

import gathermm.mlx

TURN = 0.1
TINYMOE = pathlib.Path(__file__).parents[2] / "examples" / "tinymoe"
FORMS = {"dense": None, "affine4": {"mode": "affine", "group_size": 64, "bits": 4},
         "mxfp4": {"mode": "mxfp4", "group_size": 32, "bits": 4}}


def turns(function, rounds):
    """The best seconds without and with."""
    best = [float("inf")] * 2
    for _ in range(rounds):
        for side in range(2):
            if side:
                gathermm.mlx.install()
            end = time.perf_counter() + TURN
            while (start := time.perf_counter()) < end:
                function()
                best[side] = min(best[side], time.perf_counter() - start)
            gathermm.mlx.uninstall()
    return best


def say(name, count, unit, seconds):
    rates = [count / s for s in seconds]
    print(f"| {name} | {rates[0]:.4g} | {rates[1]:.4g} | {unit} | {rates[1] / rates[0]:.1f} |", flush=True)


def load(sizes, dtype, form):
    arguments = json.loads((TINYMOE / "config.json").read_text())
    model = mixtral.Model(mixtral.ModelArgs.from_dict({**arguments, **sizes}))
    if not sizes:
        model.load_weights(list(model.sanitize(mx.load(str(TINYMOE / "model.safetensors"))).items()))
    model.set_dtype(dtype)
    if form:
        nn.quantize(model, **form)
    mx.eval(model.parameters())
    return model


def models(rounds):
    larger = {"hidden_size": 1024, "intermediate_size": 2048, "num_hidden_layers": 2, "num_attention_heads": 16,
              "head_dim": 64, "num_key_value_heads": 4}
    for label, sizes, prompt, count in (("tinymoe", {}, 64, 8), ("1024 x 2048, 2 layers", larger, 32, 4)):
        tokens = mx.array(np.frombuffer((TINYMOE / "heldout.txt").read_bytes()[:prompt], np.uint8).astype(np.int32))
        for dtype, name in ((mx.float32, "dense"), (mx.float32, "affine4"), (mx.bfloat16, "affine4")):
            model = load(sizes, dtype, FORMS[name])
            what = f"{label}, {str(dtype).rpartition('.')[2]}, {name}"
            say(f"{what}: prompt of {prompt}", prompt, "tokens/s", turns(lambda: mx.eval(model(tokens[None])), rounds))
            say(f"{what}: generating", count, "tokens/s",
                turns(lambda: list(generate_step(tokens[:1], model, max_tokens=count)), rounds))


def operations(rounds):
    hidden, intermediate, experts = 2048, 4096, 8
    rng = np.random.default_rng(0)
    w = mx.array(rng.normal(size=(experts, intermediate, hidden)).astype(np.float32) / 64)
    formats = {name: mx.quantize(w, **form) for name, form in FORMS.items() if form}
    for rows in (1, 16):
        x = mx.array(rng.normal(size=(rows, 1, 1, hidden)).astype(np.float32))
        index = mx.array(np.stack([rng.permutation(experts)[:2] for _ in range(rows)]).astype(np.uint32))
        for dtype in (mx.float32, mx.bfloat16):
            y, short = x.astype(dtype), str(dtype).rpartition(".")[2]
            work = 2 * 2 * rows * hidden * intermediate / 1e9
            if dtype == mx.float32:
                say(f"`gather_mm`, {rows} x 2, {short}", work, "GFLOP/s",
                    turns(lambda: mx.eval(mx.gather_mm(y, w.swapaxes(-1, -2), rhs_indices=index)), rounds))
            for name, parts in formats.items():
                if name == "affine4":
                    parts = (parts[0], *(part.astype(dtype) for part in parts[1:]))
                mx.eval(parts, y)
                say(f"`gather_qmm`, {rows} x 2, {short}, {name}", work, "GFLOP/s", turns(
                    lambda: mx.eval(mx.gather_qmm(y, *parts, rhs_indices=index, **FORMS[name])), rounds))
                flat = [part[0] for part in parts]
                say(f"`quantized_matmul`, {rows}, {short}, {name}", work / 2, "GFLOP/s", turns(
                    lambda: mx.eval(mx.quantized_matmul(y[:, 0, 0], *flat, **FORMS[name])), rounds))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["models", "operations"])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"MLX {mx.__version__}, gathermm {gathermm.__version__}, {gathermm.info()['threads']} threads\n")
    print("| | without | with | | times |\n|---|---|---|---|---|")
    mx.random.seed(0)
    {"models": models, "operations": operations}[arguments.what](arguments.rounds)


if __name__ == "__main__":
    main()
