#!/usr/bin/env bash
# quantize_checkpoint.sh - directories: two shards, the odd tensors, config.json, the index, other files, permissions.
# SPDX-License-Identifier: MIT
exec 2>&1
python3 - <<'PYTHON'
import os, sys
sys.path.insert(0, os.environ["TESTS"])
from tensor_files import write_sharded

write_sharded("in")
write_sharded("noindex", index=False)
with open("in/config.json", "w", encoding="utf-8") as file:
    file.write('{"z": 1e-05, "time_step_limit": [0.0, Infinity], "s": "a NaN \\"Infinity",\n'
               '"a": {"d": 0.1, "c": null},\n'
               '"n": [NaN, -Infinity, 12345678901234567, 1e22, 0.30000000000000004, "ü"]}')
PYTHON
chmod 600 in/tokenizer.json
ln -s tokenizer.json in/link.json
umask 027
gathermm quantize in/ out --mode affine --dry-run
[ -e out ] || echo "a dry run writes nothing"
gathermm quantize in/ out/ --mode affine --exclude lm_head | sed -E 's/; [0-9.]+ seconds$//'
find . -path './out*' -printf '%M %p\n' | sort -k2
sha256sum out/*.safetensors
cat out/config.json out/model.safetensors.index.json
cmp in/tokenizer.json out/tokenizer.json && cmp in/tokenizer.json out/link.json && echo "copied"
gathermm inspect out
echo "[$?]"
python3 "$TESTS/quantize_check.py" in out
gathermm quantize in cast --mode affine --dtype f16 --include '*.mlp.*' --json >cast.json
sed -E 's/"seconds": [0-9.e-]+/"seconds": TIME/' cast.json
gathermm inspect cast --json --tensors '*[!t]s' | sed -n '/"tensors": \[/,/^  \]/p' | grep -E '"(name|dtype)"'
gathermm inspect cast | grep -E '^(dtype|F16|F32|BF16|U32|I64|total) '
gathermm quantize noindex plain --mode mxfp4 --quiet
ls plain
rm noindex/config.json
gathermm quantize noindex bare --mode nvfp4 --quiet
cat bare/config.json
gathermm quantize in warned --mode mxfp8 --exclude '*gaet*' --exclude '*gate*' --include '*' --include 'nothing' --quiet
ls -A
