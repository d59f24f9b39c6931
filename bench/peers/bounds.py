# bounds.py - how far a result may be off, derived from the arithmetic of each library; nothing here is tuned.
# SPDX-License-Identifier: MIT
#
# One output is sum x[k] w[k], with w the weights exactly as a library stores them. `values` are rows of w in double,
# `terms` what bounds a weight's parts: |scale * code| + |offset| (|w| where there is no offset). Each function takes x
# (K), values and terms (rows, K) in double and gives one bound a row, before the result is rounded to its type. None
# of them falls when an |x[k]| grows.
import numpy as np

UNIT = {"f32": 2.0**-24, "f16": 2.0**-11, "bf16": 2.0**-8}
SMALLEST_HALF = {"f32": 2.0**-150, "f16": 2.0**-25, "bf16": 2.0**-134}
SMALLEST_NORMAL = 2.0**-126


def gamma(n, unit=UNIT["f32"]):
    """n roundings change a number by at most this factor of it."""
    assert n * unit < 1
    return n * unit / (1 - n * unit)


def rounded_to(dtype, exact, bound):
    """`bound` after one more rounding of the result, to dtype."""
    if dtype == "f32":
        return bound
    return bound + UNIT[dtype] * (np.abs(exact) + bound) + SMALLEST_HALF[dtype]


# How many times the root of a sum of squares a sum with random signs may be: one such sum; and, together, 40 or more in
# their root mean square. Either is exceeded with a probability below 2e-12: 2 exp(-t^2 / 2) for one (Hoeffding),
# exp(-(t^2 - 1 - ln t^2) n / 2) for n (Chernoff, of squares that Hoeffding's way bounds).
ONE, MANY = 7.6, 2.0


def carried(values, error, signs):
    """What |sum w[k] e[k]| is at most for |e[k]| <= error[k]; signs: ONE or MANY.

    problem.py draws weights, and so their signs, independently of what they are multiplied with and of how that is
    rounded. The worst case, sum |w e|, would in a layer be more than the results themselves."""
    return np.minimum(np.abs(values) @ error, signs * np.sqrt(np.square(values) @ np.square(error)))


def of_inexact(bound, x, error, values, terms, signs):
    """`bound`, a function of (x, values, terms, signs), where what is multiplied is off from x by up to `error`."""
    return bound(np.abs(x) + error, values, terms, signs) + carried(values, error, signs)


def silu_product(gate, gate_error, up, up_error, dtype):
    """(a, how far it may be off) for a = gate / (1 + exp(-gate)) * up of inexact gate and up.

    The slope of SiLU is below 1.1. An exponential within 2.6 units in the last place, 1 +, a quotient (or a product of
    the logistic function) are within 9 half units of SiLU, then comes the product; in a type of 16 bits each is one
    rounding, of an exponential in f32."""
    unit, smallest = UNIT[dtype], SMALLEST_NORMAL
    value = gate / (1 + np.exp(-gate))
    error = 1.1 * gate_error
    error = error + gamma(9, unit) * (np.abs(value) + error) + smallest
    product = np.abs(value) * up_error + error * (np.abs(up) + up_error)
    return value * up, product + unit * (np.abs(value * up) + product) + smallest


def weighted_sum(weights, results, errors, dtype):
    """(sum over j of weights[j] * results[j], how far it may be off): a product, and an addition for each."""
    size = np.abs(weights) @ (np.abs(results) + errors)
    return weights @ results, np.abs(weights) @ errors + gamma(weights.size + 1, UNIT[dtype]) * size + SMALLEST_NORMAL


def contract(x, terms, decode_roundings, tiles=False):
    """gathermm: docs/numerics.md. Terms are values, or for affine weights by tiles what bounds those. Tiles flush subnormal
    numbers."""
    k = x.size
    underflow = (k + 2) * 2.0**-149
    if tiles:
        underflow = SMALLEST_NORMAL * (6 * k + np.abs(x).sum() + 3 * np.abs(terms).sum(axis=-1))
    return gamma(k + 5 + decode_roundings) * (np.abs(terms) @ np.abs(x)) + underflow


def int8_contract(x, values, terms, group_size, signs):
    """gathermm with int8 activations: docs/numerics.md. What x is off by after it is rounded, then f32's own part."""
    largest = np.abs(x).reshape(-1, group_size).max(axis=1)
    error = np.repeat(largest, group_size) * (1 / 254 + 2.0**-22)
    bound = carried(values, error, signs) + gamma(largest.size + 4) * (np.abs(terms) @ (np.abs(x) + error))
    return bound + x.size * SMALLEST_NORMAL


def f32_sum(x, terms, extra_roundings):
    """f32 throughout, in any order: each product meets its own rounding, K - 1 additions and what is named extra.

    A library may flush subnormal products to zero."""
    k = x.size
    return gamma(k + extra_roundings) * (np.abs(terms) @ np.abs(x)) + k * SMALLEST_NORMAL


def rounded_each_step(x, terms, dtype):
    """Every operation rounded to dtype (MLX's quantized products in bf16).

    The weights of K terms are off by two roundings, their sum of products by K units at most, which holds for any K
    and any order (Jeannerod and Rump, "Improved error bounds for inner products in floating-point arithmetic", SIAM J.
    Matrix Anal. Appl. 34, 2013). For bf16 and K above 256 that is more than the sum itself: it catches wild results
    only, and the error that is printed beside the time tells what the arithmetic is worth."""
    unit, k = UNIT[dtype], x.size
    decoded = (1 + unit)**2
    return (decoded * k * unit + decoded - 1) * (np.abs(terms) @ np.abs(x)) + k * SMALLEST_NORMAL


def activation_error(x, kind):
    """How far each x[k] is off after ggml has rounded it to `kind`, the type that it multiplies weights with."""
    if kind == "f32":
        return np.zeros_like(x)
    if kind in ("f16", "bf16"):
        return UNIT[kind] * np.abs(x) + SMALLEST_HALF[kind]
    # int8 codes with one scale for a block, max|x| / 127, which is stored with a rounding of its own. Three f32
    # roundings (reciprocal, quotient, product) move what is rounded to a code, of 127 at most.
    block, scale_type = {"q8_0": (32, "f16"), "q8_2": (32, "bf16"), "q8_K": (256, "f32")}[kind]
    scale = np.repeat(np.abs(x).reshape(-1, block).max(axis=1), block) / 127
    unit = UNIT[scale_type]
    if kind == "q8_2":
        # ik_llama.cpp rounds the scale first: a code is off by half a step, or was cut to 127.
        steps = max(0.5 * (1 + unit), 127 * unit)
    else:
        # ggml makes codes by the scale before it is rounded.
        steps = 0.5 * (1 + unit) + 127 * unit
    return scale * (steps + 127 * gamma(4)) + 127 * SMALLEST_HALF[scale_type]


def rounded_activations(x, values, terms, kind, signs, weight_unit=0.0):
    """ggml and ik_llama.cpp: activations rounded to `kind`, integer sums in blocks, those added in f32.

    weight_unit: scale and offset are rounded to f16 on the way (ik_llama.cpp's q4_K for many rows)."""
    error = activation_error(x, kind)
    magnitude = np.abs(x) + error
    parts = np.abs(terms) @ magnitude
    weights = weight_unit * parts + (16 * SMALLEST_HALF["f16"] * magnitude.sum() if weight_unit else 0.0)
    return carried(values, error, signs) + weights + gamma(x.size + 8) * (parts + weights) + x.size * SMALLEST_NORMAL
