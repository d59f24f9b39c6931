#!/usr/bin/env bash
# moe_refusals.sh - every way to call `gathermm moe` wrongly, and files that cannot be used: nothing is written.
# SPDX-License-Identifier: MIT
exec 2>&1
unset GMM_CPU_MASK
python3 "$ROOT/tests/checkpoint/make_models.py" models
python3 "$TESTS/moe_inputs.py"
before=$(find . | sort)

try() {
    printf '$ gathermm moe'
    printf ' %q' "$@"
    echo
    gathermm moe "$@" --seconds 0.001 --threads 1
    echo "[$?]"
}

# What is wrong before anything is read.
gathermm moe
try a b
try models/mixtral_hf --layer 0
try models/mixtral_hf --tokens 1,0
try models/mixtral_hf --formats affine7
try models/mixtral_hf --check -1
try models/mixtral_hf --threads 0
try models/mixtral_hf --seconds 0
try models/mixtral_hf --seed one
try models/mixtral_hf --json a --plot a
try models/mixtral_hf --output - --layers 0
gathermm moe models/mixtral_hf --input
# What does not fit the checkpoint.
try models/qwen3_moe_hf --layers 1
try models/qwen3_moe_hf --layers 0,x
try models/qwen3_moe_hf --layers 2-0
try models/qwen3_moe_hf --layers ''
try models/mixtral_hf --output y.npy
try models/mixtral_hf --cpu-mask avx9
try models/mixtral_hf --tokens 6 --input good.npy
# Files.
try missing
try models/mixtral_hf/config.json
try cut
try nonsense
for input in missing f64 flat narrow empty broken nan; do
    try models/mixtral_hf --layers 0 --input $input.npy --output y.npy --json rows.json --plot rows.svg
done
# Places.
try models/mixtral_hf --layers 0 --output nowhere/y.npy
try models/mixtral_hf --layers 0 --output models
try models/mixtral_hf --json nowhere/rows.json
gathermm moe models/mixtral_hf --layers 0 --input good.npy --output y.npy --json /dev/full --plot rows.svg --seconds 0.001 >text
echo "[$?]"
rm text
[ "$(find . | sort)" = "$before" ] && echo "nothing is written"
