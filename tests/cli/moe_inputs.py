"""moe_inputs.py - hidden states that `gathermm moe` refuses, one file that it takes, and two broken checkpoints."""
# SPDX-License-Identifier: MIT
import math
import os
import shutil
import struct


def write(name, descr, letter, shape, values):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    with open(name + ".npy", "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        file.write(struct.pack(f"<{len(values)}{letter}", *values))


write("good", "<f4", "f", (5, 64), [i % 7 - 3 for i in range(320)])
write("f64", "<f8", "d", (5, 64), [0.0] * 320)
write("flat", "<f4", "f", (64,), [0.0] * 64)
write("narrow", "<f4", "f", (5, 63), [0.0] * 315)
write("empty", "<f4", "f", (0, 64), [])
write("broken", "<f4", "f", (5, 64), [0.0] * 319)
write("nan", "<f4", "f", (5, 64), [math.nan if i == 70 else 0.5 for i in range(320)])

shutil.copytree("models/mixtral_mlx", "cut")
os.truncate("cut/model.safetensors", os.path.getsize("cut/model.safetensors") - 1)
os.mkdir("nonsense")
with open("nonsense/config.json", "w", encoding="utf-8") as config:
    config.write('{"model_type": "perceptron"}')
