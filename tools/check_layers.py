#!/usr/bin/env python3
# check_layers.py - every #include follows the order of the layers in docs/architecture.md.
# SPDX-License-Identifier: MIT
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Folder of src/ -> the other folders of src/ that its files may include. Everybody may include gathermm/*.h.
MAY_INCLUDE = {
    "base": set(),
    "cpu": {"base"},
    "threads": {"base", "cpu"},
    "formats": {"base"},
    "kernels": {"base", "cpu", "formats"},
    "core": {"base", "cpu", "threads", "formats", "kernels", "io", "blas"},
    "moe": {"base", "cpu", "threads", "formats", "core", "io", "kernels"},
    "io": {"base", "formats"},
    "checkpoint": {"base", "cpu", "formats", "io"},
    "blas": {"base", "cpu"},
    "guard": {"base", "cpu", "blas"},
}

# Layer -> the only headers of it that other layers see, but for those named after it.
DOORS = {"blas": ({"blas/provider.h"}, {"guard"})}

# Folders of src/kernels that hold one instruction set each: they do not see one another, but what they build on.
SHARED_KERNEL_FOLDERS = {"bodies"}
BUILDS_ON = {"avx512bf16": {"avx512"}, "avx512vnni": {"avx512"}, "amxbf16": {"amx", "avx512", "avx512bf16"},
             "amxint8": {"amx", "avx512", "avx512vnni"}}

# System headers that only some places may use: a folder's need of them is a decision, not an accident.
RESTRICTED = {
    "jansson.h": {"src/io", "src/checkpoint", "cli", "examples"},
    "omp.h": {"src/threads", "src/core"},
    "Python.h": {"python"},
    "dlfcn.h": {"src/blas", "src/guard", "examples"},
    "immintrin.h": {"src/kernels/avx2", "src/kernels/avx512", "src/kernels/avx512bf16", "src/kernels/avx512vnni",
                    "src/kernels/amx", "src/kernels/amxbf16", "src/kernels/amxint8", "src/cpu"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def includes(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1) == "<", match.group(2)


def sources(folder):
    return sorted(p for p in (ROOT / folder).rglob("*.[ch]"))


def within(path, folders):
    return any(path.as_posix().startswith(folder + "/") for folder in folders)


def isa_folder(parts):
    """The instruction set of kernels/<isa>/file, or None."""
    if len(parts) > 2 and parts[0] == "kernels" and parts[1] not in SHARED_KERNEL_FOLDERS:
        return parts[1]
    return None


def check_library_include(path, name):
    """Why the file of src/ at `path` may not include "name", or None."""
    here = path.relative_to(ROOT / "src").parts
    if len(here) < 2 or here[0] not in MAY_INCLUDE:
        return f"src/{here[0]} is no layer: add it to MAY_INCLUDE in tools/check_layers.py and to docs/architecture.md"
    if name.startswith("gathermm/"):
        return None if (ROOT / "include" / name).is_file() else "there is no such public header"
    if not (ROOT / "src" / name).is_file():
        return "write it as a path from src/; there is no such file"
    there = pathlib.PurePosixPath(name).parts
    if there[0] != here[0] and there[0] not in MAY_INCLUDE[here[0]]:
        allowed = ", ".join(sorted(MAY_INCLUDE[here[0]])) or "no other layer"
        return f"layer {here[0]} sees {allowed}"
    door, exempt = DOORS.get(there[0], (None, ()))
    if door and there[0] != here[0] and here[0] not in exempt and name not in door:
        return f"layer {here[0]} sees only {', '.join(sorted(door))} of {there[0]}"
    if isa_folder(there) not in {None, isa_folder(here)} | BUILDS_ON.get(isa_folder(here), set()):
        return f"only files of src/kernels/{there[1]} may"
    return None


def check_outside_include(path, name):
    """Why the file of cli/, python/ or examples/ at `path` may not include "name", or None."""
    if name.startswith("gathermm/"):
        return None if (ROOT / "include" / name).is_file() else "there is no such public header"
    if (path.parent / name).is_file() and ".." not in name:
        return None
    return "cli, python and examples see the public headers and their own folder only"


def check_public_include(path, name):
    if (path.parent / name).is_file() and "/" not in name:
        return None
    return "a public header sees other public headers and the C library only"


def main():
    errors = 0
    count = 0
    for folder, check in (
        ("src", check_library_include),
        ("cli", check_outside_include),
        ("examples", check_outside_include),
        ("python", check_outside_include),
        ("include", check_public_include),
    ):
        for path in sources(folder):
            relative = path.relative_to(ROOT)
            count += 1
            for number, system, name in includes(path):
                if system:
                    allowed = RESTRICTED.get(name)
                    reason = None
                    if allowed and not within(relative, allowed):
                        reason = "only these may: " + ", ".join(sorted(allowed))
                else:
                    reason = check(path, name)
                if reason:
                    print(f"{relative}:{number}: may not include {name}: {reason}")
                    errors += 1
    if count == 0:
        print("check_layers.py: found no source files")
        return 1
    if errors:
        print(f"check_layers.py: {errors} of the includes break the layers")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
