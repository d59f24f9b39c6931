#!/usr/bin/env python3
# guard_names.py - Fortran names without underscores are watched where they are a BLAS's, and complex results in both ways.
# SPDX-License-Identifier: MIT
#
# usage: guard_names.py GATHERMM FOLDER COMPILER
import pathlib
import sys
import tempfile

from guard_run import check_files, guard, plain

PLAIN = """
import ctypes, sys
ddot = ctypes.CDLL(sys.argv[1]).ddot
ddot.restype = ctypes.c_double
x, n, one = (ctypes.c_double * 5)(1, 2, 3, 4, 5), ctypes.c_int(5), ctypes.c_int(1)
print(ddot(5, x, 1, x, 1) if "by_value" in sys.argv[1] else ddot(ctypes.byref(n), x, ctypes.byref(one), x, ctypes.byref(one)))
"""
COMPLEX = """
import ctypes, sys
blas = ctypes.CDLL(sys.argv[1])
n, one = ctypes.c_int(5), ctypes.c_int(1)
for letter, real in ("c", ctypes.c_float), ("z", ctypes.c_double):
    class Number(ctypes.Structure):
        _fields_ = [("re", real), ("im", real)]
    x, y = (real * 10)(*range(1, 11)), (real * 10)(*range(3, 13))
    for name in "dotu_", "dotc_":
        function, rest = blas[letter + name], (ctypes.byref(n), x, ctypes.byref(one), y, ctypes.byref(one))
        result = Number()
        if "address" in sys.argv[1]:
            function.restype = None
            function(ctypes.byref(result), *rest)
        else:
            function.restype = Number
            result = function(*rest)
        print(result.re, result.im)
"""


def watch(gathermm, program, library, clean, compiler, names):
    """Findings of `names` and no others; None: not even counted."""
    command = [sys.executable, "-c", program, library]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        status, output, report = guard(gathermm, command, folder / "out")
        assert output == plain(command), (library, "the guard changed a result")
        assert bool(report["calls"]) == (names is not None), report["calls"]
        assert sorted(finding["routine"] for finding in report["findings"]) == sorted(names or []), report
        assert status == (1 if names else 0), status
        for finding in report["findings"]:
            assert finding["verdict"] == "ACCURACY", finding
            check_files(gathermm, finding, library, clean, compiler, folder)


def main():
    gathermm, libraries, compiler = sys.argv[1:]
    folder = pathlib.Path(libraries)
    clean = folder / "libplain_none.so"
    for kind, names in ("none", []), ("lost", ["ddot_"]), ("by_value", None):
        watch(gathermm, PLAIN, folder / f"libplain_{kind}.so", clean, compiler, names)
    dots = ["cdotu_", "cdotc_", "zdotu_", "zdotc_"]
    for way in "registers", "address":
        clean = folder / f"libcomplex_{way}.so"
        watch(gathermm, COMPLEX, clean, clean, compiler, [])
        watch(gathermm, COMPLEX, folder / f"libcomplex_{way}_lost.so", clean, compiler, dots)
    # Wrong in either way: how it returns cannot be known, and nothing is looked at.
    watch(gathermm, COMPLEX, folder / "libcomplex_wrong.so", clean, compiler, [])


if __name__ == "__main__":
    main()
