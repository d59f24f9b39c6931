#!/usr/bin/env bash
# run_golden.sh - run golden tests of the command and compare their stdout and exit status with the files beside them.
# SPDX-License-Identifier: MIT
#
# usage: run_golden.sh [--refresh] GATHERMM [NAME]...     (all tests without a NAME)
#
# A test finds the command as `gathermm`, $TESTS as this folder, $ROOT as the repository, and starts in an empty folder.
set -u

refresh=false
if [ "${1:-}" = --refresh ]; then
    refresh=true
    shift
fi
if [ $# -lt 1 ] || [ ! -x "$1" ]; then
    echo "usage: run_golden.sh [--refresh] GATHERMM [NAME]..." >&2
    exit 2
fi
command=$(realpath "$1")
shift
TESTS=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$TESTS/../.." && pwd)
export TESTS ROOT LC_ALL=C PYTHONDONTWRITEBYTECODE=1

if [ $# -eq 0 ]; then
    for script in "$TESTS"/*.sh; do
        name=$(basename "$script" .sh)
        [ "$name" = run_golden ] || set -- "$@" "$name"
    done
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/bin"
ln -s "$command" "$scratch/bin/gathermm"
PATH=$scratch/bin:$PATH

failures=0
for name in "$@"; do
    folder=$scratch/$name
    mkdir "$folder"
    (cd "$folder" && exec bash "$TESTS/$name.sh") </dev/null >"$scratch/stdout" 2>"$scratch/stderr"
    echo $? >"$scratch/exit"
    if $refresh; then
        cp "$scratch/stdout" "$TESTS/$name.stdout"
        cp "$scratch/exit" "$TESTS/$name.exit"
        continue
    fi
    if diff -u "$TESTS/$name.stdout" "$scratch/stdout" && diff -u "$TESTS/$name.exit" "$scratch/exit"; then
        echo "$name: same"
    else
        echo "$name: DIFFERENT; its stderr:"
        cat "$scratch/stderr"
        failures=$((failures + 1))
    fi
done
exit $((failures > 0))
