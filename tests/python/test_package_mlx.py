# test_package_mlx.py - every function of the package beside MLX's of the same name and arguments.
# SPDX-License-Identifier: MIT
import inspect
import re

import ml_dtypes
import mlx.core as mx
import numpy as np
import pytest

import gathermm

MODES = [("affine", g, b) for g in (32, 64, 128) for b in (2, 3, 4, 5, 6, 8)] + [
    ("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)]
F32_UNIT = 2.0**-24
PATTERNS = ["none", "rhs", "lhs", "both", "sorted"]


def gamma(n):
    return n * F32_UNIT / (1 - n * F32_UNIT)


def within(got, exact, magnitude, steps):
    """The a-priori bound of a sum of f32 products in any order."""
    got = np.array(got)
    assert got.shape == exact.shape and got.dtype == np.float32
    assert (np.abs(got - exact) <= gamma(steps) * magnitude + 2.0**-150).all()


def pattern_indices(rng, pattern, count):
    return {
        "none": (None, None),
        "rhs": (None, rng.integers(0, count, count).astype(np.uint32)),
        "lhs": (rng.integers(0, count, count).astype(np.int32), None),
        "both": (rng.integers(0, count, (5, 1)).astype(np.int64), rng.integers(0, count, 3).astype(np.uint8)),
        "sorted": (None, np.sort(rng.integers(0, count, count)).astype(np.uint16)),
    }[pattern]


def reference(x, w, left, right):
    """The gathered product of stacks of matrices, and its sum of magnitudes, in double."""
    left, right = (np.arange(len(s)) if i is None else i for i, s in ((left, x), (right, w)))
    x, w = x.astype(np.float64)[left], w.astype(np.float64)[right]
    return x @ w, np.abs(x) @ np.abs(w)


def to_mx(array):
    return None if array is None else mx.array(array)


@pytest.mark.parametrize("name", ["gather_mm", "gather_qmm", "quantized_matmul", "quantize", "dequantize", "to_fp8",
                                  "from_fp8"])
def test_signatures_are_those_of_mlx(name):
    theirs = re.match(r"\w+\((.*?)\) ->", getattr(mx, name).__doc__.strip(), re.DOTALL).group(1)
    theirs = [part.split(":")[0].split("=")[0].strip() for part in theirs.split(", ")]
    theirs = [part for part in theirs if re.fullmatch(r"\w+", part)]
    ours = list(inspect.signature(getattr(gathermm, name)).parameters)
    assert [part for part in ours if part in theirs] == theirs
    defaults = {n: p.default for n, p in inspect.signature(getattr(gathermm, name)).parameters.items()}
    for part, default in re.findall(r"(\w+): [^,=]+ = ([^,]+)", getattr(mx, name).__doc__.split(") ->")[0]):
        assert str(defaults[part]) == default.strip("'"), part


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("m, n, k", [(1, 512, 544), (7, 5, 3), (32, 33, 64)])
def test_gather_mm(pattern, m, n, k):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(6, m, k)).astype(np.float32), rng.normal(size=(6, k, n)).astype(np.float32)
    left, right = pattern_indices(rng, pattern, 6)
    flag = pattern == "sorted"
    exact, magnitude = reference(a, b, left, right)
    within(gathermm.gather_mm(a, b, left, right, sorted_indices=flag), exact, magnitude, k)
    arrays = [to_mx(array) for array in (a, b, left, right)]
    within(mx.gather_mm(*arrays, sorted_indices=flag), exact, magnitude, k)
    ours = gathermm.gather_mm(*arrays, sorted_indices=flag)
    assert isinstance(ours, mx.array)
    assert np.array_equal(np.array(ours), gathermm.gather_mm(a, b, left, right))


@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("mode, group_size, bits", MODES)
def test_quantized(mode, group_size, bits, pattern, transpose):
    rng = np.random.default_rng(2)
    n, k = (9, 256) if transpose else (128, 70)
    w = rng.normal(size=(4, n, k) if transpose else (4, k, n)).astype(np.float32)
    x = rng.normal(size=(4, 3, k)).astype(np.float32)
    form = {"group_size": group_size, "bits": bits, "mode": mode}
    parts = gathermm.quantize(w, **form)
    theirs = mx.quantize(mx.array(w), **form)
    assert len(parts) == len(theirs)
    for part, other in zip(parts, theirs):
        assert part.dtype == np.array(other).dtype and np.array_equal(part, np.array(other))
    values = gathermm.dequantize(*parts, **form, dtype=np.float32)
    columns = values.swapaxes(1, 2) if transpose else values
    left, right = pattern_indices(rng, pattern, 4)
    exact, magnitude = reference(x, columns, left, right)
    scales, biases = parts[1], parts[2] if mode == "affine" else None
    call = {**form, "transpose": transpose, "sorted_indices": pattern == "sorted"}
    within(gathermm.gather_qmm(x, parts[0], scales, biases, left, right, **call), exact, magnitude, k)
    terms = np.abs(values)
    if mode == "affine":  # MLX rounds scale * q and the sum with the bias by themselves
        spread = np.repeat(biases, group_size, axis=-1)
        terms = np.abs(values - spread) + np.abs(spread)
    _, loose = reference(np.abs(x), terms.swapaxes(1, 2) if transpose else terms, left, right)
    arrays = [to_mx(array) for array in (x, parts[0], scales, biases, left, right)]
    within(mx.gather_qmm(*arrays, **call), exact, loose, k + 3)
    if pattern == "none":
        got = gathermm.quantized_matmul(x, parts[0], scales, biases, transpose, **form)
        within(got, exact, magnitude, k)
        within(gathermm.quantized_matmul(*arrays[:4], transpose, **form), exact, magnitude, k)


@pytest.mark.parametrize("mode, group_size, bits", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_bytes_and_values_of_every_type(mode, group_size, bits, dtype):
    w = np.random.default_rng(3).normal(size=(4, 256)).astype(np.float32).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    form = {"group_size": group_size, "bits": bits, "mode": mode}
    ours, theirs = gathermm.quantize(w, **form), mx.quantize(mx.array(w), **form)
    for part, other in zip(ours, theirs):
        assert mx.array_equal(mx.array(part), other).item() and mx.array(part).dtype == other.dtype
    values, reference_values = gathermm.dequantize(*ours, **form), mx.dequantize(*theirs, **form)
    assert mx.array(values).dtype == reference_values.dtype
    x = np.ones((2, 256), w.dtype)
    assert gathermm.quantized_matmul(x, *ours, **form).dtype == w.dtype
    if mode != "affine":  # affine: MLX rounds twice
        assert mx.array_equal(mx.array(values), reference_values).item()


def test_fp8():
    x = np.random.default_rng(4).normal(size=4096).astype(np.float32) * 100
    codes = gathermm.to_fp8(x)
    assert np.array_equal(codes, np.array(mx.to_fp8(mx.array(x))))
    numbers = np.array([i for i in range(256) if i not in (0x7F, 0xFF)], np.uint8)
    assert mx.array_equal(mx.array(gathermm.from_fp8(numbers)), mx.from_fp8(mx.array(numbers))).item()
    assert np.array_equal(gathermm.from_fp8(codes.view(ml_dtypes.float8_e4m3fn), "float32"),
                          gathermm.from_fp8(codes, "float32"))


ONES = np.ones((4, 64), np.float32)
INDEX = np.zeros(2, np.uint32)
PARTS = gathermm.quantize(ONES)
MX_PARTS = gathermm.quantize(ONES, mode="mxfp4")
REFUSED = [
    ("gather_mm", (np.array(1, np.float32), ONES), {}),
    ("gather_mm", (ONES, ONES), {}),
    ("gather_mm", (ONES.astype(np.int32), ONES.T.astype(np.int32)), {"rhs_indices": INDEX}),
    ("gather_mm", (ONES, ONES.T.astype(np.complex64)), {"rhs_indices": INDEX}),
    ("gather_mm", (ONES, ONES.T), {"rhs_indices": INDEX.astype(np.float32)}),
    ("gather_mm", (ONES, ONES.T), {"rhs_indices": INDEX.astype(bool)}),
    ("gather_mm", (ONES, ONES.T), {"lhs_indices": np.zeros(3, np.int32), "rhs_indices": INDEX}),
    ("gather_qmm", (ONES, *PARTS), {"rhs_indices": INDEX, "mode": "none"}),
    ("gather_qmm", (ONES, *PARTS[:2]), {"rhs_indices": INDEX}),
    ("gather_qmm", (ONES, PARTS[0], PARTS[1].astype(np.int32), PARTS[2].astype(np.int32)), {"rhs_indices": INDEX}),
    ("gather_qmm", (ONES, PARTS[0].view(np.int32), *PARTS[1:]), {"rhs_indices": INDEX}),
    ("gather_qmm", (ONES, PARTS[0], PARTS[1], PARTS[2][:2]), {"rhs_indices": INDEX}),
    ("gather_qmm", (ONES, *PARTS), {"rhs_indices": INDEX, "group_size": 32}),
    ("gather_qmm", (ONES[:, :32], *PARTS), {"rhs_indices": INDEX}),
    ("gather_qmm", (ONES, *PARTS), {"rhs_indices": INDEX, "transpose": False}),
    ("gather_qmm", (ONES.astype(np.int32), *MX_PARTS), {"rhs_indices": INDEX, "mode": "mxfp4"}),
    ("gather_qmm", (ONES[0], *PARTS), {"rhs_indices": INDEX}),
    ("gather_qmm", (ONES, *MX_PARTS, PARTS[1]), {"rhs_indices": INDEX, "mode": "mxfp4"}),
    ("quantized_matmul", (ONES, *PARTS), {"mode": "other"}),
    ("quantized_matmul", (ONES[:, :60], *PARTS), {}),
    ("quantize", (ONES,), {"mode": "other"}),
    ("quantize", (ONES.astype(np.int32),), {}),
    ("quantize", (ONES[0],), {}),
    ("quantize", (ONES[:, :60],), {}),
    ("quantize", (ONES,), {"bits": 7}),
    ("quantize", (ONES,), {"group_size": 16}),
    ("quantize", (ONES,), {"mode": "mxfp4", "bits": 3}),
    ("quantize", (ONES,), {"global_scale": np.ones(1, np.float32)}),
    ("dequantize", PARTS[:2], {}),
    ("dequantize", PARTS, {"mode": "other"}),
    ("to_fp8", (INDEX,), {}),
    ("from_fp8", (ONES,), {}),
]


@pytest.mark.parametrize("name, args, kwargs", REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_what_mlx_refuses_is_a_value_error(name, args, kwargs):
    def convert(value):
        return mx.array(value) if isinstance(value, np.ndarray) else value
    with pytest.raises(ValueError):
        getattr(mx, name)(*map(convert, args), **{key: convert(value) for key, value in kwargs.items()})
    with pytest.raises(ValueError) as error:
        getattr(gathermm, name)(*args, **kwargs)
    assert len(str(error.value)) > 10


def test_other_errors():
    with pytest.raises(IndexError):
        mx.quantized_matmul(mx.array(1.0), *map(mx.array, PARTS))
    with pytest.raises(IndexError):
        gathermm.quantized_matmul(np.array(1, np.float32), *PARTS)
    with pytest.raises(IndexError, match=r"rhs_indices\[1\] is 4"):
        gathermm.gather_mm(np.ones((1, 1, 2), np.float32), np.ones((4, 2, 2), np.float32), None, np.array([0, 4]))
    with pytest.raises(ValueError, match="F64"):
        gathermm.gather_mm(np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="group_size is 0"):
        gathermm.quantize(ONES, 0)
