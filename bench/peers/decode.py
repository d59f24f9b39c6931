# decode.py - the exact values of packed weights in double: MLX's layouts and ggml's blocks, from their formats.
# SPDX-License-Identifier: MIT
#
# Each function gives (values, terms) as bounds.py wants them, from rows of the packed arrays.
import numpy as np

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def e4m3(codes):
    """E4M3 without NaN, which no scale is."""
    codes = codes.astype(np.int64)
    exponent, mantissa = (codes >> 3) & 15, (codes & 7) / 8
    magnitude = np.where(exponent == 0, np.ldexp(mantissa, -6), np.ldexp(1 + mantissa, exponent - 7))
    return np.where(codes & 128, -magnitude, magnitude)


def e8m0(codes):
    return np.ldexp(1.0, codes.astype(np.int64) - 127)


def spread(per_group, group_size):
    return np.repeat(per_group.astype(np.float64), group_size, axis=-1)


def mlx(w, scales, biases, format_):
    """MLX's layout: codes as a little-endian bit stream in 32-bit words (docs/formats.md); bits is 4 or 8 here."""
    data = np.ascontiguousarray(w).view(np.uint8)
    if format_.bits == 4:
        data = np.stack([data & 15, data >> 4], axis=-1).reshape(data.shape[0], -1)
    if format_.mode == "affine":
        product = spread(scales, format_.group_size) * data
        offset = spread(biases, format_.group_size)
        return product + offset, np.abs(product) + np.abs(offset)
    scale = e8m0(scales) if format_.mode == "mxfp4" else e4m3(scales)
    values = E2M1[data] * spread(scale, format_.group_size)
    return values, np.abs(values)


def reach(scales, biases, format_):
    """The largest magnitude that an affine weight's group has codes for (docs/numerics.md)."""
    offset = spread(biases, format_.group_size)
    return np.maximum(np.abs(offset), np.abs(offset + spread(scales, format_.group_size) * (2**format_.bits - 1)))


def halves(blocks, first):
    """The f16 number at byte `first` of each block."""
    return np.ascontiguousarray(blocks[..., first:first + 2]).view(np.float16).astype(np.float64)


def nibbles(data):
    """Low halves of all bytes of a block, then their high halves."""
    return np.concatenate([data & 15, data >> 4], axis=-1)


def q8_0(rows):
    """block: f16 scale; int8 code[32]."""
    blocks = rows.reshape(rows.shape[0], -1, 34)
    values = halves(blocks, 0) * blocks[..., 2:].view(np.int8)
    # ik_llama.cpp multiplies code + 127 or + 128, and takes that off again.
    return values, np.abs(values) + 2 * 128 * np.abs(halves(blocks, 0))


def q4_0(rows):
    """block: f16 scale; 32 codes; the value is scale * (code - 8)."""
    blocks = rows.reshape(rows.shape[0], -1, 18)
    scale, codes = halves(blocks, 0), nibbles(blocks[..., 2:])
    return scale * (codes - 8.0), np.abs(scale) * (codes + 8.0)


def q4_k(rows):
    """block of 256: f16 d, f16 dmin, 8 pairs of 6-bit scale and min, codes; d * scale * code - dmin * min."""
    blocks = rows.reshape(rows.shape[0], -1, 144)
    packed = blocks[..., 4:16]
    low, middle, high = packed[..., 0:4], packed[..., 4:8], packed[..., 8:12]
    scales = np.concatenate([low & 63, (high & 15) | ((low >> 6) << 4)], axis=-1)
    mins = np.concatenate([middle & 63, (high >> 4) | ((middle >> 6) << 4)], axis=-1)
    codes = nibbles(blocks[..., 16:].reshape(*blocks.shape[:2], 4, 32)).reshape(*blocks.shape[:2], 8, 32)
    product = (halves(blocks, 0) * scales)[..., None] * codes
    offset = (halves(blocks, 2) * mins)[..., None]
    return product - offset, np.abs(product) + np.abs(offset)


def mxfp4(rows):
    """block: E8M0 scale; 32 codes."""
    blocks = rows.reshape(rows.shape[0], -1, 17)
    scale = e8m0(blocks[..., :1])
    values = scale * E2M1[nibbles(blocks[..., 1:])]
    # ik_llama.cpp multiplies the value + 6, and takes that off again.
    return values, np.abs(values) + 2 * 6 * scale


def nvfp4(rows):
    """block of 64: 4 E4M3 scales, then 4 times 16 codes."""
    blocks = rows.reshape(rows.shape[0], -1, 36)
    codes = nibbles(blocks[..., 4:].reshape(*blocks.shape[:2], 4, 8))
    values = e4m3(blocks[..., :4])[..., None] * E2M1[codes]
    return values, np.abs(values)


def dense(rows, dtype):
    values = np.ascontiguousarray(rows).view(dtype).astype(np.float64)
    return values, np.abs(values)


BLOCKS = {"q8_0": q8_0, "q4_0": q4_0, "q4_K": q4_k, "mxfp4": mxfp4, "nvfp4": nvfp4}


def ggml(rows, type_name):
    """Rows of bytes of a ggml type."""
    if type_name in BLOCKS:
        values, terms = BLOCKS[type_name](rows)
        return values.reshape(rows.shape[0], -1), terms.reshape(rows.shape[0], -1)
    if type_name == "bf16":
        widened = np.ascontiguousarray(rows).view(np.uint16).astype(np.uint32) << 16
        return dense(widened, np.float32)
    return dense(rows, {"f32": np.float32, "f16": np.float16}[type_name])
