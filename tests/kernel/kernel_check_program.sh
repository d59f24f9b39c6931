#!/bin/sh
# kernel_check_program.sh - kernel_check as people start it: lists, mistakes, times as a table and as JSON.
# SPDX-License-Identifier: MIT
set -u
program=$1
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
failures=0

# expect STATUS TEXT ARGUMENT...: the exit status, and a line that has TEXT on stdout or stderr.
expect() {
    status=$1 text=$2
    shift 2
    "$program" "$@" >"$folder/out" 2>&1
    got=$?
    if [ "$got" -ne "$status" ] || ! grep -qF -e "$text" "$folder/out"; then
        echo "FAIL: kernel_check $*: exit status $got, wanted $status and \"$text\"; printed:"
        cat "$folder/out"
        failures=$((failures + 1))
    fi
}

expect 0 'usage: kernel_check' --help
expect 0 'outer_f32_portable' --list
expect 2 'no such option: --nope' --nope
expect 2 'no value for --filter' --filter
expect 2 'what is this: now' now
expect 2 '--seed needs a number' --seed x
expect 2 '--json goes with --bench' --json "$folder/json"
expect 2 "cannot write $folder/none/json" --bench --json "$folder/none/json"
expect 2 'no kernel that can run has a name like z*' --filter 'z*'
expect 0 'GMM_TEST_SEED=12' --filter dot_f32_portable --seed 12
expect 0 'of fma_f32' --bench --filter outer_f32_portable --json "$folder/json"
python3 - "$folder/json" <<'END' || failures=$((failures + 1))
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    times = json.load(file)
assert times["clock_ghz"] > 0 and times["fma_f32_gflop_s"] > 0
assert {(row["kernel"], row["does"]) for row in times["rows"]} == {
    ("outer_f32_portable", "outer"), ("outer_f32_portable", "pack")}
assert all(row["cycles"] > 0 and row["portable_ratio"] > 0 for row in times["rows"])
END
if [ -e /dev/full ]; then
    expect 1 'cannot write' --bench --filter outer_f32_portable --json /dev/full
fi
export GMM_CPU_MASK=warp
expect 2 'GMM_CPU_MASK: "warp"' --list

[ "$failures" -eq 0 ] && echo "all as it should be"
exit "$((failures > 0))"
