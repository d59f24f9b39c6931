"""cast_check.py - inputs of --dtype, and a check of its outputs by exact fractions."""
# SPDX-License-Identifier: MIT
import math
import struct
import sys

from tensor_files import half_value, read, tensor, write

CODES = list(range(65536))


def f32_numbers():
    """Every f16 and bf16 number, the middles between neighbours, and what lies just beside them."""
    out = []
    for dtype in ("F16", "BF16"):
        for code in range(0, 0x7C00 if dtype == "F16" else 0x7F80, 7):
            low, high = half_value(dtype, code), half_value(dtype, code + 1)
            middle = (low + high) / 2 if math.isfinite(high) else low
            bits = struct.unpack("<I", struct.pack("<f", middle))[0]
            for change in (-1, 0, 1):
                if 0 <= bits + change < 0x7F800000:
                    out.append(struct.unpack("<f", struct.pack("<I", bits + change))[0])
    out += [65503.99, 65504.0, 65519.996, 65520.0, 3.3895e38, 3.4e38, math.inf, -math.inf, math.nan, 0.0, -0.0]
    return out + [-number for number in out]


def nearest(number, dtype):
    """The code of the nearest number of a 16-bit type, ties to even."""
    if math.isnan(number):
        return None
    if dtype == "F16":
        try:
            return struct.unpack("<H", struct.pack("<e", number))[0]
        except OverflowError:
            return 0xFC00 if number < 0 else 0x7C00
    bits = struct.unpack("<I", struct.pack("<f", number))[0]
    low, rest = bits >> 16, bits & 0xFFFF
    return low + (rest > 0x8000 or (rest == 0x8000 and low & 1))


def check(dtype):
    content, _ = read(dtype)
    wanted = dtype.upper()
    for name, (_, _, data) in read("in.safetensors")[0].items():
        if name == "w.weight":
            continue
        got_dtype, _, got = content[name]
        assert got_dtype == wanted, name
        source = {"f32": "F32", "f16": "F16", "bf16": "BF16"}[name]
        if source == "F32":
            numbers = struct.unpack(f"<{len(data) // 4}f", data)
        else:
            numbers = [half_value(source, code) for code in struct.unpack(f"<{len(data) // 2}H", data)]
        if wanted == source:
            assert got == data
        elif wanted == "F32":
            for number, result in zip(numbers, struct.unpack(f"<{len(numbers)}f", got)):
                same = struct.pack("<f", number) == struct.pack("<f", result)
                assert same or (math.isnan(number) and math.isnan(result)), (name, number, result)
        else:
            for number, code in zip(numbers, struct.unpack(f"<{len(numbers)}H", got)):
                want = nearest(number, wanted)
                assert code == want or (want is None and math.isnan(half_value(wanted, code))), (name, number, code)
    print(f"{dtype}: {len(content)} tensors as they should be")


if sys.argv[1] == "make":
    numbers = f32_numbers()
    codes = struct.pack("<65536H", *CODES)
    write("in.safetensors", {
        "f32": ("F32", [len(numbers)], struct.pack(f"<{len(numbers)}f", *numbers)),
        "f16": ("F16", [65536], codes),
        "bf16": ("BF16", [65536], codes),
        "w.weight": tensor("F32", 2, 64),
    })
else:
    check(sys.argv[1])
