#!/usr/bin/env python3
# guard_programs.py - programs as people have them under the guard: how they reach a BLAS, how they end, and the story of MLX.
# SPDX-License-Identifier: MIT
#
# usage: guard_programs.py GATHERMM BUILD COMPILER     (what this machine has not is left out, with a line that says so)
import pathlib
import shutil
import subprocess
import sys
import tempfile

from guard_run import check_files, environment, guard, plain

NUMPY = """
import numpy as np
a = np.random.default_rng(1).standard_normal((60, 40))
print(repr((a.T @ a).sum()), repr(np.dot(a[0], a[1])), repr((a.astype('f') @ a[0].astype('f')).sum()))
"""
OCTAVE = """
A = hilb(30); B = A * A'; [u, s, v] = svd(B); printf("%.17g ", s(1), norm(B \\ ones(30, 1)) > 0);
try, chol(-A); catch, printf("refused "); end
printf("%d\\n", size(B * A, 1));
"""
# Weights off a 64-byte boundary, as a checkpoint's often are.
MLX = """
import mlx.core as mx
mx.set_default_device(mx.cpu)
x = mx.random.normal((4, 1, 544))
w = mx.random.normal((3 * 544 * 512 + 1,))[1:].reshape(3, 544, 512)
mx.eval(mx.gather_mm(x, w, rhs_indices=mx.array([2, 0, 1, 2])))
"""


def python_with(module, candidates):
    for python in candidates:
        if pathlib.Path(python).exists() and not subprocess.run(
                [python, "-c", f"import {module}"], stderr=subprocess.DEVNULL, check=False).returncode:
            return python
    return None


def netlib():
    """Netlib's own library, where Debian puts it beside others."""
    paths = sorted(pathlib.Path("/usr/lib").glob("*/blas/libblas.so.3"))
    return paths[0] if paths else None


def check_ways(gathermm, build, folder):
    faulty = build / "faulty"
    for name in ("guard_user", "guard_user_now", "guard_user_noplt"):
        for mode in ("work", "pointer"):
            out = folder / f"{name}-{mode}"
            status, _, report = guard(gathermm, [build / "tests" / name, mode], out, faulty / "libfaulty_stale_row.so")
            assert status == 1 and report["findings"][0]["routine"] == "cblas_sgemm", (name, mode, report)
    user = build / "tests/guard_user"
    library = faulty / "libfaulty_stale_row.so"
    status, _, report = guard(gathermm, [user, "dlsym", library], folder / "dlsym")
    assert status == 1 and report["findings"][0]["library"].endswith("stale_row.so"), report
    # A shell between, and two programs.
    status, _, report = guard(gathermm, ["sh", "-c", f"{user} work; {user} work"], folder / "shell", library)
    assert report["processes"] >= 2 and report["calls"]["cblas_sgemm"] == 2, report


def check_callers(gathermm, build, folder):
    user = build / "tests/guard_user"
    for mode, words in (("overlap", "C overlaps A"), ("bad", "lda is 3, at least 4")):
        status, _, report = guard(gathermm, [user, mode], folder / mode)
        assert status == 1 and len(report["findings"]) == 1, report
        assert report["findings"][0]["verdict"] == "CALLER" and words in report["findings"][0]["detail"], report
    status, _, report = guard(gathermm, [user, "work"], folder / "sample", build / "faulty/libfaulty_stale_row.so",
                              ["--sample", "1000"])
    assert status == 1, report # the first call of a shape is always looked into


def check_endings(gathermm, build, folder):
    user = build / "tests/guard_user"
    assert guard(gathermm, [user, "exit"], folder / "exit")[0] == 7
    assert guard(gathermm, [user, "abort"], folder / "abort")[0] == 128 + 6
    for command, words in (("/nonexistent/program", b"No such file"), (gathermm, None)):
        done = subprocess.run([gathermm, "guard", "--", command, "--version"], stderr=subprocess.PIPE,
                              stdout=subprocess.PIPE, env=environment(None), check=False)
        assert done.returncode == (3 if words else 0) and (words or b"") in done.stderr, (command, done)
    # Without the other half nothing could be watched: that is said, and the program does not run.
    done = subprocess.run([user, "work"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, check=False,
                          env=environment(build / "libgathermm_guard.so"))
    assert done.returncode == 3 and b"no call could be watched" in done.stderr and not done.stdout, done


def check_numpy(gathermm, python, name, folder):
    if not python:
        print(f"left out: no Python with {name}")
        return
    command = [python, "-c", NUMPY]
    status, output, report = guard(gathermm, command, folder / "numpy")
    assert status == 0 and not report["findings"] and output == plain(command), report
    for routine in ("cblas_dgemm", "cblas_dsyrk", "cblas_ddot", "cblas_sgemv"):
        assert routine in report["calls"] or routine == "cblas_dgemm", report["calls"]


def check_octave(gathermm, folder):
    octave = shutil.which("octave-cli")
    if not octave:
        print("left out: no GNU Octave")
        return
    command = [octave, "--no-gui", "--norc", "--quiet", "--eval", OCTAVE]
    status, output, report = guard(gathermm, command, folder / "octave")
    assert status == 0 and not report["findings"] and output == plain(command), report
    assert report["calls"]["dgemm_"] and "refused" in output, report


def check_mlx(gathermm, build, compiler, folder):
    """The story of this project, by one run of its main character."""
    python = python_with("mlx.core", [build / "venv/bin/python"])
    clean = netlib()
    if not python or not clean:
        print("left out: no mlx-cpu, or no netlib BLAS")
        return
    library = build / "libfaulty_blas_m1.so"
    status, _, report = guard(gathermm, [python, "-c", MLX], folder / "mlx", library)
    found = report["findings"]
    assert status == 1 and len(found) == 1 and found[0]["verdict"] == "VIOLATION", report
    assert ", 1, 512, 544, " in found[0]["call"] and "C(0, 51" in found[0]["detail"], found
    check_files(gathermm, found[0], library, clean, compiler, folder)


def main():
    gathermm, build, compiler = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        check_ways(gathermm, build, folder)
        check_callers(gathermm, build, folder)
        check_endings(gathermm, build, folder)
        check_numpy(gathermm, python_with("numpy", ["/usr/bin/python3"]), "Debian's numpy", folder)
        check_numpy(gathermm, python_with("numpy", [build / "venv/bin/python"]), "numpy's wheel", folder)
        check_octave(gathermm, folder)
        check_mlx(gathermm, build, compiler, folder)


if __name__ == "__main__":
    main()
