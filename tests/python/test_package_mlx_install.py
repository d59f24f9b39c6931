# test_package_mlx_install.py - gathermm.mlx.install(): MLX's products and their gradients, here and as MLX has them.
# SPDX-License-Identifier: MIT
import doctest
import re
import threading

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest

import gathermm
import gathermm.mlx

MODES = [("affine", g, b) for g in (32, 64, 128) for b in (2, 3, 4, 5, 6, 8)] + [
    ("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)]
NAMES = ["gather_mm", "gather_qmm", "quantized_matmul"]
OWN = {name: getattr(mx, name) for name in NAMES}


@pytest.fixture(autouse=True)
def installed():
    gathermm.mlx.install()
    yield
    gathermm.mlx.uninstall()


@pytest.fixture
def calls(monkeypatch):
    """The names of gathermm's functions that were called."""
    names = []
    for name in NAMES:
        def counted(*args, name=name, function=getattr(gathermm.mlx.ops, name), **kwargs):
            names.append(name)
            return function(*args, **kwargs)
        monkeypatch.setattr(gathermm.mlx.ops, name, counted)
    return names


def small(rng, *shape):
    """Integers so small that every sum of their products is exact, whatever its order: results are equal, not close."""
    return mx.array(rng.integers(-3, 4, shape).astype(np.float32))


def quantized(rng, mode, group_size, bits, *shape):
    """Random codes whose values are small multiples of a half; as quantize gives them."""
    codes = rng.integers(0, 2**bits, shape)
    if bits == 8 and mode == "mxfp8":
        codes = rng.choice(np.array([0x00, 0x30, 0x38, 0x3C, 0x40, 0xB0, 0xB8, 0xC0]), shape)  # 0 and +-0.5 to 2
    stream = np.unpackbits(codes.astype(np.uint8)[..., None], axis=-1, count=bits, bitorder="little")
    packed = np.packbits(stream.reshape(*shape[:-1], -1), axis=-1, bitorder="little").view(np.uint32)
    groups = (*shape[:-1], shape[-1] // group_size)
    if mode == "affine":
        return mx.array(packed), small(rng, *groups), small(rng, *groups)
    one = 0x38 if mode == "nvfp4" else 127
    return mx.array(packed), mx.array(np.full(groups, one, np.uint8))


def same(ours, theirs):
    assert len(ours) == len(theirs)
    for mine, own in zip(ours, theirs):
        assert mine.shape == own.shape and mine.dtype == own.dtype
        assert mx.array_equal(mine, own).item()


def outcome(function):
    """What a call gives: arrays, or the class of its error."""
    try:
        result = function()
        mx.eval(result)
        return result
    except (ValueError, RuntimeError) as error:
        return ValueError if isinstance(error, ValueError) else RuntimeError


# ---- products -------------------------------------------------------------------------------------------------------


def test_products_run_here(calls):
    rng = np.random.default_rng(0)
    x, b, index = small(rng, 3, 2, 64), small(rng, 4, 64, 8), mx.array([3, 0, 3])
    w = quantized(rng, "affine", 64, 4, 4, 8, 64)
    same([mx.gather_mm(x, b, rhs_indices=index)], [OWN["gather_mm"](x, b, rhs_indices=index)])
    same([mx.gather_qmm(x, *w, rhs_indices=index)], [OWN["gather_qmm"](x, *w, rhs_indices=index)])
    flat = [part[1] for part in w]
    same([mx.quantized_matmul(x, *flat)], [OWN["quantized_matmul"](x, *flat)])
    assert calls == NAMES


def test_half_types_that_mlx_does_not_have():
    rng = np.random.default_rng(0)
    x, b, index = small(rng, 3, 2, 64), small(rng, 4, 64, 8), mx.array([3, 0, 3])
    for dtype in (mx.float16, mx.bfloat16):
        got = mx.gather_mm(x.astype(dtype), b.astype(dtype), rhs_indices=index)
        same([got], [OWN["gather_mm"](x, b, rhs_indices=index).astype(dtype)])


def test_modules_of_mlx_nn(calls):
    layer = nn.QuantizedLinear.from_linear(nn.Linear(64, 32))
    x = mx.random.normal((5, 64))
    gathermm.mlx.uninstall()
    want = layer(x)
    mx.eval(want)
    gathermm.mlx.install()
    assert mx.allclose(layer(x), want, rtol=0, atol=2 * 64 * 2**-24 * 64).item()
    assert calls == ["quantized_matmul"]


@pytest.mark.parametrize("transpose", [True, False])
def test_global_scales(transpose):
    rng = np.random.default_rng(1)
    w = mx.array(rng.normal(size=(4, 64, 64)).astype(np.float32))
    scale = mx.abs(w).max(axis=(-2, -1))
    parts = [mx.quantize(w[e], mode="nvfp4", global_scale=scale[e]) for e in range(4)]
    codes, scales = (mx.stack(part) for part in zip(*parts))
    values = np.stack([np.array(mx.dequantize(*parts[e], mode="nvfp4", global_scale=scale[e], dtype=mx.float32))
                       for e in range(4)]).astype(np.float64)
    values = values.swapaxes(1, 2) if transpose else values
    x, index = mx.array(rng.normal(size=(3, 1, 2, 64)).astype(np.float32)), mx.array([[3, 0], [1, 1], [2, 3]])
    got = mx.gather_qmm(x, codes, scales, rhs_indices=index, transpose=transpose, mode="nvfp4", global_scale=scale)
    exact = np.array(x).astype(np.float64) @ values[np.array(index)]
    magnitude = np.abs(np.array(x)).astype(np.float64) @ np.abs(values[np.array(index)])
    unit = 2.0**-24
    steps = 64 + 3  # the sum, the factor, its product, and the dequantized values' own rounding
    assert (np.abs(np.array(got) - exact) <= steps * unit / (1 - steps * unit) * magnitude).all()
    half = mx.gather_qmm(x.astype(mx.bfloat16), codes, scales, rhs_indices=index, transpose=transpose, mode="nvfp4",
                         global_scale=scale)
    assert half.dtype == mx.bfloat16 and half.shape == got.shape
    whole = mx.gather_qmm(x[:, 0], codes, scales, None, None, mx.array([1, 2, 3]), transpose, mode="nvfp4",
                          global_scale=mx.array(2688.0))
    same([whole], [mx.gather_qmm(x[:, 0], codes, scales, None, None, mx.array([1, 2, 3]), transpose, mode="nvfp4")])
    with pytest.raises(ValueError, match="there are 4 matrices"):
        mx.gather_qmm(x, codes, scales, rhs_indices=index, mode="nvfp4", global_scale=scale[:3])


# ---- gradients ------------------------------------------------------------------------------------------------------

# Shapes of the batches of a and of b, and of the index arrays.
PATTERNS = {
    "none": ((4,), (4,), None, None),
    "none, broadcast": ((3, 1), (4,), None, None),
    "rhs": ((6,), (4,), None, (6,)),
    "lhs": ((3,), (5,), (5,), None),
    "both": ((3,), (4,), (5, 1), (3,)),
    "tokens": ((5, 1), (4,), None, (5, 2)),
    "batches": ((2, 3), (2, 2), (4, 2), (2,)),
    "unused": ((2,), (7,), None, (2,)),
}


def indices_of(rng, pattern):
    left_batch, right_batch, left, right = PATTERNS[pattern]
    return [None if shape is None else mx.array(rng.integers(0, np.prod(batch), shape).astype(np.uint32))
            for shape, batch in ((left, left_batch), (right, right_batch))]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_gradients_of_gather_mm(pattern):
    rng = np.random.default_rng(2)
    a, b = small(rng, *PATTERNS[pattern][0], 3, 8), small(rng, *PATTERNS[pattern][1], 8, 5)
    left, right = indices_of(rng, pattern)
    cotangent = small(rng, *OWN["gather_mm"](a, b, left, right).shape)

    def gradients(function):
        return mx.vjp(lambda a, b: function(a, b, left, right), [a, b], [cotangent])
    ours, theirs = gradients(mx.gather_mm), gradients(OWN["gather_mm"])
    same(ours[0] + ours[1], theirs[0] + theirs[1])

    def squares(function):  # of a gradient, so that gradients of gradients are asked for
        inner = mx.grad(lambda a, b: (function(a, b, left, right) ** 2).sum(), argnums=1)
        return mx.grad(lambda a, b: (inner(a, b) * inner(a, b)).sum() / 2**20, argnums=(0, 1))(a, b)
    for mine, own in zip(squares(mx.gather_mm), squares(OWN["gather_mm"])):
        assert mx.allclose(mine, own, rtol=2**-16).item()


def test_gradients_of_vectors():
    rng = np.random.default_rng(3)
    for a, b, left, right in [(small(rng, 8), small(rng, 4, 8, 5), None, None),
                              (small(rng, 4, 3, 8), small(rng, 8), None, None),
                              (small(rng, 8), small(rng, 8), None, None),
                              (small(rng, 4, 3, 8), small(rng, 8), mx.array([3, 3]), None)]:
        cotangent = small(rng, *OWN["gather_mm"](a, b, left, right).shape)
        ours, theirs = (mx.vjp(lambda a, b: f(a, b, left, right), [a, b], [cotangent])[1]
                        for f in (mx.gather_mm, OWN["gather_mm"]))
        same(ours, theirs)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("mode, group_size, bits", MODES)
def test_gradients_of_gather_qmm(mode, group_size, bits, pattern):
    rng = np.random.default_rng(4)
    n = 3
    x = small(rng, *PATTERNS[pattern][0], 2, 128)
    w = quantized(rng, mode, group_size, bits, *PATTERNS[pattern][1], n, 128)
    left, right = indices_of(rng, pattern)
    form = {"group_size": group_size, "bits": bits, "mode": mode}
    cotangent = small(rng, *OWN["gather_qmm"](x, *w, lhs_indices=left, rhs_indices=right, **form).shape)

    def gradients(function):
        if mode != "affine":
            return mx.vjp(lambda x: function(x, *w, None, left, right, **form), [x], [cotangent])
        return mx.vjp(lambda x, s, b: function(x, w[0], s, b, left, right, **form), [x, *w[1:]], [cotangent])
    ours, theirs = gradients(mx.gather_qmm), gradients(OWN["gather_qmm"])
    same(ours[0] + ours[1], theirs[0] + theirs[1])


@pytest.mark.parametrize("shape, batch", [((128,), ()), ((5, 128), ()), ((2, 3, 128), ()), ((2, 3, 128), (2,)),
                                          ((2, 1, 3, 128), (4,))])
@pytest.mark.parametrize("mode, group_size, bits", [("affine", 32, 3), ("affine", 64, 4), ("nvfp4", 16, 4)])
def test_gradients_of_quantized_matmul(mode, group_size, bits, shape, batch):
    rng = np.random.default_rng(5)
    x, w = small(rng, *shape), quantized(rng, mode, group_size, bits, *batch, 6, 128)
    form = {"group_size": group_size, "bits": bits, "mode": mode}
    cotangent = small(rng, *OWN["quantized_matmul"](x, *w, **form).shape)

    def gradients(function):
        if mode != "affine" or len(shape) == 1:  # MLX has no gradient of scales for a vector
            return mx.vjp(lambda x: function(x, *w, **form), [x], [cotangent])[1]
        return mx.vjp(lambda x, s, b: function(x, w[0], s, b, **form), [x, *w[1:]], [cotangent])[1]
    same(gradients(mx.quantized_matmul), gradients(OWN["quantized_matmul"]))


@pytest.mark.parametrize("name", ["gather_qmm", "quantized_matmul"])
def test_gradients_without_transpose(name):
    """MLX's own of the scales have the wrong orientation here, so the truth is the product with dequantized weights."""
    rng = np.random.default_rng(6)
    x, w = small(rng, 4, 3, 6), quantized(rng, "affine", 32, 4, 4, 6, 64)
    index = {"rhs_indices": mx.array([2, 0, 0, 1])} if name == "gather_qmm" else {}
    form = {"group_size": 32, "bits": 4}

    def plain(x, scales, biases):
        values = mx.dequantize(w[0], mx.ones_like(scales), mx.zeros_like(biases), **form)
        values = values * mx.repeat(scales, 32, axis=-1) + mx.repeat(biases, 32, axis=-1)
        return x @ (values[index["rhs_indices"]] if index else values)

    def ours(x, scales, biases):
        return getattr(mx, name)(x, w[0], scales, biases, transpose=False, **form, **index)
    cotangent = small(rng, 4, 3, 64)
    same(mx.vjp(ours, [x, *w[1:]], [cotangent])[1], mx.vjp(plain, [x, *w[1:]], [cotangent])[1])


def test_gradients_in_half_types():
    rng = np.random.default_rng(7)
    x, b = small(rng, 6, 1, 8).astype(mx.bfloat16), small(rng, 4, 8, 5).astype(mx.bfloat16)
    index = mx.array([0, 3, 3, 1, 0, 0])
    ours = mx.grad(lambda a, b: mx.gather_mm(a, b, rhs_indices=index).sum(), argnums=(0, 1))(x, b)
    theirs = mx.grad(lambda a, b: (a @ b[index]).sum(), argnums=(0, 1))(x, b)
    same(ours, theirs)


def test_what_is_not_differentiated_is_not_computed(calls):
    rng = np.random.default_rng(8)
    x, b, index = small(rng, 3, 2, 64), small(rng, 4, 64, 8), mx.array([3, 0, 3])
    mx.eval(mx.grad(lambda x: mx.gather_mm(mx.stop_gradient(x), b, rhs_indices=index).sum() + x.sum())(x))
    assert calls == ["gather_mm"]
    mx.eval(mx.grad(lambda x: mx.gather_mm(x, b, rhs_indices=index).sum())(x))
    assert calls == ["gather_mm"] * 3


def test_refused_gradients():
    rng = np.random.default_rng(9)
    x, b, index = small(rng, 3, 2, 64), small(rng, 4, 64, 8), mx.array([3, 0, 3])
    affine, other = quantized(rng, "affine", 64, 4, 4, 8, 64), quantized(rng, "nvfp4", 16, 4, 4, 8, 64)
    for name, function, arrays, argnums in [
            ("gather_mm", lambda f, i: f(x, b, rhs_indices=i), [index], 0),
            ("gather_mm", lambda f, i: f(x, b, lhs_indices=i), [mx.array([0, 1, 2, 0])], 0),
            ("gather_qmm", lambda f, i: f(x, *affine, rhs_indices=i), [index], 0),
            ("gather_qmm", lambda f, w: f(x, w, *affine[1:], rhs_indices=index), [affine[0]], 0),
            ("gather_qmm", lambda f, s: f(x, other[0], s, rhs_indices=index, mode="nvfp4"), [other[1]], 0),
            ("gather_qmm", lambda f, w: f(x, w, other[1], rhs_indices=index, mode="nvfp4"), [other[0]], 0),
            ("quantized_matmul", lambda f, w: f(x, w, affine[1][0], affine[2][0]), [affine[0][0]], 0),
            ("quantized_matmul", lambda f, s: f(x, other[0][0], s, mode="nvfp4"), [other[1][0]], 0)]:
        errors = []
        for product in (getattr(mx, name), OWN[name]):
            with pytest.raises((ValueError, RuntimeError)) as error:
                mx.grad(lambda *a: function(product, *a).sum(), argnums=argnums)(*arrays)
            errors.append(error)
        assert errors[0].errisinstance(errors[1].type)
        assert ("stop_gradient" in str(errors[1].value)) <= ("stop_gradient" in str(errors[0].value))


# ---- other transformations ------------------------------------------------------------------------------------------


def test_jvp_is_that_of_mlx():
    rng = np.random.default_rng(10)
    x, b, index = small(rng, 3, 2, 64), small(rng, 4, 64, 8), mx.array([3, 0, 3])
    w = quantized(rng, "affine", 64, 4, 4, 8, 64)
    flat = [part[1] for part in w]
    square = small(rng, 4, 2, 64)
    cases = [("gather_mm", lambda f, x: f(x, b, rhs_indices=index), x), ("gather_mm", lambda f, x: f(x, b), square),
             ("gather_mm", lambda f, b: f(x[:1], b), b), ("gather_qmm", lambda f, x: f(x, *w, rhs_indices=index), x),
             ("quantized_matmul", lambda f, x: f(x, *flat), x),
             ("quantized_matmul", lambda f, x: f(x * 2, *flat) + x[..., :8], x),
             ("quantized_matmul", lambda f, s: f(x, flat[0], s, flat[2]), flat[1])]
    for name, function, array in cases:
        tangent = small(rng, *array.shape)
        ours, theirs = (outcome(lambda: mx.jvp(lambda v: function(f, v), [array], [tangent])[1])
                        for f in (getattr(mx, name), OWN[name]))
        if isinstance(theirs, list):
            same(ours, theirs)
        else:
            assert ours is theirs


def test_vmap_is_that_of_mlx():
    rng = np.random.default_rng(11)
    x, b, index = small(rng, 5, 4, 2, 64), small(rng, 4, 64, 8), mx.array([3, 0, 3, 1])
    w = quantized(rng, "affine", 64, 4, 4, 8, 64)
    for name, function in [("gather_mm", lambda f, x: f(x, b)), ("gather_mm", lambda f, x: f(x, b, rhs_indices=index)),
                           ("gather_qmm", lambda f, x: f(x, *w, rhs_indices=index)),
                           ("quantized_matmul", lambda f, x: f(x, *w)),
                           ("gather_mm", lambda f, y: y * f(x[0], b).sum())]:  # a product of what is not mapped
        ours, theirs = (outcome(lambda: [mx.vmap(lambda v: function(f, v))(x)]) for f in (getattr(mx, name), OWN[name]))
        if isinstance(theirs, list):
            same(ours, theirs)
        else:
            assert ours is theirs
    rows = small(rng, 7, 4, 2, 8)  # and of cotangents, where derivatives meet what has no value yet
    got = mx.vmap(lambda c: mx.vjp(lambda x: mx.gather_mm(x, b), [x[0]], [c])[1][0])(rows)
    same([got], [mx.vmap(lambda c: mx.vjp(lambda x: OWN["gather_mm"](x, b), [x[0]], [c])[1][0])(rows)])


def test_compile_checkpoint_and_export(calls, tmp_path):
    rng = np.random.default_rng(12)
    x, b, index = small(rng, 3, 2, 64), small(rng, 4, 64, 8), mx.array([3, 0, 3])

    def function(x):
        return mx.gather_mm(x * 2, b, rhs_indices=index)

    def loss(x):
        return (function(x) ** 2).sum()
    want, gradient = function(x), mx.grad(loss)(x)
    calls.clear()
    same([mx.compile(function)(x)], [want])
    same([mx.compile(function, shapeless=True)(x)], [want])
    same([mx.compile(mx.grad(loss))(x)], [gradient])
    mx.export_function(str(tmp_path / "function.mlxfn"), function, x)
    same(mx.import_function(str(tmp_path / "function.mlxfn"))(x), [want])
    assert not calls  # MLX's own, wherever there are no values
    for transform in (mx.compile, mx.checkpoint):  # within mx.grad MLX does not compile
        same([mx.grad(transform(loss))(x)], [gradient])
        same([mx.grad(transform(loss))(x + 1)], [mx.grad(loss)(x + 1)])
    assert calls
    constant = mx.compile(lambda y: y + mx.gather_mm(x, b, rhs_indices=index))  # here there are
    same([constant(mx.zeros((3, 2, 8)))], [OWN["gather_mm"](x, b, rhs_indices=index)])


# ---- which calls ----------------------------------------------------------------------------------------------------


def test_streams_and_devices(calls, monkeypatch):
    rng = np.random.default_rng(13)
    x, b = small(rng, 4, 2, 64), small(rng, 4, 64, 8)
    want = OWN["gather_mm"](x, b)
    for stream in (None, mx.cpu, mx.Device(mx.cpu, 0), mx.new_stream(mx.cpu), mx.new_thread_local_stream(mx.cpu)):
        same([mx.gather_mm(x + 0, b, stream=stream)], [want])
        with mx.stream(stream or mx.cpu):
            same([mx.gather_mm(x + 0, b)], [want])
    assert len(calls) == 10

    asked = []
    monkeypatch.setitem(gathermm.mlx._originals, "gather_mm", lambda *_, stream, **__: asked.append(stream))
    for stream in (mx.gpu, mx.Device(mx.gpu, 0)):
        mx.gather_mm(x, b, stream=stream)
    monkeypatch.setattr(mx, "default_device", lambda: mx.Device(mx.gpu, 0))
    mx.gather_mm(x, b)
    assert asked == [mx.gpu, mx.Device(mx.gpu, 0), None] and len(calls) == 10


def test_what_gathermm_does_not_have_goes_to_mlx(calls):
    rng = np.random.default_rng(14)
    x, b = small(rng, 4, 2, 64), small(rng, 4, 64, 8)
    for dtype in (mx.complex64, mx.float64, mx.int32):
        same([mx.gather_mm(x.astype(mx.int32), b)], [OWN["gather_mm"](x.astype(mx.int32), b)])
        assert outcome(lambda: mx.gather_mm(x.astype(dtype), b.astype(dtype))) is outcome(
            lambda: OWN["gather_mm"](x.astype(dtype), b.astype(dtype))) or dtype != mx.int32
    w = quantized(rng, "affine", 64, 4, 8, 64)
    same([mx.quantized_matmul(x.astype(mx.int32), *w)], [OWN["quantized_matmul"](x.astype(mx.int32), *w)])
    for bad in (np.ones((4, 64), np.float32), [[1.0]], None):
        with pytest.raises(TypeError):
            mx.gather_mm(bad, b)
    assert not calls
    with pytest.raises(IndexError, match=r"rhs_indices\[0\] is 4"):  # MLX reads elsewhere then
        mx.gather_mm(x[:1], b, rhs_indices=mx.array([4]))
    with pytest.raises(ValueError):
        mx.gather_mm(x, b[:, :32])


def test_errors_of_operands_come_when_mlx_evaluates():
    rng = np.random.default_rng(15)
    x, b = small(rng, 4, 2, 64), small(rng, 4, 64, 8)
    broken = OWN["gather_mm"](x.astype(mx.bfloat16), b.astype(mx.bfloat16), rhs_indices=mx.array([0, 1, 2, 3]))
    result = mx.gather_mm(broken, b.swapaxes(1, 2))
    with pytest.raises(RuntimeError, match="float32"):
        mx.eval(result)


def test_install_and_uninstall():
    ours = {name: getattr(mx, name) for name in NAMES}
    gathermm.mlx.install()
    assert all(getattr(mx, name) is ours[name] and ours[name] is not OWN[name] for name in NAMES)
    for name in NAMES:
        assert ours[name].__name__ == name and ours[name].__doc__ == OWN[name].__doc__
    with pytest.raises(TypeError):
        gathermm.mlx.install(context=3)
    gathermm.mlx.uninstall()
    gathermm.mlx.uninstall()
    assert all(getattr(mx, name) is OWN[name] for name in NAMES)
    x = mx.ones((2, 1, 8))
    same([ours["gather_mm"](x, x.swapaxes(1, 2))], [x.sum(axis=-1, keepdims=True)])  # a name imported in between

    gathermm.mlx.install()

    def wrapper(*args, **kwargs):
        return ours["gather_mm"](*args, **kwargs)
    mx.gather_mm = wrapper
    gathermm.mlx.uninstall()
    assert mx.gather_mm is wrapper and mx.gather_qmm is OWN["gather_qmm"]  # another's change is left to it
    mx.gather_mm = OWN["gather_mm"]


def test_context(monkeypatch):
    x = mx.random.normal((5, 256))
    w = mx.quantize(mx.random.normal((32, 256)))
    gathermm.mlx.install(gathermm.Context(threads=1, arithmetic="int8"))
    rounded = mx.quantized_matmul(x, *w)
    same([rounded], [gathermm.quantized_matmul(x, *w, context=gathermm.Context(threads=1, arithmetic="int8"))])
    gathermm.mlx.install()
    assert not mx.array_equal(mx.quantized_matmul(x, *w), rounded).item()


@pytest.mark.parametrize("name", NAMES)
def test_signatures(name):
    import inspect
    theirs = re.match(r"\w+\((.*?)\) ->", OWN[name].__doc__.strip(), re.DOTALL).group(1)
    theirs = [part.split(":")[0].split("=")[0].strip() for part in theirs.split(", ")]
    theirs = [part for part in theirs if re.fullmatch(r"\w+|\*|/", part)]
    ours = str(inspect.signature(getattr(mx, name)))
    ours = ours.strip("()").split(" -> ")[0].strip(")").split(", ")
    ours = [part.split(":")[0].split("=")[0].strip() for part in ours]
    assert [part for part in ours if part in theirs] == theirs
    assert set(ours) - set(theirs) <= {"global_scale"}  # quantized_matmul may have it later


def test_threads():
    rng = np.random.default_rng(16)
    x, b, index = small(rng, 8, 2, 64), small(rng, 4, 64, 8), mx.array(rng.integers(0, 4, 8))
    want = np.array(OWN["gather_mm"](x, b, rhs_indices=index))
    wrong = []

    def work():
        with mx.stream(mx.new_stream(mx.cpu)):
            for _ in range(50):
                if not np.array_equal(np.array(mx.gather_mm(x + 0, b, rhs_indices=index)), want):
                    wrong.append(1)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def test_doctests():
    gathermm.mlx.uninstall()
    result = doctest.testmod(gathermm.mlx)
    assert result.attempted == 10 and result.failed == 0
