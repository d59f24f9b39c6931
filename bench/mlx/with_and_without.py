#!/usr/bin/env python3
# with_and_without.py - MLX programs on this CPU with gathermm.mlx.install() and without, turn about in one process.
# SPDX-License-Identifier: MIT
"""Prints the tables of docs/python.md, in under two minutes. Wants gathermm, mlx-cpu and mlx-lm. MLX alone, with gathermm on one
thread and on two take turns of a tenth of a second, or of one call that takes longer; a number is the best call of all turns."""
import argparse
import json
import pathlib
import platform
import time

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.generate import generate_step
from mlx_lm.models import mixtral

import gathermm.mlx

TURN = 0.1
TINYMOE = pathlib.Path(__file__).parents[2] / "examples" / "tinymoe"
CONTEXTS = [gathermm.Context(threads=threads) for threads in (1, 2)]
FORMS = {"affine, 4 bits": {"mode": "affine", "group_size": 64, "bits": 4},
         "mxfp4": {"mode": "mxfp4", "group_size": 32, "bits": 4}}


def turns(function, rounds, direct=None):
    """The best seconds of MLX alone, with gathermm on one thread and on two; then of direct(context) for each of both."""
    sides = [(None, function), *((context, function) for context in CONTEXTS)]
    if direct:
        sides += [(None, lambda context=context: direct(context)) for context in CONTEXTS]
    best = [float("inf")] * len(sides)
    for _ in range(rounds):
        for i, (context, call) in enumerate(sides):
            if context:
                gathermm.mlx.install(context)
            end = time.perf_counter() + TURN
            while (start := time.perf_counter()) < end:
                call()
                best[i] = min(best[i], time.perf_counter() - start)
            gathermm.mlx.uninstall()
    return best


def head(what):
    print(f"\n| {what} | MLX | 1 thread | 2 threads | times |\n|---|---|---|---|---|", flush=True)


def say(name, numbers, times):
    print(f"| {name} | {' | '.join(f'{n:.2g}' if n < 100 else f'{n:.0f}' for n in numbers)} |"
          f" {times:.{1 if times < 10 else 0}f} |", flush=True)


def say_rates(name, count, seconds):
    say(name, [count / s for s in seconds], seconds[0] / seconds[2])


def load(sizes, dtype, form):
    arguments = json.loads((TINYMOE / "config.json").read_text())
    model = mixtral.Model(mixtral.ModelArgs.from_dict({**arguments, **sizes}))
    if not sizes:
        model.load_weights(list(model.sanitize(mx.load(str(TINYMOE / "model.safetensors"))).items()))
    model.set_dtype(dtype)
    nn.quantize(model, **form)
    mx.eval(model.parameters())
    return model


def short(dtype):
    return str(dtype).rpartition(".")[2]


def models(rounds):
    larger = {"hidden_size": 1024, "intermediate_size": 2048, "num_hidden_layers": 2, "num_attention_heads": 16,
              "head_dim": 64, "num_key_value_heads": 4}
    head("Mixtral of mlx-lm, affine, 4 bits: tokens/s")
    for label, sizes, dtype, prompt, count in (
            ("2 layers, 1024 x 2048", larger, mx.float32, 32, 4), ("tinymoe", {}, mx.float32, 64, 8),
            ("tinymoe", {}, mx.bfloat16, 64, 8)):
        model = load(sizes, dtype, FORMS["affine, 4 bits"])
        tokens = mx.array(np.frombuffer((TINYMOE / "heldout.txt").read_bytes()[:prompt], np.uint8).astype(np.int32))
        say_rates(f"{label}, {short(dtype)}: prompt of {prompt}", prompt,
                  turns(lambda: mx.eval(model(tokens[None])), rounds))
        say_rates(f"{label}, {short(dtype)}: generating", count,
                  turns(lambda: list(generate_step(tokens[:1], model, max_tokens=count)), rounds))


def operations(rounds):
    hidden, intermediate, experts, rows = 2048, 4096, 8, 16
    rng = np.random.default_rng(0)
    w = mx.array(rng.normal(size=(experts, intermediate, hidden)).astype(np.float32) / 64)
    x = mx.array(rng.normal(size=(rows, 1, 1, hidden)).astype(np.float32))
    index = mx.array(np.stack([rng.permutation(experts)[:2] for _ in range(rows)]).astype(np.uint32))
    work = 2 * 2 * rows * hidden * intermediate / 1e9
    parts = {(name, dtype): [part.astype(dtype) if part.dtype == mx.float32 else part for part in mx.quantize(w, **form)]
             for name, form in FORMS.items() for dtype in (mx.float32, mx.bfloat16)}
    mx.eval(list(parts.values()))

    head(f"{rows} rows: GFLOP/s")
    say_rates("`gather_mm`, float32", work,
              turns(lambda: mx.eval(mx.gather_mm(x, w.swapaxes(-1, -2), rhs_indices=index)), rounds))
    for dtype in (mx.float32, mx.bfloat16):
        y = x.astype(dtype)
        mx.eval(y)
        for name, form in FORMS.items():
            packed = parts[name, dtype]
            say_rates(f"`gather_qmm`, {short(dtype)}, {name}", work, turns(
                lambda: mx.eval(mx.gather_qmm(y, *packed, rhs_indices=index, **form)), rounds))
    form, flat = FORMS["affine, 4 bits"], {}
    for dtype in (mx.float32, mx.bfloat16):
        flat[dtype] = [mx.contiguous(part[0]) for part in parts["affine, 4 bits", dtype]]
        y = x[:, 0, 0].astype(dtype)
        mx.eval(flat[dtype], y)
        say_rates(f"`quantized_matmul`, {short(dtype)}, affine, 4 bits", work / 2, turns(
            lambda: mx.eval(mx.quantized_matmul(y, *flat[dtype], **form)), rounds))

    head("1 row: milliseconds")
    one = x[:1, 0, 0]
    mx.eval(one)
    for dtype in flat:
        row = one.astype(dtype)
        mx.eval(row)
        best = [1e3 * s for s in turns(
            lambda: mx.eval(mx.quantized_matmul(row, *flat[dtype], **form)), rounds,
            lambda context: gathermm.quantized_matmul(row, *flat[dtype], **form, context=context))]
        name = f"`quantized_matmul`, {short(dtype)}, affine, 4 bits"
        say(name, best[:3], best[0] / best[2])
        say(f"{name}; `gathermm.quantized_matmul`", [best[0], *best[3:]], best[0] / best[4])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["operations", "models"], help="only these tables")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default: %(default)s)")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    mx.random.seed(0)
    for measure in (operations, models):
        if arguments.what in (None, measure.__name__):
            measure(arguments.rounds)
    print(f"\nPython {platform.python_version()}, MLX {mx.__version__}, gathermm {gathermm.__version__};"
          f" {gathermm.info()['threads']} threads are there; {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
