#!/bin/sh
# check_exports.sh - libgathermm.so exports what the public headers declare; libgathermm.a defines no name without gmm_.
# SPDX-License-Identifier: MIT
#
# Usage: tools/check_exports.sh BUILD_FOLDER
set -eu
LC_ALL=C
export LC_ALL

root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:?usage: check_exports.sh BUILD_FOLDER}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# A declaration is "GMM_API <type> <name>(", on one line.
sed -n 's/^GMM_API [^(]*[ *]\([a-z0-9_]*\)(.*/\1/p' "$root"/include/gathermm/*.h | sort >"$work/declared"
if [ "$(grep -c '^GMM_API ' "$root"/include/gathermm/*.h | awk -F: '{ n += $2 } END { print n }')" != \
    "$(wc -l <"$work/declared" | tr -d ' ')" ]; then
    echo "check_exports.sh: a GMM_API declaration does not have its name on its first line:"
    grep -n '^GMM_API ' "$root"/include/gathermm/*.h | grep -v '[a-z0-9_](' || true
    status=1
fi

# The version node itself (type A) is no function.
nm -D --defined-only "$build/libgathermm.so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$work/exported"

if ! diff "$work/declared" "$work/exported" >"$work/diff"; then
    sed -n -e 's/^< /declared GMM_API, not exported (no definition?): /p' \
        -e 's/^> /exported, not declared in include\/gathermm: /p' "$work/diff"
    status=1
fi
if grep -v '^gmm_' "$work/exported"; then
    echo "check_exports.sh: these exports lack the prefix gmm_"
    status=1
fi
nm -g --defined-only "$build/libgathermm.a" | awk 'NF == 3 { print $3 }' | sort -u >"$work/static"
if grep -v '^gmm_' "$work/static"; then
    echo "check_exports.sh: these global names of libgathermm.a lack the prefix gmm_"
    status=1
fi
if [ ! -s "$work/exported" ] || [ ! -s "$work/static" ]; then
    echo "check_exports.sh: found no symbols in $build"
    status=1
fi
exit $status
