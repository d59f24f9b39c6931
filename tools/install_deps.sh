#!/bin/sh
# install_deps.sh - install what GROUPs of tasks need and is missing: build, test, ci, peers (Debian, Ubuntu).
# SPDX-License-Identifier: MIT
#
# Usage: tools/install_deps.sh GROUP...
# As root with apt-get it installs; otherwise it prints the one command to run and exits 1. Nothing missing: no output.
# It looks for the tools, not for the packages, so it is content with tools that came another way.
set -eu

missing=

# need PACKAGE COMMAND...: PACKAGE is missing unless COMMAND succeeds.
need()
{
    package=$1
    shift
    "$@" >/dev/null 2>&1 </dev/null || missing="$missing $package"
}

has()
{
    command -v "$1"
}

# includes HEADER COMPILER [OPTION...]
includes()
{
    header=$1
    shift
    printf '#include <%s>\n' "$header" | "$@" -E -o /dev/null -
}

# The fuzzer's runtime stands for all of clang's: they come in one package.
clang_runtime()
{
    name=libclang_rt.fuzzer-$(uname -m).a
    test -e "$(clang --print-resource-dir)/lib/linux/$name" || test -e "$(clang --print-file-name="$name")"
}

openmp_package()
{
    if "${CC:-cc}" --version 2>/dev/null | grep -q clang; then echo libomp-dev; else echo gcc; fi
}

# What extension modules of the python3 that builds them include.
python3_header()
{
    python3 -c 'import pathlib, sys, sysconfig
sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())'
}

# The one that Debian's packages are for, if there is one.
system_python()
{
    if [ -x /usr/bin/python3 ]; then /usr/bin/python3 "$@"; else python3 "$@"; fi
}

need_build()
{
    need gcc has "${CC:-cc}"
    need libc6-dev includes stdio.h "${CC:-cc}" -x c
    need "$(openmp_package)" includes omp.h "${CC:-cc}" -fopenmp -x c
    need make has make
    need cmake has cmake
    need pkg-config has pkg-config
    need libjansson-dev pkg-config --exists jansson
}

need_test()
{
    need g++ includes cstddef "${CXX:-c++}" -x c++
    need libcmocka-dev pkg-config --exists cmocka
    need binutils has nm
    need python3 has python3
    need python3-venv python3 -c 'import ensurepip, venv'
    need python3-dev python3_header
    need python3-numpy system_python -c 'import numpy' # the guard watches it
}

need_ci()
{
    need octave has octave-cli # the guard watches it, too; large, and left out of the tests where it is not
    need gcc-aarch64-linux-gnu has aarch64-linux-gnu-gcc # for a test that is left out where it is not, with the next
    need libc6-dev-arm64-cross ls -d /usr/aarch64-linux-gnu/include/stdio.h
    need clang has clang
    need libomp-dev includes omp.h clang -fopenmp -x c
    need libclang-rt-dev clang_runtime
    need clang-format-14 has clang-format-14
    need shellcheck has shellcheck
    need gcovr has gcovr
    need qemu-user has qemu-x86_64
    need git has git
    need ccache has ccache
}

# For bench/peers: ggml is C++, and Debian's libraries may lie beside other variants of themselves.
need_peers()
{
    need g++ includes cstddef "${CXX:-c++}" -x c++
    need python3-venv python3 -c 'import ensurepip, venv'
    need libopenblas0-openmp ls -d /usr/lib/*/openblas-openmp
    need libblis4-openmp ls -d /usr/lib/*/blis-openmp
}

[ $# -gt 0 ] || set -- build
for group in "$@"; do
    case $group in
    build | test | ci | peers) ;;
    *)
        echo "install_deps.sh: unknown group '$group'; there are: build test ci peers" >&2
        exit 2
        ;;
    esac
done

find_missing()
{
    missing=
    for group in "$@"; do
        "need_$group"
    done
    missing=$(echo "$missing" | tr ' ' '\n' | sort -u | tr '\n' ' ')
    missing=${missing# }
    missing=${missing% }
}

find_missing "$@"
[ -n "$missing" ] || exit 0

if ! has apt-get >/dev/null; then
    echo "gathermm needs these packages (Debian's names): $missing" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "gathermm needs packages that are not installed. Run this, then try again:" >&2
    echo "    sudo apt-get install -y --no-install-recommends $missing" >&2
    exit 1
fi

echo "installing: $missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# $missing is a list of words.
# shellcheck disable=SC2086
if ! { apt-get -qq -o Acquire::Retries=3 update &&
    apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing; } \
    >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    echo "install_deps.sh: apt-get could not install: $missing" >&2
    exit 1
fi

find_missing "$@"
if [ -n "$missing" ]; then
    echo "install_deps.sh: installed, but still not usable: $missing" >&2
    exit 1
fi
