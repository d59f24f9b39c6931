#!/usr/bin/env bash
# info.sh - info in both forms: the same facts, and masks that are honoured or refused.
# SPDX-License-Identifier: MIT
exec 2>&1
unset GMM_CPU_MASK
gathermm info >text || exit 9
gathermm info --json >info.json || exit 9
gathermm info --json --cpu-mask all >masked.json || exit 9
GMM_CPU_MASK=all gathermm info --json >variable.json || exit 9
GMM_CPU_MASK=all gathermm info | grep 'mask  '
gathermm info --cpu-mask all | grep 'mask  '
grep -E '^(gathermm|  [a-zA-Z]+ )' text | sed -E 's/^(  [a-z]+|  CPU|gathermm) .*/\1/' | grep -v '^  in' | sort
python3 "$TESTS/info_check.py"
GMM_CPU_MASK=avx2,warp gathermm info >/dev/null && echo accepted
[ -z "$(GMM_CPU_MASK=warp gathermm info 2>/dev/null)" ] && echo "nothing on stdout"
GMM_CPU_MASK=warp gathermm info 2>&1 | grep -o 'GMM_CPU_MASK.*warp'
GMM_CPU_MASK=warp gathermm info >/dev/null 2>&1
echo "[$?]"
gathermm info --cpu-mask warp 2>&1 | grep -o 'cpu-mask.*warp'
gathermm info --cpu-mask warp >/dev/null 2>&1
echo "[$?]"
faulty=$(dirname "$(realpath "$(command -v gathermm)")")/faulty/libfaulty
gathermm info --blas "${faulty}_none.so" | sed -n '/(--blas)/,$p' | sed 's|/.*/||' | grep -v build-id
gathermm info --blas "${faulty}_stale_large.so" | grep -E '^  (contract|checked)'
gathermm info --json --blas "${faulty}_none.so" | python3 -c 'import json, sys; print(*json.load(sys.stdin)["provider"])'
gathermm info --blas "${faulty}_inaccurate.so" 2>&1 | grep -o 'refused: cblas_sgemm is wrong'
gathermm info --blas "${faulty}_inaccurate.so" >/dev/null 2>&1
echo "[$?]"
gathermm info --blas /no/such.so 2>&1
