# test_products_mlx.py - products beside MLX's: both within the a-priori bound of a sum in double precision.
# SPDX-License-Identifier: MIT
import mlx.core as mx
import numpy as np
import pytest

import gathermm_ctypes as gmm
from test_quantize_mlx import FORMATS, SEED, TYPES, to_mlx

F32_UNIT = 2.0**-24
UNITS = {"f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}
SMALLEST_HALF = {"f32": 2.0**-150, "f16": 2.0**-25, "bf16": 2.0**-134}


def gamma(n):
    return n * F32_UNIT / (1 - n * F32_UNIT)


def check_within(got, exact, magnitude, steps, dtype="f32"):
    """|got - exact| <= gamma(steps) * sum |x||w|, plus one rounding to dtype."""
    bound = gamma(steps) * magnitude
    bound = bound + UNITS[dtype] * (np.abs(exact) + bound) + SMALLEST_HALF[dtype]
    assert got.shape == exact.shape
    assert (np.abs(got.astype(np.float64) - exact) <= bound).all(), np.max(np.abs(got - exact) / bound)


def double_product(lhs, rhs, lhs_indices, rhs_indices):
    """The gathered product and the sum of magnitudes, in double."""
    lhs = lhs.astype(np.float64).reshape((-1,) + lhs.shape[-2:])
    rhs = rhs.astype(np.float64).reshape((-1,) + rhs.shape[-2:])
    lhs_indices, rhs_indices = np.broadcast_arrays(lhs_indices, rhs_indices)
    left, right = lhs[lhs_indices], rhs[rhs_indices]
    return left @ right, np.abs(left) @ np.abs(right)


def indices(rng, pattern, lhs_batch, rhs_batch):
    """(lhs_indices, rhs_indices) as given to the call, None for the default."""
    left, right = int(np.prod(lhs_batch)), int(np.prod(rhs_batch))
    return {
        "rhs": (None, rng.integers(0, right, lhs_batch).astype(np.uint32)),
        "lhs": (rng.integers(0, left, rhs_batch).astype(np.int64), None),
        "both": (rng.integers(0, left, (5, 1)).astype(np.int32), rng.integers(0, right, (3,)).astype(np.uint8)),
        "sorted": (rng.integers(0, left, 9).astype(np.uint32), np.sort(rng.integers(0, right, 9)).astype(np.uint32)),
        "repeated": (np.zeros(7, np.uint32), np.full(7, right - 1, np.uint32)),
    }[pattern]


def filled(given, batch):
    return np.arange(int(np.prod(batch))).reshape(batch) if given is None else given


def mlx_indices(given):
    return None if given is None else mx.array(given.astype(np.uint32))


PATTERNS = ["rhs", "lhs", "both", "sorted", "repeated"]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("m, n, k", [(1, 33, 544), (1, 512, 544), (7, 5, 3), (32, 65, 100), (3, 1, 1)])
def test_gather_mm(m, n, k, pattern):
    rng = np.random.default_rng(SEED)
    a, b = rng.normal(size=(2, 3, m, k)).astype(np.float32), rng.normal(size=(4, k, n)).astype(np.float32)
    left, right = indices(rng, pattern, (2, 3), (4,))
    if pattern == "rhs":
        right = right[:, :1]
    exact, magnitude = double_product(a, b, filled(left, (2, 3)), filled(right, (4,)))
    check_within(gmm.gather_mm(a, b, left, right), exact, magnitude, k)
    theirs = mx.gather_mm(mx.array(a), mx.array(b), mlx_indices(left), mlx_indices(right))
    check_within(np.array(theirs), exact, magnitude, k)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_gather_mm_half(dtype):
    """MLX computes these on GPUs only."""
    rng = np.random.default_rng(SEED)
    a, b = (rng.normal(size=shape).astype(np.float32).astype(TYPES[dtype]) for shape in ((6, 2, 300), (4, 300, 40)))
    left, right = indices(rng, "both", (6,), (4,))
    exact, magnitude = double_product(a, b, left, right)
    check_within(gmm.gather_mm(a, b, left, right), exact, magnitude, 300, dtype)


def packed(rng, shape, mode, group_size, bits, dtype="f32"):
    """Quantized weights, their values, and |scale * q| + |bias|, which bounds the roundings of MLX's decoding."""
    w = (rng.normal(size=shape) / 8).astype(np.float32).astype(TYPES[dtype])
    quantized = gmm.quantize(w, mode, group_size, bits)
    values = gmm.dequantize(quantized, np.float32)
    terms = np.abs(values)
    if mode == "affine":
        biases = np.repeat(quantized.biases.astype(np.float32), group_size, axis=-1)
        terms = np.abs(values - biases) + np.abs(biases)
    return quantized, values, terms


def parts_for_mlx(quantized):
    biases = None if quantized.biases is None else to_mlx(quantized.biases)
    return mx.array(quantized.w), to_mlx(quantized.scales), biases


@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("mode, group_size, bits", FORMATS)
@pytest.mark.parametrize("pattern, m", [("rhs", 1), ("both", 1), ("sorted", 32), ("lhs", 3), ("repeated", 2)])
def test_gather_qmm(pattern, m, mode, group_size, bits, transpose):
    rng = np.random.default_rng(SEED)
    n, k = (37, 384) if transpose else (256, 70)
    x = rng.normal(size=(4, m, k)).astype(np.float32)
    quantized, values, terms = packed(rng, (4, n, k) if transpose else (4, k, n), mode, group_size, bits)
    if transpose:
        values, terms = values.swapaxes(-1, -2), terms.swapaxes(-1, -2)
    left, right = indices(rng, pattern, (4,), (4,))
    at = filled(left, (4,)), filled(right, (4,))
    exact, magnitude = double_product(x, values, *at)
    check_within(gmm.gather_qmm(x, quantized, left, right, transpose), exact, magnitude, k)
    theirs = mx.gather_qmm(mx.array(x), *parts_for_mlx(quantized), mlx_indices(left), mlx_indices(right), transpose,
                           group_size, bits, mode)
    # MLX rounds the product and the sum of each weight, or its products with x and scale: at most 3 roundings more.
    check_within(np.array(theirs), exact, double_product(x, terms, *at)[1], k + 3)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize("mode, group_size, bits", FORMATS)
def test_gather_qmm_half(mode, group_size, bits, dtype):
    """f32 sums and one rounding; MLX on CPUs adds in the half type itself, and is no reference here."""
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=(6, 2, 384)).astype(np.float32).astype(TYPES[dtype])
    quantized, values, _ = packed(rng, (4, 37, 384), mode, group_size, bits, dtype)
    left, right = indices(rng, "both", (6,), (4,))
    exact, magnitude = double_product(x, values.swapaxes(-1, -2), left, right)
    ours = gmm.gather_qmm(x, quantized, left, right)
    assert ours.dtype == TYPES[dtype]
    check_within(ours, exact, magnitude, 384, dtype)


