#!/usr/bin/env bash
# audit.sh - an audit's table, reports, programs and exit statuses, on libraries with a known fault and without.
# SPDX-License-Identifier: MIT
exec 2>&1
libraries=$(dirname "$(readlink -f "$(command -v gathermm)")")/faulty
if [ ! -d "$libraries" ]; then
    echo "no $libraries"
    exit 1
fi

# Numbers of cases and times depend on the machine only where a time limit is at work; paths depend on it always.
show() {
    sed -E -e "s#$libraries/##g" -e 's/ in [0-9.]+ s$/ in TIME/' -e 's/at byte -?[0-9]+/at byte N/'
}

narrow=(--cases 400 --checks "guard_pages,canaries,integers" --routines "ddot,dcopy")
gathermm audit "$libraries/libfaulty_none.so" "${narrow[@]}" >text
echo "[$?]"
show <text
gathermm audit "$libraries/libfaulty_over_read.so" "${narrow[@]}" --json a.json --junit a.xml --html a.html --repro programs >text
echo "[$?]"
show <text
ls programs
head -1 programs/*.c
python3 "$TESTS/audit_check.py" a.json a.xml a.html

# The same seed gives the same cases, another seed other ones.
for seed in 1 1 2; do
    gathermm audit "$libraries/libfaulty_over_read.so" "${narrow[@]}" --seed $seed --no-repro --json - | grep '"failed"' | head -1 >"seed$seed"
    cksum <"seed$seed" >>sums
done
[ "$(sed -n 1p sums)" = "$(sed -n 2p sums)" ] && echo "same seed, same cases"
ls

# What only one of two libraries has; an upgrade that brings a failure is a failure.
gathermm audit --compare "$libraries/libfaulty_none.so" "$libraries/libfaulty_over_read.so" "${narrow[@]}" >text
echo "[$?]"
grep only text | cut -d: -f2- | cut -c1-40
gathermm audit --compare "$libraries/libfaulty_over_read.so" "$libraries/libfaulty_none.so" "${narrow[@]}" >/dev/null
echo "[$?]"
gathermm audit --compare "$libraries/libfaulty_none.so" "$libraries/libfaulty_none.so" "${narrow[@]}" | tail -1

# Bits that differ where both are right are told of, and are no failure.
gathermm audit --compare "$libraries/libfaulty_none.so" "$libraries/libfaulty_unaligned_bits.so" --cases 400 --checks accuracy \
    --routines ddot,dcopy --json bits.json --html bits.html >text
echo "[$?]"
grep DIFFERS text
python3 -c 'import json
for d in json.load(open("bits.json"))["differing_bits"]: print(d["routine"], d["differing"] <= d["compared"], "(" in d["call"])'
grep -A3 'id="bits"' bits.html | tail -1 | cut -d'<' -f1-3

# One that cannot be loaded does not keep the other from being run.
gathermm audit ./nowhere.so "$libraries/libfaulty_none.so" "${narrow[@]}" >text
echo "[$?]"
tail -2 text
printf 'int sgemms;\n' >no.c
cc -shared -o libno.so no.c 2>/dev/null
gathermm audit ./libno.so --quick
echo "[$?]"
