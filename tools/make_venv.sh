#!/bin/sh
# make_venv.sh - make a Python environment with pinned packages, once: make_venv.sh DIRECTORY REQUIREMENTS.
# SPDX-License-Identifier: MIT
set -eu

if [ $# -ne 2 ]; then
    echo "usage: make_venv.sh DIRECTORY REQUIREMENTS" >&2
    exit 2
fi
directory=$1
requirements=$2
stamp=$directory/requirements.installed

# The stamp is written last, so that an interrupted installation is begun again.
if cmp -s "$requirements" "$stamp"; then
    exit 0
fi
rm -rf "$directory"
python3 -m venv "$directory"
"$directory/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
cp "$requirements" "$stamp"
