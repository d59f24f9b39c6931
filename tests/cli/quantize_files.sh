#!/usr/bin/env bash
# quantize_files.sh - the trained example in every mode: the very bytes, which are MLX's, and the summary.
# SPDX-License-Identifier: MIT
exec 2>&1
cp "$ROOT/examples/tinymoe/model.safetensors" in.safetensors

check() {
    local out=$1
    shift
    echo "\$ gathermm quantize in.safetensors $out $*"
    gathermm quantize in.safetensors "$out" "$@" | sed -E 's/; [0-9.]+ seconds$//'
    echo "[${PIPESTATUS[0]}]"
    sha256sum "$out"
}

check affine.safetensors --mode affine
check mxfp4.safetensors --mode mxfp4
check mxfp8.safetensors --mode mxfp8
check nvfp4.safetensors --mode nvfp4
for bits in 2 3 5 6 8; do
    gathermm quantize in.safetensors affine$bits --mode affine --bits $bits --group-size 32 --quiet
    sha256sum affine$bits
done
gathermm quantize in.safetensors affine128 --mode affine --group-size 128 --threads 1 --quiet
gathermm quantize in.safetensors again128 --mode affine --group-size 128 --threads 7 --quiet
sha256sum affine128
cmp affine128 again128 && echo "threads change nothing"
gathermm quantize in.safetensors nearest --mode mxfp8 --exponent-rule nearest --quiet
gathermm quantize in.safetensors even --mode mxfp4 --tie-rule even --quiet
gathermm quantize in.safetensors up --mode mxfp8 --exponent-rule up --tie-rule smaller --quiet
sha256sum nearest even
cmp up mxfp8.safetensors && echo "the defaults are up and smaller"
gathermm inspect affine.safetensors | sed -n '1,12p;/^dtype  t/,/^model.embed/p'
ls -A
