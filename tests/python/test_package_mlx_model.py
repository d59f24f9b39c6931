# test_package_mlx_model.py - mlx_lm's Mixtral with the bundled trained model, with and without gathermm installed.
# SPDX-License-Identifier: MIT
import contextlib
import functools
import json
import pathlib

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.generate import generate_step
from mlx_lm.models import mixtral

import gathermm.mlx

FOLDER = pathlib.Path(__file__).parents[2] / "examples" / "tinymoe"
REFERENCE = json.loads((FOLDER / "reference.json").read_text())  # float64 throughout
NAMES = ["gather_mm", "gather_qmm", "quantized_matmul"]
OWN = {name: getattr(mx, name) for name in NAMES}
AFFINE = [{"mode": "affine", "group_size": 64, "bits": bits} for bits in (2, 3, 4, 5, 6, 8)]
QUANTIZED = AFFINE + [{"mode": "mxfp4", "group_size": 32, "bits": 4}, {"mode": "mxfp8", "group_size": 32, "bits": 8},
                      {"mode": "nvfp4", "group_size": 16, "bits": 4}]
HALF_UNIT = 2.0**-8  # bf16 has 8 significant bits: a rounding changes a number by this part of it at most
PROMPT = np.frombuffer((FOLDER / "heldout.txt").read_bytes()[:64], np.uint8)


def named(form):
    return f"{form['mode']}{form['bits']}" if form else "dense"


def load(dtype, form):
    """The checkpoint as its files have it, of this type, then quantized by mlx.nn."""
    model = mixtral.Model(mixtral.ModelArgs.from_dict(json.loads((FOLDER / "config.json").read_text())))
    model.load_weights(list(model.sanitize(mx.load(str(FOLDER / "model.safetensors"))).items()), strict=True)
    model.set_dtype(dtype)
    if form:
        nn.quantize(model, **form)
    mx.eval(model.parameters())
    return model


@contextlib.contextmanager
def replaced(functions):
    """MLX's products are these for the while."""
    try:
        for name, function in functions.items():
            setattr(mx, name, function)
        yield
    finally:
        for name in NAMES:
            setattr(mx, name, OWN[name])


@contextlib.contextmanager
def installed(context=None):
    try:
        gathermm.mlx.install(context)
        yield
    finally:
        gathermm.mlx.uninstall()


def wide(value):
    return value.astype(mx.float32) if isinstance(value, mx.array) and value.dtype == mx.bfloat16 else value


def in_float32(name, x, *args, **kwargs):
    """MLX's own product of the same numbers, in float32, which it can do for all of them."""
    return OWN[name](wide(x), *map(wide, args), **{key: wide(value) for key, value in kwargs.items()})


def rounded_once(name, x, *args, **kwargs):
    return in_float32(name, x, *args, **kwargs).astype(x.dtype)


ROUNDED_ONCE = {name: functools.partial(rounded_once, name) for name in NAMES}


def logits(model, tokens=PROMPT):
    return np.array(model(mx.array(tokens.astype(np.int32))[None])[0].astype(mx.float32)).astype(np.float64)


def text(model, prompt=PROMPT, count=24):
    tokens = generate_step(mx.array(np.frombuffer(prompt, np.uint8).astype(np.int32)), model, max_tokens=count)
    return bytes(int(token) for token, _ in tokens)


def test_dense_float32_is_the_float64_reference():
    model = load(mx.float32, None)
    prompt = REFERENCE["greedy_prompt"].encode()
    with installed():
        got = text(model, prompt, len(REFERENCE["greedy"].encode()) - len(prompt))
    assert prompt + got == REFERENCE["greedy"].encode()


@pytest.mark.parametrize("form", [None, *QUANTIZED], ids=named)
def test_float32_with_and_without(form):
    """The same text; logits differ by less than storing them as bf16 changes the largest of a row."""
    model = load(mx.float32, form)
    want, words = logits(model), text(model)
    with installed():
        got, said = logits(model), text(model)
    assert said == words
    assert (np.abs(got - want) <= HALF_UNIT * np.abs(want).max(axis=-1, keepdims=True)).all()
    assert not np.array_equal(got, want)  # it did run elsewhere


def rms(difference):
    return np.sqrt((difference**2).mean())


def same_text(model, words, said):
    """The same bytes, up to a place, if there is one, where the two choices are neighbours among bf16 numbers."""
    for i, pair in enumerate(zip(words, said)):
        if pair[0] != pair[1]:
            two = logits(model, np.frombuffer(PROMPT.tobytes() + words[:i], np.uint8))[-1][list(pair)]
            return abs(two[0] - two[1]) <= 2 * HALF_UNIT * 2.0 ** np.floor(np.log2(np.abs(two).max()))
    return len(words) == len(said)


