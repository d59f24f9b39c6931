# test_package_jax.py - arrays of JAX in and out, by DLPack.
# SPDX-License-Identifier: MIT
import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="JAX is not installed here; GATHERMM_TEST_JAX names a Python with it")

import jax.numpy as jnp  # noqa: E402

import gathermm  # noqa: E402

RNG = np.random.default_rng(0)
A, B = (RNG.integers(-3, 4, shape).astype(np.float32) for shape in ((3, 2, 64), (5, 64, 4)))  # every sum is exact
INDEX = np.array([4, 0, 4])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_products(dtype):
    a, b, index = jnp.asarray(A).astype(dtype), jnp.asarray(B).astype(dtype), jnp.asarray(INDEX)
    y = gathermm.gather_mm(a, b, None, index)
    assert isinstance(y, jax.Array) and y.dtype == dtype
    assert jnp.array_equal(y, jnp.asarray(A @ B[INDEX]).astype(dtype))
    assert isinstance(gathermm.gather_mm(A, b, None, index), np.ndarray)
    transposed = gathermm.gather_mm(a, b.swapaxes(1, 2).copy().swapaxes(1, 2) * 2, None, index)
    assert jnp.array_equal(transposed, y * 2)


@pytest.mark.parametrize("form", [("affine", 32, 4), ("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)], ids=str)
def test_quantized(form):
    form = dict(zip(("mode", "group_size", "bits"), form))
    w = RNG.normal(size=(5, 8, 64)).astype(np.float32)
    parts, plain = gathermm.quantize(jnp.asarray(w), **form), gathermm.quantize(w, **form)
    assert [p.dtype for p in parts] == [p.dtype for p in plain]
    assert all(isinstance(p, jax.Array) and np.array_equal(p, q) for p, q in zip(parts, plain))
    y = gathermm.gather_qmm(jnp.asarray(A), *parts, rhs_indices=jnp.asarray(INDEX), **form)
    assert isinstance(y, jax.Array)
    assert np.array_equal(y, gathermm.gather_qmm(A, *plain, rhs_indices=INDEX, **form))
    values = gathermm.dequantize(*parts, **form)
    assert values.dtype == ("float32" if form["mode"] == "affine" else "bfloat16")


def test_moe():
    down = RNG.normal(size=(4, 64, 32)).astype(np.float32)
    up, ids, weights = down.swapaxes(1, 2).copy(), np.array([[0, 3]] * 6), np.ones((6, 2), np.float32)
    x = A.reshape(6, 64)
    y = gathermm.moe(jnp.asarray(x), gathermm.Experts(up=jnp.asarray(up), down=jnp.asarray(down)), jnp.asarray(ids),
                     jnp.asarray(weights))
    assert isinstance(y, jax.Array)
    assert np.array_equal(y, gathermm.moe(x, gathermm.Experts(up=up, down=down), ids, weights))
    ids, weights = gathermm.route(jnp.asarray(x), gathermm.Routing(2))
    assert isinstance(ids, jax.Array) and ids.dtype == jnp.int32 and weights.dtype == jnp.float32


def test_no_output():
    with pytest.raises(TypeError, match="never change"):
        gathermm.gather_mm(A[0], B[0], out=jnp.zeros((2, 4)))
