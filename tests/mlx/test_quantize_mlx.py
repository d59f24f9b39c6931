# test_quantize_mlx.py - gmm_quantize, gmm_dequantize and the fp8 calls against MLX: the same bytes.
# SPDX-License-Identifier: MIT
import itertools

import ml_dtypes
import mlx.core as mx
import numpy as np
import pytest

import gathermm_ctypes as gmm

SEED = 20260901
AFFINE = [("affine", group_size, bits) for group_size in (32, 64, 128) for bits in (2, 3, 4, 5, 6, 8)]
FORMATS = AFFINE + [("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)]
TYPES = {"f32": np.dtype(np.float32), "f16": np.dtype(np.float16), "bf16": gmm.bfloat16}

# Above these, the distances that MLX compares to find the nearest E2M1 value are rounded until all of them are equal,
# and the element becomes 0 where it should become 6 (docs/formats.md).
NVFP4_DISTINCT = {"f32": 2.0**24, "f16": 2.0**11, "bf16": 2.0**8}


def to_mlx(array):
    if array.dtype == gmm.bfloat16:
        return mx.array(array.view(np.uint16)).view(mx.bfloat16)
    return mx.array(array)


def from_mlx(array):
    if array.dtype == mx.bfloat16:
        return np.array(array.view(mx.uint16)).view(gmm.bfloat16)
    return np.array(array)


def bits_of(array):
    return array.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[array.itemsize])


def groups_of(w, group_size):
    return w.astype(np.float32).reshape(-1, group_size)


def mx_shared_exponent_wraps(groups, mode, dtype):
    """Groups whose exponent is below -127, where MLX wraps to 255 and less instead of clamping."""
    ratio = np.abs(groups).max(axis=1) / np.float32(6 if mode == "mxfp4" else 448)
    ratio = ratio.astype(dtype).astype(np.float64)
    return (ratio > 0) & (ratio <= 2.0**-128)


def nvfp4_not_distinct(groups, dtype_name, global_scale):
    if global_scale is not None:
        dtype_name = "f32"
    encode = np.float32(1 if global_scale is None else 2688 / global_scale)
    scale = gmm.to_fp8(np.abs(groups).max(axis=1) / np.float32(6) * encode)
    scale = scale.view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        largest = np.abs(groups).max(axis=1) / scale * encode
    return (scale != 0) & ~(largest < NVFP4_DISTINCT[dtype_name])


def check_same(w, mode, group_size, bits, global_scale=None):
    """Quantize w here and in MLX; every group must have the same bytes, but those where MLX is known to be wrong."""
    dtype_name = next(name for name, dtype in TYPES.items() if dtype == w.dtype)
    ours = gmm.quantize(w, mode, group_size, bits, global_scale)
    scale = None if global_scale is None else mx.array(np.float32(global_scale))
    theirs = [from_mlx(part) for part in mx.quantize(to_mlx(w), group_size, bits, mode, global_scale=scale)]
    groups = groups_of(w, group_size)
    wrong = np.zeros(len(groups), bool)
    if mode in ("mxfp4", "mxfp8"):
        wrong = mx_shared_exponent_wraps(groups, mode, w.dtype)
    elif mode == "nvfp4":
        wrong = nvfp4_not_distinct(groups, dtype_name, global_scale)
    parts = [ours.w, ours.scales] + ([ours.biases] if mode == "affine" else [])
    assert len(parts) == len(theirs)
    for name, mine, their in zip(("w_q", "scales", "biases"), parts, theirs):
        assert mine.dtype == their.dtype and mine.shape == their.shape
        different = (bits_of(mine).reshape(len(groups), -1) != bits_of(their).reshape(len(groups), -1)).any(axis=1)
        different &= ~wrong
        assert not different.any(), report(name, mode, groups, mine, their, int(np.argmax(different)))
    check_where_mlx_is_wrong(ours, mode, groups[wrong], wrong)
    return ours, wrong


def check_where_mlx_is_wrong(ours, mode, groups, wrong):
    """Shared exponents are clamped at code 0; in nvfp4 a group's largest elements have the largest code."""
    if mode == "nvfp4":
        codes = ours.w.view(np.uint8).reshape(-1, 8)[wrong]
        codes = np.stack([codes & 15, codes >> 4], axis=2).reshape(-1, 16)
        largest = np.abs(groups) == np.abs(groups).max(axis=1, keepdims=True)
        assert (codes[largest] & 7 == 7).all()
    else:
        assert (ours.scales.reshape(-1)[wrong] == 0).all()


def report(name, mode, groups, mine, their, group):
    return (f"{mode} {name}, group {group}: {mine.reshape(len(groups), -1)[group]} here, "
            f"{their.reshape(len(groups), -1)[group]} in MLX, for {groups[group].tolist()}")


def ties(rng, dtype):
    """Groups on and beside every half-way point of E2M1 and E4M3, at many scales."""
    e2m1 = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6]
    e4m3 = np.arange(0, 127, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    points = np.concatenate([e2m1, e4m3, (e4m3[1:] + e4m3[:-1]) / 2]).astype(np.float32)
    points = np.concatenate([points, np.nextafter(points, np.float32(0)), np.nextafter(points, np.float32(1e9))])
    w = rng.choice(points, (256, 128)) * rng.choice([-1, 1], (256, 128))
    w[:, ::16] = rng.choice([6, 6 * 448, 448, 384, 2, 4], (256, 8))
    return (w * 2.0 ** rng.integers(-4, 4, (256, 1))).astype(np.float32).astype(dtype)


def affine_ties(rng, dtype):
    """Groups whose elements are half-way between two codes."""
    top = rng.choice([3, 7, 15, 31, 63, 255], (192, 1))
    w = rng.integers(0, 2 * 255, (192, 128)) % (2 * top + 1) / 2
    w[:, ::32] = 0
    w[:, 1::32] = top
    w = w * rng.choice([1, -1, 0.5, 3, -0.1], (192, 1)) + rng.choice([0, -2, 7], (192, 1))
    return w.astype(np.float32).astype(dtype)


def constants(rng, dtype):
    w = np.repeat(rng.normal(size=(64, 1)) * 10.0 ** rng.integers(-9, 5, (64, 1)), 128, axis=1)
    w[0], w[1], w[2, ::2], w[3, :3] = 0, -0.0, 0, 0
    return w.astype(np.float32).astype(dtype)


def tiny(rng, dtype):
    smallest = float(ml_dtypes.finfo(dtype).smallest_subnormal)
    w = rng.integers(-600, 600, (128, 128)) * smallest * 2.0 ** rng.integers(0, 30, (128, 1))
    return w.astype(np.float64).astype(np.float32).astype(dtype)


def huge(rng, dtype):
    largest = float(ml_dtypes.finfo(dtype).max)
    w = rng.uniform(-1, 1, (128, 128)) * largest * 2.0 ** -rng.integers(0, 9, (128, 1))
    w[:, 5] *= 0.001
    w[::3, 7] = largest
    w[::5, 9] = -largest
    return w.astype(np.float32).astype(dtype)


def saturating(rng, dtype):
    """Beyond 2688, what nvfp4's scale can hold."""
    w = rng.uniform(-1, 1, (256, 128)) * 2.0 ** rng.integers(8, 16, (256, 1))
    return w.astype(np.float32).astype(dtype)


def one_sided(rng, dtype):
    w = -np.abs(rng.normal(size=(128, 128))) - rng.choice([0, 1, 100], (128, 1))
    w[::2] *= -1
    return w.astype(np.float32).astype(dtype)


def normal(rng, dtype):
    return (rng.normal(size=(512, 256)) * 2.0 ** rng.integers(-20, 12, (512, 1))).astype(np.float32).astype(dtype)


def any_bits(rng, dtype):
    """Random bit patterns of finite numbers: all exponents, in one group."""
    uint = {2: np.uint16, 4: np.uint32}[dtype.itemsize]
    w = rng.integers(0, 2 ** (8 * dtype.itemsize), (256, 256), dtype=uint).view(dtype)
    return np.where(np.isfinite(w.astype(np.float32)), w, np.zeros((), dtype))


INPUTS = [normal, ties, affine_ties, constants, tiny, huge, saturating, one_sided, any_bits]


@pytest.mark.parametrize("mode, group_size, bits", FORMATS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("make", INPUTS)
def test_quantize_bytes(make, dtype, mode, group_size, bits):
    w = make(np.random.default_rng(SEED), TYPES[dtype])
    _, wrong = check_same(w, mode, group_size, bits)
    if make in (normal, ties, affine_ties, one_sided):
        assert not wrong.any()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("global_scale", [10.0, 3.3, 2688.0, 1e-3, 7e4, -5.0])
@pytest.mark.parametrize("make", [normal, ties, constants, tiny, one_sided])
def test_quantize_bytes_with_global_scale(make, global_scale, dtype):
    check_same(make(np.random.default_rng(SEED), TYPES[dtype]), "nvfp4", 16, 4, global_scale)


@pytest.mark.parametrize("mode", ["mxfp4", "mxfp8", "nvfp4"])
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_every_magnitude(dtype, mode):
    """A group for every finite f16 and bf16 number, as the largest of its group."""
    numbers = np.arange(2**15, dtype=np.uint16).view(TYPES[dtype])
    numbers = numbers[np.isfinite(numbers.astype(np.float32))]
    w = np.zeros((len(numbers), 32), TYPES[dtype])
    w[:, 0] = numbers
    w[:, 16] = numbers
    w[:, 3] = (numbers.astype(np.float32) * np.float32(-0.4)).astype(TYPES[dtype])
    check_same(w, mode, 0 or {"nvfp4": 16}.get(mode, 32), {"mxfp8": 8}.get(mode, 4))


@pytest.mark.parametrize("mode", ["mxfp4", "mxfp8"])
def test_f32_magnitudes_around_powers_of_two(mode):
    """f32 magnitudes whose quotient by 6 or 448 is near a power of two, where the exponent changes."""
    largest = 6 if mode == "mxfp4" else 448
    centres = np.array([largest * 2.0**e for e in range(-149, 128) if largest * 2.0**e < 3.4e38]).astype(np.float32)
    near = centres.view(np.uint32)[:, None].astype(np.int64) + np.arange(-300, 301)
    numbers = np.unique(near[(near >= 0) & (near < 0x7F800000)]).astype(np.uint32).view(np.float32)
    w = np.zeros((len(numbers), 32), np.float32)
    w[:, 0] = numbers
    check_same(w, mode, 32, 8 if mode == "mxfp8" else 4)


def test_ragged_nvfp4_equals_padded():
    """16 is enough here; MLX wants a multiple of 32 elements, so compare with zeros appended."""
    w = np.random.default_rng(SEED).normal(size=(3, 48)).astype(np.float32)
    ours = gmm.quantize(w, "nvfp4")
    padded = mx.quantize(mx.array(np.pad(w, ((0, 0), (0, 16)))), mode="nvfp4")
    assert (ours.w == np.array(padded[0])[:, :6]).all() and (ours.scales == np.array(padded[1])[:, :3]).all()


@pytest.mark.parametrize("mode", ["affine", "mxfp4", "mxfp8", "nvfp4"])
def test_quantize_strided(mode):
    w = np.random.default_rng(SEED).normal(size=(128, 4, 64)).astype(np.float32)
    for strided in (w.transpose(1, 2, 0), w[::-1, :, :], w[:, ::2, ::-1]):
        ours, copy = gmm.quantize(strided, mode), gmm.quantize(np.ascontiguousarray(strided), mode)
        assert (ours.w == copy.w).all() and (ours.scales == copy.scales).all()


def check_same_values(mine, their):
    """The same bits; NaN where MLX has NaN, of any sign and payload."""
    nan = np.isnan(their.astype(np.float32))
    assert mine.dtype == their.dtype and (nan == np.isnan(mine.astype(np.float32))).all()
    assert (bits_of(mine)[~nan] == bits_of(their)[~nan]).all()


def codes_and_scales(rng, mode, group_size, bits, scales_dtype):
    rows, cols = 64, 512
    w = rng.integers(0, 2**32, (rows, cols * bits // 32), dtype=np.uint32)
    if mode != "affine":
        return w, rng.integers(0, 256, (rows, cols // group_size), dtype=np.uint8), None
    scales = rng.normal(size=(rows, cols // group_size)).astype(scales_dtype)
    return w, scales, rng.normal(size=scales.shape).astype(scales_dtype) * scales_dtype.type(4)


@pytest.mark.parametrize("mode, bits, group_size", [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)])
def test_dequantize_bytes(mode, bits, group_size):
    """Exact in f32, so equal to MLX's in every bit."""
    w, scales, _ = codes_and_scales(np.random.default_rng(SEED), mode, group_size, bits, None)
    for dtype, mlx_dtype in ((np.float32, mx.float32), (gmm.bfloat16, mx.bfloat16)):
        theirs = from_mlx(mx.dequantize(mx.array(w), mx.array(scales), mode=mode, dtype=mlx_dtype))
        check_same_values(gmm.dequantize(gmm.Quantized(w, scales, mode=mode), dtype), theirs)


@pytest.mark.parametrize("mode, group_size, bits", AFFINE)
@pytest.mark.parametrize("dtype", TYPES)
def test_dequantize_affine(dtype, mode, group_size, bits):
    """One rounding here, two in MLX: both lie within their roundings of the exact number, ours within half an ulp."""
    scales_dtype = TYPES[dtype]
    w, scales, biases = codes_and_scales(np.random.default_rng(SEED), mode, group_size, bits, scales_dtype)
    ours = gmm.dequantize(gmm.Quantized(w, scales, biases, mode, group_size, bits), np.float32)
    stream = np.unpackbits(w.view(np.uint8), axis=1, bitorder="little").reshape(len(w), -1, bits)
    codes = (stream * (1 << np.arange(bits))).sum(axis=2).astype(np.float64)
    exact = codes * np.repeat(scales.astype(np.float64), group_size, axis=1)
    product = np.abs(exact)
    exact += np.repeat(biases.astype(np.float64), group_size, axis=1)
    assert (bits_of(ours) == bits_of(exact.astype(np.float32))).all()
    theirs = from_mlx(mx.dequantize(mx.array(w), to_mlx(scales), to_mlx(biases), group_size, bits)).astype(np.float64)
    unit = float(ml_dtypes.finfo(scales_dtype).eps) / 2
    assert (np.abs(theirs - exact) <= unit * (1 + unit) * (product + np.abs(exact)) + unit * product).all()


def test_dequantize_global_scale():
    """(E2M1 * E4M3) * global_scale / 2688 with one rounding after the quotient; MLX rounds the two products."""
    w, scales, _ = codes_and_scales(np.random.default_rng(SEED), "nvfp4", 16, 4, None)
    scales[scales & 0x7F == 0x7F] = 0
    for global_scale in (10.0, 3.3, 1e-3, 2688.0):
        ours = gmm.dequantize(gmm.Quantized(w, scales, mode="nvfp4", global_scale=global_scale), np.float32)
        theirs = np.array(mx.dequantize(mx.array(w), mx.array(scales), mode="nvfp4",
                                        global_scale=mx.array(np.float32(global_scale)), dtype=mx.float32))
        plain = gmm.dequantize(gmm.Quantized(w, scales, mode="nvfp4"), np.float32)
        assert (bits_of(ours) == bits_of(plain * (np.float32(global_scale) / np.float32(2688)))).all()
        exact = plain.astype(np.float64) * float(np.float32(global_scale)) / 2688
        assert (np.abs(ours - exact) <= 2.0**-23 * np.abs(exact)).all()
        assert (np.abs(theirs - exact) <= 2.0**-22 * np.abs(exact)).all()


def fp8_inputs():
    values = np.arange(0, 127, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    points = np.concatenate([values, (values[1:] + values[:-1]) / 2, [447, 464, 480, 600, 1e30, np.inf]])
    points = points.astype(np.float32)
    points = np.concatenate([points, np.nextafter(points, np.float32(0)), np.nextafter(points, np.float32(np.inf))])
    noise = np.random.default_rng(SEED).integers(0, 2**32, 100000, dtype=np.uint32).view(np.float32)
    noise = np.where(np.isnan(noise), np.float32(0), noise)
    return np.concatenate([points, -points, noise])


@pytest.mark.parametrize("dtype", TYPES)
def test_fp8_bytes(dtype):
    if dtype == "f32":
        x = fp8_inputs()
    else:
        x = np.arange(2**16, dtype=np.uint16).view(TYPES[dtype])
    assert (gmm.to_fp8(x) == np.array(mx.to_fp8(to_mlx(x)))).all()
    codes = np.arange(256, dtype=np.uint8)
    mlx_dtype = {"f32": mx.float32, "f16": mx.float16, "bf16": mx.bfloat16}[dtype]
    check_same_values(gmm.from_fp8(codes, TYPES[dtype]), from_mlx(mx.from_fp8(mx.array(codes), mlx_dtype)))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad, dtype):
    """A group with a NaN or an infinity decodes to NaN, in every format, and no other group does."""
    w = np.random.default_rng(SEED).normal(size=(1, 128)).astype(TYPES[dtype])
    w[0, 37] = bad
    for mode, group_size, bits in FORMATS:
        quantized = gmm.quantize(w, mode, group_size, bits)
        hit = np.arange(128) // group_size == 37 // group_size
        assert (np.isnan(gmm.dequantize(quantized, np.float32)[0]) == hit).all()
        if mode != "affine":
            assert quantized.scales[0, 37 // group_size] == (0x7F if mode == "nvfp4" else 255)
