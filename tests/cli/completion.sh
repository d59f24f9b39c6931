#!/usr/bin/env bash
# completion.sh - what bash offers at each place of the command line.
# SPDX-License-Identifier: MIT
exec 2>&1
# shellcheck source=/dev/null
. "$ROOT/tools/gathermm.bash-completion"

# compopt works only inside a completion that readline runs; say instead that files are offered.
compopt() {
    echo "compopt $*"
}

offer() {
    COMP_WORDS=(gathermm "$@")
    COMP_CWORD=$#
    printf 'gathermm'
    printf ' %s' "$@"
    echo "|"
    _gathermm
    [ ${#COMPREPLY[@]} -eq 0 ] || printf '  %s\n' "${COMPREPLY[@]}"
}

offer ''
offer q
offer --v
offer help ''
offer help i
offer help info ''
offer audit --
offer audit --checks s
offer audit --routines ''
offer bench --
offer bench --preset q
offer bench --formats mx
offer bench --activations ''
offer bench --layout ''
offer bench --tokens ''
offer bench --json ro
offer convert --
offer convert in out --to ''
offer convert in out --quantize mx
offer convert in out --shard-size ''
offer convert mod
offer info --
offer info --cpu-mask al
offer inspect --
offer inspect mod
offer inspect --tensors ''
offer moe --
offer moe --formats nv
offer moe --layers ''
offer moe --output ''
offer moe mod
offer quantize --
offer quantize in out --e
offer quantize in out --mode ''
offer quantize in out --mode mx
offer quantize in out --bits ''
offer quantize in out --group-size ''
offer quantize in out --exponent-rule ''
offer quantize in out --tie-rule ''
offer quantize in out --dtype b
offer quantize in out --threads ''
offer guard --
offer guard --output ''
offer guard -- pro
offer replay --
offer frobnicate --
complete -p gathermm
bash --noprofile --norc -u -c '. "$ROOT/tools/gathermm.bash-completion" && echo "loads under set -u"'
