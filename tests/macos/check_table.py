"""check_table.py - the interposition table of a Mach-O object: its section, its size, the symbols that it is bound to."""
# SPDX-License-Identifier: MIT
#
# usage: check_table.py guard_interpose.o interpose_list.h
import re
import struct
import sys

LC_SEGMENT_64, LC_SYMTAB = 0x19, 0x2
N_EXT, N_TYPE, N_WEAK_REF = 0x01, 0x0E, 0x40

with open(sys.argv[1], "rb") as file:
    data = file.read()
magic, _, _, kind, commands = struct.unpack_from("<5I", data)
assert (magic, kind) == (0xFEEDFACF, 1), "no 64-bit Mach-O object"

section = symbols = None
at = 32
for _ in range(commands):
    command, size = struct.unpack_from("<2I", data, at)
    if command == LC_SEGMENT_64:
        for s in range(struct.unpack_from("<I", data, at + 64)[0]):
            start = at + 72 + 80 * s
            name, segment = (data[start + 16 * i : start + 16 * i + 16].rstrip(b"\0").decode() for i in range(2))
            _, length, _, _, relocations_at, relocation_count = struct.unpack_from("<2Q4I", data, start + 32)
            if (segment, name) == ("__DATA", "__interpose"):
                section = length, relocations_at, relocation_count
    elif command == LC_SYMTAB:
        symbols_at, count, strings_at, _ = struct.unpack_from("<4I", data, at + 8)
        symbols = []
        for i in range(count):
            string, symbol_type, _, description, _ = struct.unpack_from("<IBBHQ", data, symbols_at + 16 * i)
            end = data.index(b"\0", strings_at + string)
            symbols.append((data[strings_at + string : end].decode(), symbol_type, description))
    at += size

expected = []
with open(sys.argv[2], encoding="utf-8") as file:
    for macro, name in re.findall(r"(WORD|NUMBER|CBLAS_ONLY)\((\w+)\)", file.read()):
        expected += [f"_cblas_{name}", f"_cblas_{name}$NEWLAPACK", f"_cblas_{name}$NEWLAPACK$ILP64"]
        if macro == "WORD":
            expected.append(f"_{name}_")
        if macro != "CBLAS_ONLY":
            expected += [f"_{name}$NEWLAPACK", f"_{name}$NEWLAPACK$ILP64"]

assert section, "no section __DATA,__interpose"
length, relocations_at, relocation_count = section
assert length == 16 * len(expected), f"{length} bytes for {len(expected)} functions"
bound = []
for i in range(relocation_count):
    address, word = struct.unpack_from("<iI", data, relocations_at + 8 * i)
    if word >> 27 & 1 and address % 16 == 8:
        bound.append((address, symbols[word & 0xFFFFFF]))
bound = [symbol for _, symbol in sorted(bound, key=lambda pair: pair[0])]
assert [symbol[0] for symbol in bound] == expected, "the second of a pair is another symbol"
assert all(symbol[1] & N_EXT and not symbol[1] & N_TYPE for symbol in bound), "a function is defined here"
assert all(symbol[2] & N_WEAK_REF for symbol in bound), "a function is not weak"
print(f"{len(expected)} pairs, {relocation_count} relocations")
