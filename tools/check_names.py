#!/usr/bin/env python3
# check_names.py - a plug-in's file, symbol, printed name and list line agree; file names and header guards are unique.
# SPDX-License-Identifier: MIT
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Names that a tool or a custom asks for, in as many folders as need them.
REPEATED_NAMES = {"CMakeLists.txt", "README.md", "__init__.py", "conftest.py"}
UNIQUE_SUFFIXES = {".c", ".h", ".py", ".sh", ".cmake", ".md"}

errors = []


def report(path, line, text):
    errors.append(f"{path.relative_to(ROOT)}:{line}: {text}")


def tracked_files():
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True).stdout.decode()
    return sorted(path for path in (ROOT / name for name in listing.split("\0") if name) if path.is_file())


def list_entries(path, macro):
    """Symbol -> line number, of the lines MACRO(symbol) of a list."""
    entries = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = re.fullmatch(macro + r"\((\w+)\)", line.strip())
        if not match:
            continue
        if match.group(1) in entries:
            report(path, number, f"{match.group(1)} is listed twice")
        entries[match.group(1)] = number
    return entries


def definitions(path, c_type):
    """(line number, symbol, initializer's text) of each `const TYPE symbol = {...};` at file scope that is not static."""
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"^const " + c_type + r" (\w+) = \{(.*?)\};", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start()) + 1, match.group(1), match.group(2)


def printed_name(initializer):
    match = re.search(r'\.name = "([^"]*)"', initializer) or re.match(r'\s*"([^"]*)"', initializer)
    return match.group(1) if match else None


def check_plugins(list_path, macro, c_type, files, symbol_of, name_of):
    """Every file defines the one descriptor that its name promises, and the list has it; the list has nothing else."""
    list_path = ROOT / list_path
    listed = list_entries(list_path, macro)
    found = set()
    for path in files:
        want_symbol, want_name = symbol_of(path.stem), name_of(path.stem)
        defined = list(definitions(path, c_type))
        if not defined:
            report(path, 1, f"no `const {c_type} {want_symbol}` here")
        for line, symbol, initializer in defined:
            found.add(symbol)
            if symbol != want_symbol:
                report(path, line, f"defines {symbol}; a file of this name defines {want_symbol}")
            elif printed_name(initializer) != want_name:
                report(path, line, f'.name is "{printed_name(initializer)}"; in this file it is "{want_name}"')
            if symbol not in listed:
                report(path, line, f"{symbol} is not in {list_path.relative_to(ROOT)}")
    for symbol, line in listed.items():
        if symbol not in found:
            report(list_path, line, f"no file defines {symbol}")
    if not listed:
        report(list_path, 1, f"lists nothing as {macro}(...)")


def check_unique_names(files):
    seen = {}
    for path in files:
        if path.suffix in UNIQUE_SUFFIXES and path.name not in REPEATED_NAMES:
            if path.name in seen:
                report(path, 1, f"{seen[path.name].relative_to(ROOT)} has this name too")
            seen[path.name] = path


def check_guard(path):
    """`*_body.h` and lists are included more than once, so they have no guard; all others have GMM_<NAME>_H, in
    examples/<program>/ <PROGRAM>_<NAME>_H."""
    text = path.read_text(encoding="utf-8")
    folders = path.relative_to(ROOT).parts
    guard = (folders[1].upper() if folders[0] == "examples" else "GMM") + "_" + path.stem.upper() + "_H"
    match = re.search(r"^#ifndef (\w+)\n#define (\w+)$", text, re.MULTILINE)
    if path.stem.endswith(("_body", "_list")):
        if match and match.group(1).endswith("_H"):
            report(path, 1, "is included more than once, so it has no guard")
    elif not match or match.group(1) != guard or match.group(2) != guard:
        report(path, 1, f"its guard is not {guard}")


def main():
    files = tracked_files()
    kernels = [p for p in files if p.suffix == ".c" and p.parent.parent == ROOT / "src/kernels"]
    ceilings = [p for p in kernels if p.stem.startswith("ceiling_")]
    formats = [p for p in files if p.suffix == ".c" and p.parent == ROOT / "src/formats"
               and any(definitions(p, "gmm_format"))]
    commands = [p for p in files if p.suffix == ".c" and p.parent == ROOT / "cli" and p.stem.startswith("cmd_")]

    check_plugins("src/kernels/kernel_list.h", "KERNEL", "gmm_kernel", [p for p in kernels if p not in ceilings],
                  lambda stem: "gmm_" + stem, lambda stem: stem)
    check_plugins("src/kernels/ceiling_list.h", "CEILING", "gmm_ceiling", ceilings,
                  lambda stem: "gmm_" + stem, lambda stem: stem)
    check_plugins("src/formats/format_list.h", "FORMAT", "gmm_format", formats,
                  lambda stem: "gmm_format_" + stem, lambda stem: stem.removeprefix("dense_"))
    checks = [p for p in files if p.suffix == ".c" and p.parent == ROOT / "src/blas" and p.stem.startswith("check_")
              and p.stem != "check_list"]
    check_plugins("src/blas/check_list.h", "CHECK", "gmm_blas_check", checks,
                  lambda stem: "gmm_" + stem, lambda stem: stem.removeprefix("check_"))
    families = [p for p in files if p.suffix == ".c" and p.parent == ROOT / "src/checkpoint"
                and p.stem.startswith("family_")]
    check_plugins("src/checkpoint/family_list.h", "FAMILY", "gmm_family", families,
                  lambda stem: "gmm_" + stem, lambda stem: stem.removeprefix("family_"))
    architectures = [p for p in files if p.suffix == ".c" and p.parent == ROOT / "src/checkpoint"
                     and p.stem.startswith("arch_")]
    check_plugins("src/checkpoint/architecture_list.h", "ARCHITECTURE", "gmm_family", architectures,
                  lambda stem: "gmm_" + stem, lambda stem: stem.removeprefix("arch_").replace("_", "-"))
    check_plugins("cli/command_list.h", "COMMAND", "command", commands,
                  lambda stem: stem, lambda stem: stem.removeprefix("cmd_"))
    check_unique_names(files)
    for path in files:
        if path.suffix == ".h":
            check_guard(path)

    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
