#!/usr/bin/env bash
# man_page.sh - the manual page: no warning from its formatter, the right version, every command and option in it.
# SPDX-License-Identifier: MIT
exec 2>&1
page=$ROOT/docs/gathermm.1

# Whichever formatters there are; a machine without any still checks what is below.
if command -v mandoc >/dev/null; then
    mandoc -T lint -W warning "$page"
fi
if command -v groff >/dev/null; then
    groff -man -Tutf8 -ww -z "$page"
fi
if command -v man >/dev/null; then
    man --warnings -E UTF-8 -l -Tutf8 "$page" 2>&1 >/dev/null | grep -v '^This system has been minimized'
fi

version=$(gathermm --version)
grep -q "^\.TH GATHERMM 1 [0-9-]* \"$version\"" "$page" || echo "the version is not $version"
text=$(sed 's/\\-/-/g' "$page")
for name in $(gathermm --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    grep -q "^\.SS gathermm $name$" "$page" || echo "no section about $name"
    [ "$name" = help ] && continue
    for option in $(gathermm help "$name" | sed -n 's/^  .*\(--[a-z-]*\).*/\1/p'); do
        section=$(sed -n "/^\.SS gathermm $name$/,/^\.S[SH] /p" <<<"$text")
        grep -q -- "^\.BI* $option\b" <<<"$section" || [ "$option" = --help ] || echo "$name: $option is not explained"
    done
done
for mode in $(gathermm info --json | sed -n 's/^ *"mode": "\(.*\)",/\1/p'); do
    grep -q "$mode" "$page" || echo "mode $mode is not mentioned"
done
echo "done"
