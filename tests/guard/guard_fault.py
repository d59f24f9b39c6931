#!/usr/bin/env python3
# guard_fault.py - one planted fault met by a program: the guard finds it, and what it writes shows it with that library only.
# SPDX-License-Identifier: MIT
#
# usage: guard_fault.py GATHERMM PROGRAM FOLDER FAULT COMPILER     (FOLDER has libfaulty_FAULT.so and libfaulty_none.so)
import os
import pathlib
import subprocess
import sys
import tempfile

from guard_run import check_files, guard, plain

# Fault: verdict, routine, the program's mode. What is found once more in a fresh process is written as a program too.
EXPECTED = {
    "none": None,
    "stale_row": ("VIOLATION", "cblas_sgemm", "work"),
    "stale_large": ("VIOLATION", "cblas_dgemm", "work"),
    "over_write": ("MEMORY", "cblas_dcopy", "work"),
    "padding_write": ("MEMORY", "cblas_dgemm", "work"),
    "lost_tail": ("ACCURACY", "cblas_sgemm", "work"),
    "alpha_ignored": ("VIOLATION", "cblas_dgemm", "work"),
    "other_triangle": ("VIOLATION", "cblas_dsymv", "work"),
    "inaccurate": ("ACCURACY", "cblas_dgemm", "work"),
    "backwards": ("ACCURACY", "cblas_dgemv", "work"),
    "scratch_left": ("VIOLATION", "cblas_dsymv", "work"),
    "fork_forgets": ("ACCURACY", "cblas_ddot", "fork"),
}
# They need what was before: a fresh process does not show them.
HIDDEN_STATE = {"scratch_left", "fork_forgets"}


def check_clean(gathermm, program, library, folder):
    """Nothing is found, and every mode computes what it computes alone."""
    for mode in ("work", "pointer", "threads", "fork", "blocks"):
        status, output, report = guard(gathermm, [program, mode], folder / mode, library)
        assert status == 0 and not report["findings"], (mode, status, report)
        assert output == plain([program, mode], library), mode
        assert report["calls"], (mode, report)
        assert report["processes"] == 1 and not (folder / mode).exists(), (mode, report)
        assert mode != "fork" or report["calls"]["cblas_ddot"] == 2, report["calls"]
        assert mode != "threads" or report["calls"]["cblas_ddot"] == 200, report["calls"]


def main():
    gathermm, program, libraries, fault, compiler = sys.argv[1:]
    library = pathlib.Path(libraries) / f"libfaulty_{fault}.so"
    clean = pathlib.Path(libraries) / "libfaulty_none.so"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if not EXPECTED[fault]:
            check_clean(gathermm, program, library, folder)
            return
        verdict, routine, mode = EXPECTED[fault]
        status, output, report = guard(gathermm, [program, mode], folder / "out", library)
        found = [f for f in report["findings"] if (f["verdict"], f["routine"]) == (verdict, routine)]
        assert status == 1 and found, (status, report)
        assert output == plain([program, mode], library), "the guard changed a result"
        assert os.path.realpath(found[0]["library"]) == os.path.realpath(library), found[0]
        if fault == "stale_row": # what is left of 1 x 31 x 30
            text = pathlib.Path(found[0]["files"] + ".c").read_text(encoding="utf-8")
            assert "N from 31 to 1, K from 30 to 1" in text and "the numbers of B by a formula" in text, text
        check_files(gathermm, found[0], library, clean, compiler, folder, shows=fault not in HIDDEN_STATE)


if __name__ == "__main__":
    main()
