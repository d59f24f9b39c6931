#!/usr/bin/env bash
# inspect_checkpoint.sh - directories of shards, with an index, without, and with one that lies.
# SPDX-License-Identifier: MIT
exec 2>&1

try() {
    echo "\$ gathermm $*"
    gathermm "$@"
    echo "[$?]"
}

python3 - <<'PYTHON'
import json, os, sys
sys.path.insert(0, os.environ["TESTS"])
from tensor_files import tensor, write, write_json, write_sharded

write_sharded("good")
write_sharded("noindex", index=False)

def lie(folder, change):
    write_sharded(folder)
    path = f"{folder}/model.safetensors.index.json"
    with open(path, encoding="utf-8") as file:
        index = json.load(file)
    change(index["weight_map"])
    write_json(path, index)

first = "model-00001-of-00002.safetensors"
lie("wrong", lambda map: map.update({"lm_head.weight": first, "ghost": first}))
lie("lacks", lambda map: map.pop("position_ids"))
lie("escape", lambda map: map.update({"x": "../secret.safetensors"}))
lie("number", lambda map: map.update({"x": 5}))
lie("missing", lambda map: map.update({"x": "model-00003-of-00002.safetensors"}))
write_sharded("twice", index=False)
write("twice/model-extra.safetensors", {"lm_head.weight": tensor("F16", 2, 2)})
write_sharded("unlisted")
write("unlisted/model-extra.safetensors", {"other": tensor("F16", 2, 2)})
write_sharded("badconfig")
with open("badconfig/config.json", "w", encoding="utf-8") as file:
    file.write('{"a": 1,\n "b": nan}\n')
os.makedirs("nothing")
os.makedirs("badindex")
with open("badindex/model.safetensors.index.json", "w", encoding="utf-8") as file:
    file.write('{"weight_map": {"a": "model-1.safetensors"')
os.makedirs("nomap")
write_json("nomap/model.safetensors.index.json", {"metadata": {}})
PYTHON
try inspect good
try inspect good/ --json --tensors lm_head.weight
gathermm inspect noindex | sed -n 1,3p
for folder in wrong lacks twice unlisted; do
    echo "\$ gathermm inspect $folder"
    gathermm inspect $folder | sed -n '/problem/,$p'
    echo "[${PIPESTATUS[0]}]"
done
gathermm inspect wrong --json | sed -n '/"problems"/,$p'
for folder in escape number missing badconfig nothing badindex nomap; do
    try inspect $folder
done
