#!/usr/bin/env bash
# inspect_npy.sh - npy files of several types and both orders, and broken files of both kinds.
# SPDX-License-Identifier: MIT
exec 2>&1

try() {
    echo "\$ gathermm $*"
    gathermm "$@"
    echo "[$?]"
}

python3 - <<'PYTHON'
import os, sys
sys.path.insert(0, os.environ["TESTS"])
from tensor_files import tensor, write, write_npy

write_npy("c.npy", "<f4", (2, 3), bytes(24))
write_npy("fortran.npy", "<f2", (4, 5), bytes(40), fortran=True)
write_npy("scalar.npy", "|b1", (), bytes(1))
write_npy("bfloat.npy", "<V2", (3,), bytes(6))
write_npy("empty.npy", "<i8", (0, 9), b"")
write_npy("short.npy", "<f4", (2, 3), bytes(20))
write_npy("swapped.npy", ">f4", (2,), bytes(8))
write_npy("looks.safetensors", "<u2", (2,), bytes(4))
write("whole.safetensors", {"a": tensor("F32", 4), "b": tensor("F32", 4)})
with open("whole.safetensors", "rb") as file:
    content = file.read()
with open("truncated.safetensors", "wb") as file:
    file.write(content[:-1])
with open("huge.safetensors", "wb") as file:
    file.write((2**63).to_bytes(8, "little") + b"{}")
with open("overlap.safetensors", "wb") as file:
    file.write(content.replace(b"[16, 32]", b"[12, 28]"))
with open("text", "w", encoding="utf-8") as file:
    file.write("hello, world\n")
open("none", "wb").close()
PYTHON
for file in c fortran scalar bfloat empty; do
    try inspect $file.npy
done
try inspect fortran.npy --json
try inspect looks.safetensors
for file in short.npy swapped.npy truncated.safetensors huge.safetensors overlap.safetensors text none gone; do
    gathermm inspect $file >output 2>errors
    echo "$file: [$?] $(wc -l <output) lines of output, $(grep -c "^gathermm: .*$file" errors) of errors that name it"
done