@pytest.mark.parametrize("form", [None, *QUANTIZED], ids=named)
def test_bfloat16(form):
    """MLX on the CPU has no dense bf16 product, and sums quantized ones in bf16. What a bf16 product is, is its float32
    product rounded once: with those the text is the same, and logits differ by no more than two independent roundings
    of the same products would, which is sqrt(2) times what one rounding changes. MLX's own are further off."""
    model = load(mx.bfloat16, form)
    with installed():
        got, said = logits(model), text(model)
    with replaced(ROUNDED_ONCE):
        once, words = logits(model), text(model)
        assert same_text(model, words, said)
    own = logits(model) if form else None
    model.set_dtype(mx.float32)
    exact = logits(model)
    assert rms(got - once) <= np.sqrt(2) * rms(once - exact)
    if form:
        assert rms(got - exact) < rms(own - exact)


def magnitude_of(name, x, *args, **kwargs):
    """The sum of |x| |w| of a call in float32, with both terms of an affine weight, and the number of its terms."""
    x = mx.abs(wide(x))
    if name == "gather_mm":
        return OWN[name](x, mx.abs(wide(args[0])), **kwargs), x.shape[-1]
    form = {key: kwargs[key] for key in ("group_size", "bits", "mode")}
    given = {**dict(zip(("w", "scales", "biases"), args)), **kwargs}
    if form["mode"] == "affine":
        scales, biases = mx.abs(wide(given["scales"])), mx.abs(wide(given["biases"]))
        values = mx.dequantize(given["w"], scales, mx.zeros_like(scales), **form)
        values = values + mx.repeat(biases, form["group_size"], axis=-1)
    else:
        values = mx.abs(mx.dequantize(given["w"], given["scales"], **form, dtype=mx.float32))
    index = {"rhs_indices": kwargs["rhs_indices"]} if "rhs_indices" in kwargs else {}
    return OWN["gather_mm"](x, values.swapaxes(-1, -2), **index), x.shape[-1]


def gamma(n):
    return n * 2.0**-24 / (1 - n * 2.0**-24)


@pytest.mark.parametrize("form", [None, *QUANTIZED], ids=named)
def test_every_product_of_the_model(form):
    """Each call that the model makes in bf16, beside MLX's own in float32: within the a-priori bounds of the two sums
    and one rounding to bf16."""
    model, seen = load(mx.bfloat16, form), set()

    def checked(name, x, *args, **kwargs):
        got = ours[name](x, *args, **kwargs)
        own = np.array(in_float32(name, x, *args, **kwargs)).astype(np.float64)
        magnitude, terms = magnitude_of(name, x, *args, **kwargs)
        sums = (gamma(terms) + gamma(terms + 3)) * (1 + HALF_UNIT) * (1 + gamma(terms)) * np.array(magnitude)
        assert got.dtype == mx.bfloat16
        assert (np.abs(np.array(got.astype(mx.float32)) - own) <= HALF_UNIT * np.abs(own) + sums).all()
        seen.add((name, kwargs.get("sorted_indices")))
        return got
    with installed():
        ours = {name: getattr(mx, name) for name in NAMES}
        with replaced({name: functools.partial(checked, name) for name in NAMES}):
            logits(model), logits(model, PROMPT[:1])
    product = "gather_qmm" if form else "gather_mm"
    assert {(product, True), (product, False)} <= seen
    assert ("quantized_matmul", None) in seen or not form


def test_adapters_train_the_same():
    """A step of low-rank adaptation of a quantized model, through products with frozen weights: gradients with and
    without differ as sums in another order do, which is far below what a bf16 stores."""
    model = load(mx.float32, QUANTIZED[2])
    model.freeze()
    for layer in model.layers:
        layer.input_layernorm.unfreeze()
    tokens = mx.array(PROMPT.astype(np.int32))[None]

    def loss(model):
        return nn.losses.cross_entropy(model(tokens[:, :-1]), tokens[:, 1:]).mean()
    step = nn.value_and_grad(model, loss)
    value, gradients = step(model)
    mx.eval(value, gradients)
    with installed():
        ours, our_gradients = step(model)
        mx.eval(ours, our_gradients)
    assert abs(ours.item() - value.item()) <= HALF_UNIT * abs(value.item())
    for i, layer in enumerate(gradients["model"]["layers"]):
        want = np.array(layer["input_layernorm"]["weight"])
        got = np.array(our_gradients["model"]["layers"][i]["input_layernorm"]["weight"])
        assert np.abs(want).max() > 0 and (np.abs(got - want) <= HALF_UNIT * np.abs(want).max()).all()
