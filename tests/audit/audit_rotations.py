#!/usr/bin/env python3
# audit_rotations.py - rotg, rotm and rotmg: right ones pass, and the routine that is wrong is found, and shown by a program.
# SPDX-License-Identifier: MIT
#
# usage: audit_rotations.py GATHERMM FOLDER COMPILER
import pathlib
import sys
import tempfile

import audit_fault

WRONG = {"none": None, "g": "rotg", "m": "rotm", "h": "rotmg"}


def main():
    gathermm, folder, compiler = sys.argv[1:]
    clean = pathlib.Path(folder) / "librotations_none.so"
    for kind, routine in WRONG.items():
        library = clean.with_name(f"librotations_{kind}.so")
        with tempfile.TemporaryDirectory() as name:
            place = pathlib.Path(name)
            options = ["--cases", "2000", "--routines", "rotg,rotm,rotmg", "--checks", "accuracy,degenerate,stale_output,unreferenced,guard_pages"]
            status, run = audit_fault.audit(gathermm, library, options, place)
            if not routine:
                assert status == 0 and run["cases"] > 1000 and not run["findings"], run
                continue
            assert status == 1, run
            found = {finding["routine"].replace("cblas_", "")[1:].rstrip("_") for finding in run["findings"]}
            assert found == {routine}, (kind, run["findings"])
            for finding in run["findings"][:3]:
                status, output = audit_fault.run_program(place / finding["program"], library, compiler, place)
                assert status == 1 and output.startswith("BAD the call"), (finding, output)
                status, output = audit_fault.run_program(place / finding["program"], clean, compiler, place)
                assert status == 0 and output.startswith("OK  the call"), (finding, output)


if __name__ == "__main__":
    main()
