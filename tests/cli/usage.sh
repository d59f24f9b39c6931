#!/usr/bin/env bash
# usage.sh - help, versions, and every way to call the command wrongly.
# SPDX-License-Identifier: MIT
exec 2>&1

try() {
    printf '$ gathermm'
    [ $# -eq 0 ] || printf ' %q' "$@"
    echo
    gathermm "$@"
    echo "[$?]"
}

try
try --help
try -h
try help
for name in audit bench convert guard info inspect moe quantize replay; do
    gathermm help $name >help.txt
    gathermm $name --help >long.txt
    gathermm $name -h | diff - help.txt && diff long.txt help.txt && echo "$name: three ways to the same help"
    cat help.txt
done
# The version is that of the header, which CMake reads too.
version=$(sed -n 's/^#define GMM_VERSION_[A-Z]* //p' "$ROOT/include/gathermm/gathermm.h" | paste -sd.)
[ "$(gathermm --version)" = "gathermm $version" ] && echo "version as in the header"
try quantise
try 'frob nicate'
try help inpsect
try $'bad\e[31m'
try inspect
try inspect a b
try inspect --jsn a
try inspect --json=1 a
try inspect --tensors
try inspect -x a
try info surplus
try quantize --mode affine in
try quantize in out
try quantize in out --mode int4
try quantize in out --mode affine --bits 7
try quantize in out --mode affine --bits 4x
try quantize in out --mode affine --bits 4294967300
try quantize in out --mode affine --grop-size 64
try quantize in out --mode affine --group-size 48
try quantize in out --mode mxfp4 --group-size 16
try quantize in out --mode mxfp4 --exponent-rule down
try quantize in out --mode affine --exponent-rule up
try quantize in out --mode nvfp4 --exponent-rule up
try quantize in out --mode affine --tie-rule even
try quantize in out --mode affine --dtype f64
try quantize in out --mode affine --threads 0
try quantize in out --mod affine
try quantize missing out --mode affine
try convert
try convert a b --too mlx
try audit
try audit --compare libblas.so.3
try audit libblas.so.3 --checks stale_outputs
try audit libblas.so.3 --routines sgemm,hgemm
try audit libblas.so.3 --seconds 0
try audit libblas.so.3 --threads 300
try audit libblas.so.3 --json a --html a
try audit a b --compare --forced-kernels
gathermm audit /nonexistent/libblas.so --quick
echo "[$?]"
try bench surplus
try bench --preset qwen4
try bench --shape 32,32,4
try bench --shape 32,32,2,3
try bench --tokens 1,0
try bench --formats affine7
try bench --formats affine4/48
try bench --formats f32,
try bench --activations f64
try bench --threads many
try bench --seconds nan
try bench --layout columns
try bench --memory 5X
try bench --seed -1
try bench --json a --csv a
try bench --shape 100,32,2,1 --formats nvfp4
try bench --compare missing
try guard
try guard true
try guard --
try guard --sample 0 -- true
try guard --samples 3 -- true
try guard --output '' -- true
try replay
try replay a b
try replay missing
[ -e out ] || echo "no out"
gathermm --help >/dev/full
echo "[$?]"
