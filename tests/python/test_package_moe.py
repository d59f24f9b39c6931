# test_package_moe.py - layers of experts and routing: within their bounds of double precision; kinds, errors, threads, leaks.
# SPDX-License-Identifier: MIT
import array
import doctest
import gc
import resource
import sys
import threading

import ml_dtypes
import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import gathermm
import gathermm.layer
import moe_reference

DENSE = ["float32", "float16", "bfloat16"]
PACKED = [("affine", g, b) for g in (32, 64, 128) for b in (2, 3, 4, 5, 6, 8)] + [
    ("mxfp4", 32, 4), ("mxfp8", 32, 8), ("nvfp4", 16, 4)]
ACTIVATIONS = ["silu", "gelu", "gelu_tanh", "swiglu_clamped", "relu_squared"]


def numpy_type(name):
    return np.dtype(getattr(ml_dtypes, name, name))


def projection(rng, form, e, n, k, biased=False, tuples=False):
    """Random weights in a format, as the package takes them, and in double."""
    value = (rng.normal(size=(e, n, k)) / np.sqrt(k)).astype(np.float32)
    bias = rng.normal(size=(e, n)).astype(np.float32) if biased else None
    if isinstance(form, str):
        weights = value.astype(numpy_type(form))
        return gathermm.Projection(weights, bias) if biased else weights, moe_reference.Matrices(weights, bias)
    mode, group_size, bits = form
    options = {"mode": mode, "group_size": group_size, "bits": bits}
    parts = gathermm.quantize(value, **options)
    # Decoded as an affine weight is, scale * code + bias, it carries a rounding that the double does not.
    exact = moe_reference.Matrices(exact_values(parts, **options), bias, 1 if mode == "affine" else 0)
    return parts if tuples else gathermm.Projection(parts, bias, **options), exact


def exact_values(parts, mode, group_size, bits):
    if mode != "affine":  # powers of two and few bits: f32 has them exactly
        return gathermm.dequantize(*parts, mode=mode, group_size=group_size, bits=bits, dtype="float32")
    w, scales, biases = parts
    unpacked = np.unpackbits(w.view(np.uint8), axis=-1, bitorder="little").reshape(*w.shape[:-1], -1, bits)
    codes = (unpacked.astype(np.int64) << np.arange(bits)).sum(-1)
    scales, biases = (np.repeat(part.astype(np.float64), group_size, axis=-1) for part in (scales, biases))
    return scales * codes + biases


def experts(rng, e, hidden, inner, kind, gate_form, down_form, biased=False, layout="concatenated"):
    ours, exact = {}, {}
    for name in {"gated": ("gate", "up"), "stacked": ("gate_up",), "ungated": ("up",)}[kind] + ("down",):
        n, k = {"gate_up": (2 * inner, hidden), "down": (hidden, inner)}.get(name, (inner, hidden))
        ours[name], exact[name] = projection(rng, down_form if name == "down" else gate_form, e, n, k, biased)
    return gathermm.Experts(**ours, gate_up_layout=layout), exact


def tokens(rng, count, hidden, e, k, dtype="float32"):
    ids = rng.integers(-1, e, (count, k)).astype(np.int32)
    return (rng.normal(size=(count, hidden)).astype(numpy_type(dtype)), ids,
            rng.uniform(0.1, 1, (count, k)).astype(np.float32))


def check(y, x, dtype, exact, ids, weights, **options):
    assert y.dtype == numpy_type(dtype) and y.shape == x.shape
    out, bound = moe_reference.layer(exact, x.astype(np.float64), ids, weights.astype(np.float64), **options)
    moe_reference.within(y.astype(np.float64), out, bound, lambda ends: moe_round(ends, dtype))


def moe_round(ends, dtype):
    """Doubles to a type through f32, which is what the last sum is of: both roundings keep the order."""
    once = ends.astype(np.float32)
    return once if dtype == "float32" else once.astype(numpy_type(dtype))


@pytest.mark.parametrize("form", DENSE + PACKED, ids=str)
@pytest.mark.parametrize("kind", ["gated", "stacked", "ungated"])
def test_formats(form, kind):
    rng = np.random.default_rng(1)
    layer, exact = experts(rng, 5, 128, 256, kind, form, form)
    x, ids, weights = tokens(rng, 6, 128, 5, 3)
    check(gathermm.moe(x, layer, ids, weights), x, "float32", exact, ids, weights)


