#!/usr/bin/env python3
# audit_fault.py - one planted fault: the audit finds it by the right check, makes it small, and writes a program that shows it.
# SPDX-License-Identifier: MIT
#
# usage: audit_fault.py GATHERMM FOLDER FAULT COMPILER     (FOLDER has libfaulty_FAULT.so and libfaulty_none.so)
import ctypes
import json
import pathlib
import subprocess
import sys
import tempfile

# Fault: check, verdict, routine, and the smallest call that shows it, of which the found one may be no larger than this.
EXPECTED = {
    "none": None,
    "stale_row": ("stale_output", "VIOLATION", "cblas_dgemm", {"m": 1, "n": 5, "k": 1}),
    "stale_large": ("stale_output", "VIOLATION", "cblas_dgemm", {"mn": 1100}),
    "dead_stack": ("dirty_stack", "STATE", "cblas_dgemm", {"m": 1, "n": 5, "k": 1}),
    "scratch_left": ("scratch", "STATE", "cblas_dsymv", {"n": 2}),
    "dead_register": ("registers", "STATE", "cblas_dgemm", {"m": 1, "n": 1, "k": 1}),
    "over_read": ("guard_pages", "MEMORY", "cblas_ddot", {"n": 3}),
    "over_write": ("canaries", "MEMORY", "cblas_dcopy", {"n": 4}),
    "padding_write": ("canaries", "MEMORY", "cblas_dgemm", {"m": 3, "n": 3, "k": 1}),
    "lost_tail": ("integers", "ACCURACY", "cblas_dgemm", {"m": 1, "n": 1, "k": 9}),
    "alpha_ignored": ("alpha_zero", "VIOLATION", "cblas_dgemm", {"m": 1, "n": 1, "k": 1}),
    "other_triangle": ("unreferenced", "VIOLATION", "cblas_dsymv", {"n": 6}),
    "inaccurate": ("accuracy", "ACCURACY", "cblas_dgemm", {"m": 1, "n": 1, "k": 17}),
    "backwards": ("increments", "VIOLATION", "cblas_dgemv", {"m": 3, "n": 3}),
    "bad_ignored": ("bad_arguments", "VIOLATION", "cblas_dgemm", {}),
    "hangs": ("degenerate", "HANG", "cblas_dgemv", {}),
    "exits": ("accuracy", "EXIT", "cblas_dgemv", {"m": 7, "n": 7}),
    "unaligned_bits": ("alignment", "NONREPRO", "cblas_ddot", {"n": 9}),
    "fork_forgets": ("after_fork", "STATE", "cblas_ddot", {"n": 1}),
    "float_control": ("float_control", "STATE", "cblas_ddot", {"n": 5}),
    "load_flushes": ("float_control", "STATE", None, {}),
    "index_wraps": ("large_indices", "MEMORY", "cblas_dgemm", {"m": 3, "n": 3, "k": 3}),
}
ROUTINES = "sgemm,dgemm,sgemv,dgemv,dsymv,dcopy,ddot"
REMARKS = {"DIFFERS", "NONREPRO"}


def sizes(call):
    """The sizes in a call's text, by the routine."""
    words = call[call.index("(") + 1:-1].split(", ")
    numbers = [int(word) for word in words if word.lstrip("-").isdigit()]
    if "gemm" in call:
        m, n, k = numbers[:3]
        return {"m": m, "n": n, "k": k, "mn": m * n}
    if "gemv" in call:
        return {"m": numbers[0], "n": numbers[1]}
    return {"n": numbers[0]}


def audit(gathermm, library, arguments, folder):
    report = folder / "report.json"
    command = [gathermm, "audit", library, "--json", report, "--repro", folder / "programs", *arguments]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):
        sys.exit(f"exit status {done.returncode}: {done.stdout.decode()}")
    with open(report, encoding="utf-8") as file:
        return done.returncode, json.load(file)["runs"][0]


def run_program(program, library, compiler, folder):
    """Exit status and output of a program that the audit wrote, with another library than it names or the same."""
    built = folder / "program"
    subprocess.run([compiler, "-O1", "-Wall", "-Wextra", "-Werror", program, "-o", built, library,
                    f"-Wl,-rpath,{library.parent}", "-lm", "-lpthread", "-ldl"], check=True)
    done = subprocess.run([built], stdout=subprocess.PIPE, check=False)
    return done.returncode, done.stdout.decode()


def netlib():
    """Netlib's library with its CBLAS, where Debian puts it: what libblas.so.3 names may be any other."""
    for path in sorted(pathlib.Path("/usr/lib").glob("*/blas/libblas.so.3")):
        try:
            library = ctypes.CDLL(str(path))
        except OSError as error:
            print(f"not run with netlib: {error}")
            return None
        if hasattr(library, "cblas_dgemm"):
            return path
        print(f"not run with netlib: {path} is without CBLAS")
        return None
    print("not run with netlib: there is no /usr/lib/*/blas/libblas.so.3")
    return None


def check_programs(findings, library, compiler, folder):
    clean = [path for path in (library.parent / "libfaulty_none.so", netlib()) if path]
    for finding in findings:
        program = folder / finding["program"]
        status, output = run_program(program, library, compiler, folder)
        assert status == 1 and output.startswith("BAD the call"), (finding, status, output)
        marks = {line.split(" ", 1)[1].strip().split(" (")[0]: line[:3] for line in output.splitlines()[1:]}
        for control in finding["controls"]:
            assert (marks[control["name"]] == "BAD") == control["fails"], (finding, control, output)
        for other in clean:
            status, output = run_program(program, other, compiler, folder)
            assert status == 0 and output.startswith("OK  the call"), (finding, other, status, output)


def main():
    gathermm, libraries, fault, compiler = sys.argv[1:]
    library = pathlib.Path(libraries) / f"libfaulty_{fault}.so"
    expected = EXPECTED[fault]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if not expected:
            status, run = audit(gathermm, library, ["--cases", "3000", "--routines", ROUTINES], folder)
            assert status == 0 and not run["findings"], (status, run["findings"])
            assert run["cases"] > 1000, run["cases"]
            return
        check, verdict, routine, largest = expected
        status, run = audit(
            gathermm, library, ["--cases", "600", "--checks", f"{check},accuracy", "--routines", ROUTINES], folder)
        found = [f for f in run["findings"] if (f["check"], f["verdict"], f["routine"]) == (check, verdict, routine or f["routine"])]
        assert found, (check, verdict, routine, run["findings"])
        assert routine or len(run["findings"]) == 1, run["findings"]
        assert status == (0 if verdict in REMARKS else 1), status
        for name, most in largest.items():
            assert sizes(found[0]["call"])[name] <= most, (found[0]["call"], largest)
        if verdict not in REMARKS:
            assert found[0]["program"], found[0]
            assert found[0]["controls"] or fault in ("bad_ignored", "hangs"), found[0]
        # Each of a hanging call's controls takes the five seconds that it is given: one program is enough then.
        programs = found + [f for f in run["findings"] if f not in found]
        check_programs([f for f in programs if f["program"]][:1 if fault == "hangs" else 4], library, compiler, folder)


if __name__ == "__main__":
    main()
