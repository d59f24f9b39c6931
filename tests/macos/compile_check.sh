#!/usr/bin/env bash
# compile_check.sh - compile what is particular to macOS without one: the guard, its table, the BLAS provider.
# SPDX-License-Identifier: MIT
#
# usage: compile_check.sh ROOT GCC CLANG|none NAME...     (of src/blas/NAME.c)
#
# Against the headers beside this script. clang makes objects for both of its CPUs, in whose symbols and sections the table
# is looked for; gcc, which knows no Mach-O, only reads the code. Nothing of it is run.
set -u

root=$1
gcc=$2
clang=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail()
{
    echo "FAILED: $*"
    failures=$((failures + 1))
}

sources=()
for file in "$root"/src/guard/*.c; do
    [ "$(basename "$file")" = guard_bind.c ] || sources+=("$file") # LD_AUDIT's half
done
for name in "$@"; do
    sources+=("$root/src/blas/$name.c")
done

# No -Wpedantic: without the system's library clang calls complex numbers an extension.
flags=(-std=c11 -O1 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Werror
    -ffreestanding -D_POSIX_C_SOURCE=200809L -D_DARWIN_C_SOURCE= "-I$root/include" "-I$root/src" -nostdinc)

# What this system calls itself is undone.
as_macos=(-D__APPLE__ -U__linux__ -U__linux -Ulinux -U__unix__ -U__gnu_linux__)
for file in "${sources[@]}"; do
    "$gcc" "${flags[@]}" "${as_macos[@]}" -isystem "$here/include" -isystem "$("$gcc" -print-file-name=include)" \
        -fsyntax-only "$file" || fail "gcc: $file"
done
echo "gcc read ${#sources[@]} files"

if [ "$clang" != none ]; then
    builtin=$("$clang" -print-resource-dir)/include
    for target in arm64-apple-macos13 x86_64-apple-macos13; do
        for file in "${sources[@]}"; do
            "$clang" "--target=$target" "${flags[@]}" -isystem "$here/include" -isystem "$builtin" -c \
                -o "$scratch/$(basename "$file" .c).o" "$file" || fail "$target: $file"
        done
        python3 "$here/check_table.py" "$scratch/guard_interpose.o" "$root/src/guard/interpose_list.h" ||
            fail "$target: the table"
        rm -f "$scratch"/*.o
    done
fi
exit $((failures > 0))
