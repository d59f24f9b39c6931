#!/usr/bin/env bash
# bench.sh - rows of a benchmark in every form, compared with one another and with what they must be; no time is judged.
# SPDX-License-Identifier: MIT
exec 2>&1
unset GMM_CPU_MASK
threads=1,2,1
gathermm info | grep -q 'no OpenMP' && threads=1,1
common=(--shape '128,96,4,2' --seconds 0.001 --threads 1)
# Without --in-cache weights outgrow the caches, which takes time to make: only where that is the point.

gathermm bench "${common[@]}" --tokens 1,5 --activations f32,bf16 --in-cache --json rows.json --csv rows.csv --plot rows.svg >text
echo "[$?]"
sed -E 's/^([a-z0-9]+ +[a-z0-9]+ +f32 +[0-9]+ +[0-9]+) +[0-9].* (read|fma_f32|dot_bf16)$/\1 .../; s/^(1 thread: read) .*/\1 .../' text
head -1 rows.csv
gathermm bench --shape 128,96,4,2 --seconds 0.001 --tokens 3,3 --formats affine4/32,f16,f16 --activations all --threads $threads \
    --layout plain --in-cache --cpu-mask all --seed 0x10 --json - --plot more.svg >more.json
echo "[$?]"
python3 "$TESTS/bench_check.py"

# Weights of 192 KiB, room for two experts of four; then for none.
gathermm bench "${common[@]}" --tokens 1 --formats f32 --activations f32 --memory 100K | sed -n 's/^note: \([^:]*\):.*caches.*/\1/p'
gathermm bench "${common[@]}" --tokens 1 --formats f32 --activations f32 --memory 100K --csv - 2>/dev/null | cut -d, -f1-6
gathermm bench "${common[@]}" --tokens 1 --formats f32 --activations f32 --memory 90K --csv none.csv
echo "[$?] $(ls ./*.csv)"
gathermm bench --shape 80,32,2,1 --seconds 0.001 --threads 1 --tokens 1 --formats affine2,nvfp4 --activations f16 --in-cache --csv - |
    cut -d, -f1-12

gathermm bench "${common[@]}" --tokens 2 --formats f32 --activations f32 --memory 40M --csv - 2>/dev/null | cut -d, -f1-13

# int8 rows, for formats and a layout that have such sums, and their error.
gathermm bench "${common[@]}" --in-cache --arithmetic all --tokens 1,6 --formats f32,affine4,mxfp4,mxfp8,nvfp4 --activations f32 \
    --json int8.json | grep -c '^[a-z0-9]* *f32 *int8 '
python3 "$TESTS/bench_check.py" int8.json
gathermm bench "${common[@]}" --in-cache --arithmetic int8 --formats f32,mxfp8
echo "[$?]"
gathermm bench --arithmetic int4
echo "[$?]"

# Rows of f32 alone are timed through a BLAS, too; one that cannot be had ends it.
faulty=$(dirname "$(readlink -f "$(command -v gathermm)")")/faulty
gathermm bench "${common[@]}" --in-cache --tokens 200 --formats f32,bf16 --activations f32 --blas "$faulty/libroute_none.so" --json blas.json >text
echo "[$?]"
python3 -c 'import json
for row in json.load(open("blas.json")): print(row["format"], row["blas_ratio"] > 0)'
grep -c 'times as long through the BLAS' text
gathermm bench "${common[@]}" --in-cache --tokens 2 --formats f32 --blas ./nowhere.so 2>&1 | cut -c1-30

# Prepared weights: the same work otherwise, and none that raw ones are compared with.
gathermm bench "${common[@]}" --in-cache --prepared --tokens 1,40 --formats f32,bf16,nvfp4 --activations f32 --json prepared.json |
    grep ^custom
python3 "$TESTS/bench_check.py" prepared.json

# Whole layers, beside the same from three products, which must agree; compared with their like only.
gathermm bench "${common[@]}" --moe --in-cache --arithmetic all --tokens 1,6 --formats bf16,affine4/32,nvfp4 --activations f32,bf16 \
    --json layers.json --csv layers.csv --plot layers.svg | grep -c '^[a-z0-9/]* .* [0-9.]*% [a-z0-9_]*$'
python3 "$TESTS/bench_check.py" layers.json
head -1 layers.csv
gathermm bench "${common[@]}" --moe --in-cache --prepared --tokens 40 --formats bf16,mxfp4 --activations f16 --compare layers.json |
    grep rows
gathermm bench "${common[@]}" --in-cache --tokens 1 --formats bf16 --activations f32 --compare layers.json | grep rows
gathermm bench "${common[@]}" --moe --layout plain
echo "[$?]"
gathermm bench "${common[@]}" --moe --blas auto
echo "[$?]"
gathermm bench --shape 128,48,4,2 --threads 1 --moe --formats affine4
echo "[$?]"

# Against itself a thousand times as slow nothing is slower, against itself a thousand times as fast everything is.
compare=("${common[@]}" --in-cache --tokens 1 --formats bf16 --activations f32)
gathermm bench "${compare[@]}" --json now.json >/dev/null
python3 "$TESTS/bench_check.py" scale
for old in slow fast; do
    gathermm bench "${compare[@]}" --compare $old.json >compared
    echo "$old: [$?]"
    sed -n '/ratio/,$s/ \+[0-9.]* [um]*s .*% / ... /p; $p' compared
done
gathermm bench "${common[@]}" --in-cache --tokens 2 --formats bf16 --activations f32 --compare slow.json | tail -2
