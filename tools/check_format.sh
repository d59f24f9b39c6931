#!/bin/sh
# check_format.sh - C files are as clang-format 14 writes them; files have a first line that says what they are, and no end.
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
status=0
max_lines=800

clang_format=clang-format-14
if ! command -v $clang_format >/dev/null; then
    clang_format=clang-format
    if ! $clang_format --version 2>/dev/null | grep -q 'version 14\.'; then
        echo "check_format.sh: needs clang-format 14: other versions format differently (tools/install_deps.sh ci)" >&2
        exit 1
    fi
fi

# files PATTERN...: those in the repository or about to be.
files()
{
    git ls-files --cached --others --exclude-standard -- "$@" | while IFS= read -r file; do
        [ ! -f "$file" ] || printf '%s\n' "$file"
    done
}

complain()
{
    echo "$1"
    status=1
}

list=$(mktemp)
places=$(mktemp)
trap 'rm -f "$list" "$places"' EXIT

files '*.c' '*.h' >"$list"
xargs -d '\n' $clang_format --dry-run <"$list" 2>&1 | sed -n 's/^\([^:]*:[0-9]*\):.*clang-formatted.*/\1/p' >"$places"
if [ -s "$places" ]; then
    complain "check_format.sh: run clang-format -i; it would change, at the first place in each file:"
    sort -t: -k1,1 -u "$places"
fi
while IFS= read -r file; do
    line=$(head -n 1 "$file")
    case $line in
    "/* ${file##*/} - "*) ;;
    *) complain "$file:1: the first line is not '/* ${file##*/} - <one sentence>. */'" ;;
    esac
    sed -n 2,3p "$file" | grep -q 'SPDX-License-Identifier: MIT' || complain "$file:2: no SPDX-License-Identifier: MIT"
done <"$list"

files '*.py' '*.sh' '*.cmake' '*CMakeLists.txt' 'Makefile' '.ci/run' >"$list"
while IFS= read -r file; do
    [ -s "$file" ] || continue
    line=$(grep -v '^#!' "$file" | head -n 1)
    case $line in
    "# "* | '"""'*) ;;
    *) complain "$file:1: the first line (after #!) is no comment that says what the file is" ;;
    esac
done <"$list"

files '*.c' '*.h' '*.py' '*.sh' '*.cmake' '*CMakeLists.txt' 'Makefile' '.ci/run' '*.md' >"$list"
while IFS= read -r file; do
    lines=$(wc -l <"$file")
    [ "$lines" -le $max_lines ] || complain "$file: $lines lines; $max_lines is the limit"
    if grep -nE '[[:space:]]+$' "$file"; then
        complain "$file: white space at the end of these lines"
    fi
    [ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || complain "$file: no newline at its end"
done <"$list"

exit $status
