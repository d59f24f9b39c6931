#!/bin/sh
# build_wheel.sh - build the wheel, install it into VENV, and alone with NumPy into CLEAN: build_wheel.sh SOURCE VENV CLEAN WORK.
# SPDX-License-Identifier: MIT
set -eu
source=$1
venv=$2
clean=$3
work=$4

rm -rf "$work/wheel" "$clean"
mkdir -p "$work"
# The environment has the build's requirements; the build folder stays, so that a second run compiles what changed.
if ! "$venv/bin/python" -m pip wheel "$source" --quiet --disable-pip-version-check --no-build-isolation --no-deps \
    --wheel-dir "$work/wheel" -C "build-dir=$work/build" -C cmake.define.GATHERMM_WERROR=ON >"$work/log" 2>&1; then
    cat "$work/log" >&2
    exit 1
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$work"/wheel/*.whl
python3 -m venv "$clean"
"$clean/bin/python" -m pip install --quiet --disable-pip-version-check "$work"/wheel/*.whl
