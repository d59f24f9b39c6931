#!/usr/bin/env python3
# guard_aarch64.py - the guard compiled for AArch64 and run there by qemu: calls, findings and complex results arrive as on x86-64.
# SPDX-License-Identifier: MIT
#
# usage: guard_aarch64.py GATHERMM SOURCE COMPILER QEMU NAME...     (of src/blas/NAME.c; the command is this machine's: the shared memory is of one layout)
import pathlib
import subprocess
import sys
import tempfile

from guard_run import guard


class Machine:
    def __init__(self, gathermm, source, compiler, qemu, names, folder):
        self.gathermm, self.source, self.compiler, self.folder = gathermm, source, compiler, folder
        self.qemu = [qemu, "-L", "/usr/aarch64-linux-gnu"]
        sources = sorted((source / "src/guard").glob("*.c")) + [source / f"src/blas/{name}.c" for name in names]
        self.build("libguard.so", sources, "-shared", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror",
                   f"-I{source}/include", f"-I{source}/src", "-Wl,-z,defs", f"-Wl,--version-script={source}/src/guard/guard.map")

    def build(self, name, sources, *options):
        subprocess.run([self.compiler, "-std=gnu11", "-O2", "-fPIC", *map(str, sources), *map(str, options), "-lm", "-ldl",
                        "-lpthread", "-o", self.folder / name], check=True)
        return self.folder / name

    def library(self, name, source, *options):
        return self.build(name, [self.source / "tests/faulty_blas" / source], "-shared", f"-Wl,-soname,{name}", *options)

    def watch(self, program, library):
        """Output alone and under the guard must be the same; returns the status and the report."""
        alone = subprocess.run([*self.qemu, "-E", f"LD_PRELOAD={library}", program], stdout=subprocess.PIPE, check=True)
        status, output, report = guard(self.gathermm, [*self.qemu, "-E", f"LD_AUDIT={self.folder}/libguard.so", "-E",
                                       f"LD_PRELOAD={self.folder}/libguard.so:{library}", program], self.folder / "out")
        assert output == alone.stdout.decode(), (output, alone)
        return status, report


def main():
    gathermm, source, compiler, qemu, *names = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        m = Machine(gathermm, pathlib.Path(source), compiler, qemu, names, folder)
        link = [f"-L{folder}", f"-Wl,-rpath,{folder}", "-Wl,-z,lazy"]
        tests = m.source / "tests/guard"
        clean = m.library("libclean.so", "faulty_family.c", "-DFAULT=NONE")
        user = m.build("user", [tests / "guard_user.c"], *link, "-lclean")
        status, report = m.watch(user, clean)
        assert status == 0 and report["calls"]["cblas_dgemm"] == 4, report
        for fault, verdict in ("stale_row", "VIOLATION"), ("lost_tail", "ACCURACY"):
            status, report = m.watch(user, m.library(f"lib{fault}.so", "faulty_family.c", f"-DFAULT={fault.upper()}"))
            assert status == 1 and report["findings"][0]["routine"] == "cblas_sgemm", report
            assert report["findings"][0]["verdict"] == verdict, report
        for hidden in 0, 1:
            kind = [f"-DHIDDEN={hidden}", "-DWRONG=0", "-DOVER_READ=0"]
            clean = m.library(f"libdots{hidden}.so", "complex_dots.c", *kind, "-DLOST=0")
            user = m.build(f"dots{hidden}", [tests / "complex_user.c"], *link, kind[0], f"-ldots{hidden}")
            status, report = m.watch(user, clean)
            assert status == 0 and len(report["calls"]) == 4, report
            status, report = m.watch(user, m.library(f"liblost{hidden}.so", "complex_dots.c", *kind, "-DLOST=1"))
            assert status == 1 and len(report["findings"]) == 4, report


if __name__ == "__main__":
    main()
