#!/usr/bin/env python3
# audit_complex.py - Fortran's complex dot products are called in the way that their library returns, and in no other.
# SPDX-License-Identifier: MIT
#
# usage: audit_complex.py GATHERMM FOLDER COMPILER
import json
import pathlib
import subprocess
import sys
import tempfile

import audit_fault


def main():
    gathermm, folder, compiler = sys.argv[1:]
    # A library that multiplies wrong in either way is left alone: which way it returns cannot be known.
    for kind, called in ("registers", True), ("address", True), ("wrong", False):
        done = subprocess.run([gathermm, "audit", f"{folder}/libcomplex_{kind}.so", "--cases", "600", "--routines",
                               "dotu_value,dotc_value", "--no-repro", "--json", "-"],
                              stdout=subprocess.PIPE, check=False)
        run = json.loads(done.stdout)["runs"][0]
        assert done.returncode == 0 and not run["failures"], (kind, run)
        assert (run["cases"] > 50) == called, (kind, run["cases"])
    for kind in "registers_over", "address_over":
        library = pathlib.Path(folder) / f"libcomplex_{kind}.so"
        with tempfile.TemporaryDirectory() as name:
            place = pathlib.Path(name)
            status, run = audit_fault.audit(gathermm, library, ["--cases", "600", "--checks", "guard_pages", "--routines", "dotc_value"], place)
            assert status == 1 and len(run["findings"]) == 2, (kind, run)
            for finding in run["findings"]:
                assert finding["verdict"] == "MEMORY" and audit_fault.sizes(finding["call"])["n"] == 3, finding
                status, output = audit_fault.run_program(place / finding["program"], library, compiler, place)
                assert status == 1 and output.startswith("BAD the call"), (finding, output)
                clean = library.with_name(library.name.replace("_over", ""))
                status, output = audit_fault.run_program(place / finding["program"], clean, compiler, place)
                assert status == 0 and output.startswith("OK  the call"), (finding, output)


if __name__ == "__main__":
    main()