@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("mode, group_size, bits", FORMATS)
@pytest.mark.parametrize("x_batch, w_batch", [((), ()), ((2, 1), ()), ((2, 3), (3,)), ((2, 1), (1, 3))])
def test_quantized_matmul(x_batch, w_batch, mode, group_size, bits, transpose):
    rng = np.random.default_rng(SEED)
    m, n, k = (5, 19, 256) if transpose else (5, 256, 45)
    x = rng.normal(size=x_batch + (m, k)).astype(np.float32)
    quantized, values, terms = packed(rng, w_batch + ((n, k) if transpose else (k, n)), mode, group_size, bits)
    if transpose:
        values, terms = values.swapaxes(-1, -2), terms.swapaxes(-1, -2)
    exact = x.astype(np.float64) @ values.astype(np.float64)
    magnitude = np.abs(x).astype(np.float64) @ np.abs(values).astype(np.float64)
    check_within(gmm.quantized_matmul(x, quantized, transpose), exact, magnitude, k)
    theirs = mx.quantized_matmul(mx.array(x), *parts_for_mlx(quantized), transpose, group_size, bits, mode)
    check_within(np.array(theirs), exact, np.abs(x).astype(np.float64) @ terms.astype(np.float64), k + 3)


def test_quantized_vector():
    rng = np.random.default_rng(SEED)
    x = rng.normal(size=256).astype(np.float32)
    quantized, values, _ = packed(rng, (19, 256), "affine", 64, 4)
    exact = values.astype(np.float64) @ x.astype(np.float64)
    check_within(gmm.quantized_matmul(x, quantized), exact, np.abs(values).astype(np.float64) @ np.abs(x), 256)