@pytest.mark.parametrize("dtype", DENSE)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("layout", ["concatenated", "interleaved"])
def test_activations_types_biases_and_shared(activation, dtype, layout):
    rng = np.random.default_rng(2)
    layer, exact = experts(rng, 4, 64, 96, "stacked", "bfloat16", ("affine", 32, 4), True, layout)
    shared, exact_shared = experts(rng, 1, 64, 32, "gated", ("mxfp8", 32, 8), "float16")
    gate, exact_gate = projection(rng, "float32", 1, 1, 64)
    x, ids, weights = tokens(rng, 5, 64, 4, 2, dtype)
    options = {"alpha": 1.5, "limit": 3.0} if activation == "swiglu_clamped" else {}
    y = gathermm.moe(x, layer, ids, weights, shared=shared, shared_gate=gate[0], activation=activation, **options)
    check(y, x, dtype, exact, ids, weights, activation=activation, layout=layout, shared=exact_shared,
          shared_gate=exact_gate, **options)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_layer(data):
    draw = data.draw
    forms = st.sampled_from(DENSE + PACKED)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    e, k, count = draw(st.integers(1, 6)), draw(st.integers(1, 4)), draw(st.integers(0, 5))
    hidden, inner = (draw(st.sampled_from([128, 256])) for _ in range(2))
    kind, dtype = draw(st.sampled_from(["gated", "stacked", "ungated"])), draw(st.sampled_from(DENSE))
    activation = draw(st.sampled_from([a for a in ACTIVATIONS if kind != "ungated" or a != "swiglu_clamped"]))
    layout = draw(st.sampled_from(["concatenated", "interleaved"]))
    layer, exact = experts(rng, e, hidden, inner, kind, draw(forms), draw(forms), draw(st.booleans()), layout)
    shared = exact_shared = None
    if draw(st.booleans()):
        shared, exact_shared = experts(rng, 1, hidden, 128, "gated", draw(forms), draw(forms))
    x, ids, weights = tokens(rng, count, hidden, e, k, dtype)
    x = np.repeat(x, 2, 1)[:, ::2]  # strides
    context = draw(st.sampled_from([None, gathermm.Context(threads=1), gathermm.Context(cpu_mask="all")]))
    y = gathermm.moe(x, layer, ids, weights, shared=shared, activation=activation, context=context)
    check(y, x, dtype, exact, ids, weights, activation=activation, layout=layout, shared=exact_shared)


def test_the_calls_format_and_one_matrix_each():
    rng = np.random.default_rng(3)
    up, exact_up = projection(rng, ("mxfp4", 32, 4), 3, 64, 64, tuples=True)
    forms = ["float32", ("affine", 32, 5), ("nvfp4", 16, 4)]
    each = [projection(rng, form, 1, 64, 64) for form in forms]
    exact = {"up": exact_up, "down": moe_reference.Matrices(np.concatenate([m.value for _, m in each]), roundings=1)}
    x, ids, weights = tokens(rng, 4, 64, 3, 2)
    layer = gathermm.Experts(up=up, down=[ours for ours, _ in each])
    y = gathermm.moe(x, layer, ids, weights, mode="mxfp4", activation="gelu")
    check(y, x, "float32", exact, ids, weights, activation="gelu")
    with pytest.raises(ValueError, match="biases"):
        gathermm.moe(x, layer, ids, weights, activation="gelu")


def softmax(z):
    z = np.exp(z - z.max(-1, keepdims=True))
    return z / z.sum(-1, keepdims=True)


