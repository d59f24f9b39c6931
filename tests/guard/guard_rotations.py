#!/usr/bin/env python3
# guard_rotations.py - rotg, rotm and rotmg of a program under the guard: right ones are left in peace, wrong ones are found and shown.
# SPDX-License-Identifier: MIT
#
# usage: guard_rotations.py GATHERMM FOLDER COMPILER
import pathlib
import sys
import tempfile

from guard_run import check_files, guard, plain

PROGRAM = """
import ctypes, sys
blas = ctypes.CDLL(sys.argv[1])
for real, letter in (ctypes.c_float, "s"), (ctypes.c_double, "d"):
    a, b, c, s = (real(x) for x in (0.5, -0.75, 9, 9))
    blas[f"cblas_{letter}rotg"](*map(ctypes.byref, (a, b, c, s)))
    x, y, h = (real * 6)(*range(6)), (real * 6)(*range(6, 12)), (real * 5)(0, 7, 0.5, -0.5, 7)
    blas[f"cblas_{letter}rotm"](3, x, 2, y, -1, h)
    d1, d2, x1, h2 = real(1), real(2), real(0.25), (real * 5)(*[float("nan")] * 5)
    blas[f"{letter}rotmg_"](*map(ctypes.byref, (d1, d2, x1, real(3))), h2)
    print([v.value for v in (a, b, c, s, d1, d2, x1)], list(x), list(y), list(h2))
"""
WRONG = {"none": None, "g": "cblas_{}rotg", "m": "cblas_{}rotm", "h": "{}rotmg_"}


def main():
    gathermm, libraries, compiler = sys.argv[1:]
    clean = pathlib.Path(libraries) / "librotations_none.so"
    for kind, routine in WRONG.items():
        library = clean.with_name(f"librotations_{kind}.so")
        command = [sys.executable, "-c", PROGRAM, library]
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            status, output, report = guard(gathermm, command, folder / "out")
            assert output == plain(command), "the guard changed a result"
            assert all(report["calls"][r.format(t)] == 1 for r in WRONG.values() if r for t in "sd"), report["calls"]
            found = sorted(finding["routine"] for finding in report["findings"])
            assert found == ([routine.format(t) for t in "ds"] if routine else []), (kind, report)
            assert status == (1 if routine else 0), (kind, status)
            for finding in report["findings"]:
                assert finding["verdict"] == "ACCURACY", finding
                check_files(gathermm, finding, library, clean, compiler, folder)


if __name__ == "__main__":
    main()
