#!/usr/bin/env python3
# call_cost.py - what a small call costs from Python and from C, with the same library: the table of docs/python.md.
# SPDX-License-Identifier: MIT
"""Wants an installed gathermm and a C compiler; takes a few seconds. Exits with 1 if Python adds more than --most microseconds."""
import argparse
import os
import pathlib
import subprocess
import tempfile
import timeit

import numpy as np

import gathermm

HERE = pathlib.Path(__file__).resolve().parent
CALLS, ROUNDS = 1000, 200  # rounds of a few milliseconds: on a busy machine some are undisturbed


def from_c():
    """Microseconds of the dense and of the quantized call."""
    library = pathlib.Path(gathermm.__file__).parent / "lib"
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/call_cost"
        subprocess.run([os.environ.get("CC", "cc"), "-O2", f"-I{HERE.parents[1] / 'include'}", HERE / "call_cost.c", "-o", program,
                        f"-L{library}", "-lgathermm", f"-Wl,-rpath,{library}"], check=True)
        return map(float, subprocess.run([program], check=True, capture_output=True, text=True).stdout.split())


def from_python(function):
    return min(timeit.repeat(function, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", type=int, help="run on this CPU only")
    parser.add_argument("--most", type=float, default=3.0, help="microseconds (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.cpu is not None:
        os.sched_setaffinity(0, {arguments.cpu})
    dense, quantized = from_c()
    index = np.zeros(1, np.int64)
    x, b, out = np.zeros((1, 1, 8), np.float32), np.zeros((1, 8, 8), np.float32), np.zeros((1, 1, 8), np.float32)
    wide, parts = np.zeros((1, 1, 64), np.float32), gathermm.quantize(np.zeros((1, 32, 64), np.float32))
    rows = [
        ("`gather_mm`, 1 x 8 by 8 x 8, one index", dense, lambda: gathermm.gather_mm(x, b, None, index)),
        ("`gather_mm` with `out=`", dense, lambda: gathermm.gather_mm(x, b, None, index, out=out)),
        ("`gather_qmm`, 1 x 64 by 64 x 32, affine, 4 bits, one index", quantized,
         lambda: gathermm.gather_qmm(wide, *parts, None, index)),
    ]
    print("| product | from C | from Python | on top |\n|---|---|---|---|")
    worst = 0
    for name, c, function in rows:
        python = from_python(function)
        worst = max(worst, python - c)
        print(f"| {name} | {c:.2f} | {python:.2f} | {python - c:.2f} |")
    print(f"\n(`numpy.matmul` of the first takes {from_python(lambda: x @ b):.2f}.)")
    raise SystemExit(worst > arguments.most)


if __name__ == "__main__":
    main()
