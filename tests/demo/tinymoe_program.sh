#!/bin/sh
# tinymoe_program.sh - the demo as a user starts it: output, options, mistakes, broken models.
# SPDX-License-Identifier: MIT
set -u
program=$1 model=$2 faulty=$3
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
failures=0

# expect STATUS TEXT ARGUMENT...: the exit status, and a line that has TEXT (if any) on stdout or stderr.
expect() {
    status=$1 text=$2
    shift 2
    "$program" "$@" >"$folder/out" 2>&1
    got=$?
    if [ "$got" -ne "$status" ] || { [ -n "$text" ] && ! grep -qF -e "$text" "$folder/out"; }; then
        echo "FAIL: tinymoe $*: exit status $got, wanted $status and \"$text\"; printed:"
        cat "$folder/out"
        failures=$((failures + 1))
    fi
}

# A copy of the model without one of its files, linked so that nothing large is written.
broken_model() {
    rm -rf "$folder/model"
    mkdir "$folder/model"
    for kept in config.json model.safetensors heldout.txt reference.json reference.safetensors; do
        [ "$kept" = "$1" ] || ln -s "$model/$kept" "$folder/model/$kept"
    done
}

quick="--windows 1 --generate 2 --processes 3"
# shellcheck disable=SC2086  # options to split
{
    expect 0 'All right' $quick --faulty-blas "$faulty"
    expect 0 'NaN in columns 510 to 511' $quick --formats affine4 --faulty-blas "$faulty"
    expect 0 '"fault": null' $quick --formats f32,nvfp4 --json --threads 1
    python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); assert len(r["formats"]) == 2 and r["text"]["equal"]' \
        "$folder/out" || failures=$((failures + 1))
    expect 3 '--faulty-blas /nonexistent' $quick --formats bf16 --faulty-blas /nonexistent
}
expect 0 'In the beginning of the Lord' --prompt 'Ge1:1 In the beginning' --generate 40
expect 0 'usage: tinymoe' --help
expect 0 'libgathermm' --version
expect 0 '' --replay-one 7

expect 2 'unknown option "--frob"' --frob
expect 2 'unknown option "model"' model
expect 2 '--windows needs a value' --windows
expect 2 '--windows takes a number' --windows 0
expect 2 '--windows takes a number' --windows 1x
expect 2 '--windows: there are 145' --windows 146
expect 2 'no format "affine7"' --formats f32,affine7
expect 2 'no format ""' --formats f32,
expect 2 '--threads takes a number' --threads -1
expect 2 'context' --generate 491
expect 2 'context' --prompt abc --generate 510
expect 2 'at least one byte' --prompt ''

expect 3 '/nonexistent/config.json' --model /nonexistent
for file in config.json model.safetensors heldout.txt reference.json reference.safetensors; do
    broken_model $file
    expect 3 "$file" --model "$folder/model"
done
broken_model config.json
sed 's/"hidden_size": 256/"hidden_size": 255/' "$model/config.json" >"$folder/model/config.json"
expect 3 'does not have the shape' --model "$folder/model"
rm "$folder/model/config.json"
sed 's/"num_hidden_layers": 3/"num_hidden_layers": 4/' "$model/config.json" >"$folder/model/config.json"
expect 3 'no tensor model.layers.3.input_layernorm' --model "$folder/model"
rm "$folder/model/config.json"
sed 's/mixtral/llama/' "$model/config.json" >"$folder/model/config.json"
expect 3 'this program runs "mixtral" only' --model "$folder/model"
rm "$folder/model/config.json"
sed 's/"vocab_size": 256/"vocab_size": "many"/' "$model/config.json" >"$folder/model/config.json"
expect 3 '"vocab_size" must be an integer' --model "$folder/model"
rm "$folder/model/config.json"
echo '{' >"$folder/model/config.json"
expect 3 'config.json: ' --model "$folder/model"
broken_model model.safetensors
head -c 1000000 "$model/model.safetensors" >"$folder/model/model.safetensors"
expect 3 'model.safetensors' --model "$folder/model"
broken_model heldout.txt
head -c 1000 "$model/heldout.txt" >"$folder/model/heldout.txt"
expect 3 'fewer than' --model "$folder/model"

[ "$failures" -eq 0 ]