def routed(logits, kind, top_k, renormalise, scale, bias, n_group, topk_group, drop_to_zero):
    """Ids and weights in double; logits differ by more than roundings do, so the order is the same."""
    if kind == "topk_softmax":
        ids = np.argsort(-logits, 1, kind="stable")[:, :top_k]
        return ids, scale * softmax(np.take_along_axis(logits, ids, 1))
    p = softmax(logits) if kind == "softmax_topk" else 1 / (1 + np.exp(-logits))
    c = p + bias
    if n_group > 1:
        groups = c.reshape(len(c), n_group, -1)
        best = np.argsort(-np.sort(groups, 2)[:, :, -2:].sum(2), 1, kind="stable")[:, :topk_group]
        kept = np.zeros(groups.shape[:2], bool)
        np.put_along_axis(kept, best, True, 1)
        c = np.where(np.repeat(kept, groups.shape[2], 1), c, 0 if drop_to_zero else -np.inf)
    ids = np.argsort(-c, 1, kind="stable")[:, :top_k]
    w = np.take_along_axis(p, ids, 1)
    if renormalise and (kind == "softmax_topk" or top_k > 1):
        w = w / w.sum(1, keepdims=True)
    return ids, scale * w


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("kind, groups", [("softmax_topk", 0), ("topk_softmax", 0), ("sigmoid", 0), ("sigmoid", 4)])
def test_route(kind, groups, renormalise):
    rng = np.random.default_rng(4)
    logits = np.stack([rng.permutation(16) / 4 for _ in range(7)]).astype(np.float32)  # steps of 1/4
    bias = (rng.permutation(16) / 1024).astype(np.float32) if kind == "sigmoid" else None
    routing = gathermm.Routing(4, kind, renormalise=renormalise, scale=2.5, correction_bias=bias, n_group=groups,
                               topk_group=groups // 2, drop_to_zero=renormalise)
    exact_ids, exact = routed(logits.astype(np.float64), kind, 4, renormalise, 2.5, 0 if bias is None else bias, groups,
                              groups // 2, renormalise)
    ids, weights = gathermm.route(logits, routing)
    assert ids.dtype == np.int32 and weights.dtype == np.float32
    assert np.array_equal(ids, exact_ids)
    # 16 exponentials of a few units each, their sum, two divisions and a product: 64 roundings are more than these.
    assert (np.abs(weights - exact) <= moe_reference.gamma(64) * exact).all()
    theirs = gathermm.route(mx.array(logits).reshape(7, 1, 16), routing)
    assert theirs[0].dtype == mx.int32 and theirs[0].shape == (7, 1, 4)
    assert np.array_equal(np.array(theirs[1])[:, 0], weights)
    # The layer's own router makes the same choice: its logits are exact here.
    layer, _ = experts(rng, 16, 16, 32, "gated", "float32", "float32")
    inner = gathermm.Routing(**{**vars(routing), "router": np.eye(16, dtype=np.float32)})
    assert np.array_equal(gathermm.moe(logits, layer, routing=inner), gathermm.moe(logits, layer, ids, weights))


def test_kinds_shapes_and_outputs():
    rng = np.random.default_rng(5)
    layer, _ = experts(rng, 4, 64, 64, "gated", ("affine", 64, 4), "float32")
    x, ids, weights = tokens(rng, 6, 64, 4, 2)
    y = gathermm.moe(x, layer, ids, weights)
    for dtype in (np.int8, np.int16, np.int64):
        assert np.array_equal(gathermm.moe(x, layer, ids.astype(dtype), weights), y)
    shaped = [a.reshape(2, 3, -1) for a in (x, ids, weights)]
    assert np.array_equal(gathermm.moe(shaped[0], layer, *shaped[1:]), y.reshape(2, 3, 64))
    assert np.array_equal(gathermm.moe(x[0], layer, ids[0], weights[0]), y[0])
    assert gathermm.moe(x[:0].reshape(3, 0, 64), layer, ids[:0].reshape(3, 0, 2), weights[:0].reshape(3, 0, 2)).size == 0
    assert np.array_equal(gathermm.moe(x[::-1], layer, ids[::-1], weights[::-1]), y[::-1])
    result = gathermm.moe(mx.array(x), layer, mx.array(ids), weights)
    assert isinstance(result, mx.array) and np.array_equal(np.array(result), y)
    buffer = array.array("f", x[0])
    assert np.array_equal(gathermm.moe(buffer, layer, ids[0], weights[0]), y[0])
    out = np.full((6, 128), np.nan, np.float32)[:, ::2]
    assert gathermm.moe(x, layer, ids, weights, out=out) is out and np.array_equal(out, y)
    half = np.empty((6, 64), ml_dtypes.bfloat16)
    assert np.array_equal(gathermm.moe(x, layer, ids, weights, out=half), y.astype(ml_dtypes.bfloat16))
    bf16 = gathermm.moe(x.astype(ml_dtypes.bfloat16), layer, ids, weights)
    assert bf16.dtype == ml_dtypes.bfloat16
    frozen = layer.down.copy()
    frozen.flags.writeable = False
    assert np.array_equal(gathermm.moe(x, gathermm.Experts(frozen, layer.gate, layer.up), ids, weights), y)
    int8 = gathermm.moe(x, layer, ids, weights, context=gathermm.Context(arithmetic="int8"))
    assert not np.array_equal(int8, y) and np.abs(int8 - y).max() < 0.1 * np.abs(y).max()
    skipped = gathermm.moe(x, layer, np.full_like(ids, -1), np.full_like(weights, np.nan))
    assert not skipped.any()


def test_errors():
    rng = np.random.default_rng(6)
    good, _ = experts(rng, 4, 64, 32, "gated", "float32", "float32")
    x, ids, weights = tokens(rng, 6, 64, 4, 2)
    out = np.full(x.shape, 7, np.float32)

    def refused(error, match, *args, **kwargs):
        with pytest.raises(error, match=match):
            gathermm.moe(*args, **{"out": out, **kwargs})
        assert (out == 7).all()

    def changed(**parts):
        return gathermm.Experts(**{**vars(good), **parts})

    refused(IndexError, "4", x, good, np.full_like(ids, 4), weights)
    refused(IndexError, "-2", x, good, np.full_like(ids, -2), weights)
    refused(ValueError, r"x is \(6, 63\); it must be \(6, 64\)", x[:, :63], good, ids, weights, out=None)
    refused(ValueError, "weights is NULL", x, good, ids)
    refused(ValueError, "must be a routing with a router", x, good)
    refused(ValueError, "axis 0 of ids is 5; that of x is 6", x, good, ids[:5], weights)
    refused(ValueError, "ids has 1 axes; x has 2", x, good, ids[0], weights)
    refused(ValueError, "ids is .*; it must be", x, good, ids, weights[:, :1])
    refused(ValueError, "ids are F32; they are integers", x, good, ids.astype(np.float32), weights)
    refused(ValueError, "F64", x.astype(np.float64), good, ids, weights)
    refused(ValueError, "first 2 axes", np.zeros((2, 4, 64), np.float32)[:, :3], good, ids.reshape(2, 3, 2),
            weights.reshape(2, 3, 2), out=None)
    refused(ValueError, "axis 0 of out is 5", x, good, ids, weights, out=np.zeros((5, 64), np.float32))
    refused(ValueError, "out and x share memory", x, good, ids, weights, out=x)
    refused(ValueError, "read-only", x, good, ids, weights, out=np.broadcast_to(np.float32(0), x.shape))
    refused(TypeError, "never change", x, good, ids, weights, out=mx.zeros(x.shape))
    refused(TypeError, "experts is a gathermm.Experts, not ndarray", x, x, ids, weights)
    refused(TypeError, "shared is a gathermm.Experts", x, good, ids, weights, shared=3)
    refused(TypeError, "routing is a gathermm.Routing", x, good, ids, weights, routing="softmax_topk")
    refused(TypeError, "context is a gathermm.Context", x, good, ids, weights, context=1)
    refused(TypeError, "up: it is no array", x, changed(up=3.0), ids, weights)
    refused(TypeError, r"up\[1\] is no array", x, changed(up=[good.up[0], None]), ids, weights)
    refused(ValueError, "down is missing", x, changed(down=None), ids, weights)
    refused(ValueError, "there must be gate_up", x, changed(up=None), ids, weights)
    refused(ValueError, r"gate is \(4, 32, 64\); it must be \(4, 31, 64\)", x, changed(down=good.down[:, :, :31]), ids, weights)
    refused(ValueError, "tuple of 4", x, changed(up=(1, 2, 3, 4)), ids, weights)
    refused(ValueError, "no mode", x, changed(up=gathermm.Projection((1, 2), bits=4)), ids, weights)
    refused(TypeError, "None in it", x, changed(up=(good.up, None)), ids, weights)
    refused(ValueError, "the bias of up", x, changed(up=gathermm.Projection(good.up, weights[:4])), ids, weights)
    refused(ValueError, "gate_up_layout is 'rows'", x, changed(gate_up_layout="rows"), ids, weights)
    refused(ValueError, "activation is 'relu'; it is one of silu", x, good, ids, weights, activation="relu")
    refused(ValueError, "limit is 0", x, good, ids, weights, activation="swiglu_clamped", limit=0)
    refused(ValueError, "needs a gate", x, changed(gate=None), ids, weights, activation="swiglu_clamped")
    refused(ValueError, "shared_gate but no shared", x, good, ids, weights, shared_gate=x[:1])
    router = np.ones((4, 64), np.float32)
    for routing, match in ((gathermm.Routing(5, router=router), "top_k is 5"), (gathermm.Routing(0, router=router), "top_k is 0"),
                           (gathermm.Routing(1, "best", router=router), "kind is 'best'"),
                           (gathermm.Routing(1, router=router, n_group=2), "n_group"),
                           (gathermm.Routing(1, router=router, scale=0), "scale is 0"),
                           (gathermm.Routing(1, router=router * np.float32(np.nan)), "logit of token")):
        refused(ValueError, match, x, good, routing=routing)
    for logits, match in ((np.zeros((2, 3), np.int32), "I32"), (np.zeros((), np.float32), "0 axes"),
                          (np.full((2, 3), np.inf, np.float32), "logit of token 0")):
        with pytest.raises(ValueError, match=match):
            gathermm.route(logits, gathermm.Routing(1))
    with pytest.raises(TypeError, match="logits is None"):
        gathermm.route(None, gathermm.Routing(1))
    with pytest.raises(ValueError, match="top_k is 9"):
        gathermm.route(np.zeros((2, 3), np.float32), gathermm.Routing(9))


def test_threads_and_the_lock():
    rng = np.random.default_rng(7)
    layer, _ = experts(rng, 8, 256, 512, "gated", "float32", ("affine", 64, 4))
    x, ids, weights = tokens(rng, 64, 256, 8, 4)
    want, wrong, ticks = gathermm.moe(x, layer, ids, weights), [], []
    running = threading.Event()

    def work():
        for _ in range(5):
            if not np.array_equal(gathermm.moe(x, layer, ids, weights), want):
                wrong.append(1)
        running.set()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while not running.wait(0.001):  # this thread gets on meanwhile
        ticks.append(1)
    for thread in threads:
        thread.join(60)
    assert not wrong and ticks and not any(thread.is_alive() for thread in threads)


def test_nothing_leaks():
    rng = np.random.default_rng(8)
    layer, _ = experts(rng, 4, 64, 32, "gated", ("affine", 32, 4), "float32", True)
    x, ids, weights = tokens(rng, 1024, 64, 4, 2)
    each = gathermm.Experts(up=[m for m in layer.down.weights.swapaxes(1, 2)], down=layer.down)
    routing = gathermm.Routing(2, "sigmoid", router=x[:4], correction_bias=x[0, :4])
    theirs = mx.array(x)
    bad = [{"experts": gathermm.Experts(up=[*each.up[:2], 3], down=each.down)}, {"ids": ids[:5]}, {"ids": ids + 9},
           {"weights": weights.astype(np.float64)}, {"out": x}, {"routing": gathermm.Routing(9), "ids": None},
           {"experts": gathermm.Experts(up=layer.gate, down=layer.gate)}, {"shared": gathermm.Experts((x, x)), "mode": 3},
           {"context": 1}]

    def calls():
        gathermm.moe(x, layer, ids, weights), gathermm.moe(x, each, routing=routing), gathermm.route(theirs[:, :4], routing)
        gathermm.moe(theirs, layer, ids, weights, shared=gathermm.Experts(layer.down.weights[:1], up=each.up[0]))
        for change in bad:
            with pytest.raises((ValueError, TypeError, IndexError)):
                gathermm.moe(**{"x": x, "experts": layer, "ids": ids, "weights": weights, "mode": "affine", **change})

    def held():
        gc.collect()
        arrays = [x, ids, weights, *layer.up.weights, layer.down.weights, layer.down.bias, *each.up, theirs]
        return [sys.getrefcount(thing) for thing in [*arrays, np.empty, routing, layer, None.__class__]]
    for _ in range(20):
        calls()
    before, size = held(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(400):
        calls()
    assert held() == before
    # One 256 KB result kept by each of 400 calls would be 100 MB; pages of the allocator's own are a few.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size < 32 * 1024


def test_doctests():
    result = doctest.testmod(gathermm.layer)
    assert result.attempted >= 13 and result.failed == 0
