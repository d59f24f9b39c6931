# moe_reference.py - layers of experts in double precision with their a-priori bounds, as docs/numerics.md has them.
# SPDX-License-Identifier: MIT
import math

import numpy as np

UNIT, TINY = 2.0**-24, 2.0**-123
erf = np.vectorize(math.erf, otypes=[np.float64])


def gamma(n):
    return n * UNIT / (1 - n * UNIT)


class Matrices:
    """A projection: values (E, N, K) and bias (E, N) in double; roundings that a weight in f32 may carry."""

    def __init__(self, value, bias=None, roundings=0):
        self.value = np.asarray(value, np.float64)
        self.bias = np.zeros(self.value.shape[:2]) if bias is None else np.asarray(bias, np.float64)
        self.roundings = roundings

    def dot(self, e, x, error):
        """Expert e's matrix times x, whose elements are off by at most `error`: value and bound."""
        w, bias = self.value[e], self.bias[e]
        k = w.shape[1]
        magnitude = np.abs(w) @ (np.abs(x) + error) + np.abs(bias)
        sizes = k + (np.abs(x) + error).sum() + np.abs(w).sum(axis=1)
        return w @ x + bias, np.abs(w) @ error + gamma(k + 6 + self.roundings) * magnitude + sizes * TINY


def logistic(z):
    return 1 / (1 + np.exp(-z))


def function(activation, g, error, alpha, limit):
    """F(g), its slope's bound near g, and its own relative error in units."""
    if activation == "silu":
        return g * logistic(g), 1.2, 8
    if activation == "gelu":
        return g * (1 + erf(g / math.sqrt(2))) / 2, 1.2, 32 + 3 * g * g
    if activation == "gelu_tanh":
        inner = math.sqrt(2 / math.pi) * (g + 0.044715 * g**3)
        return g * logistic(2 * inner), 1.2, 8 + 14 * np.abs(inner)
    if activation == "swiglu_clamped":
        clamped = np.minimum(g, limit)
        return clamped * logistic(alpha * clamped), 1.2, 10 + 2 * np.abs(alpha * clamped)
    assert activation == "relu_squared"
    return np.maximum(g, 0)**2, 2 * (np.abs(g) + error), 1


def activate(activation, g, g_error, u, u_error, alpha, limit):
    value, slope, c = function(activation, g, g_error, alpha, limit)
    error = slope * g_error + 1.01 * c * UNIT * (np.abs(value) + slope * g_error) + TINY
    if activation == "swiglu_clamped":
        u = np.clip(u, -limit, limit) + 1
        u_error = u_error + UNIT * (np.abs(u) + u_error)
    product = np.abs(value) * u_error + error * (np.abs(u) + u_error)
    return value * u, product + UNIT * (np.abs(value * u) + product) + TINY


def expert(parts, e, x, activation, alpha, limit, layout):
    """y of expert e for a token x; parts has "down" and some of "gate", "up", "gate_up"."""
    exact = np.zeros_like(x)
    if "gate_up" in parts:
        both, error = parts["gate_up"].dot(e, x, exact)
        half = len(both) // 2
        rows = (slice(0, None, 2), slice(1, None, 2)) if layout == "interleaved" else (slice(half), slice(half, None))
        g, g_error, u, u_error = both[rows[0]], error[rows[0]], both[rows[1]], error[rows[1]]
    else:
        u, u_error = parts["up"].dot(e, x, exact)
        g, g_error = parts["gate"].dot(e, x, exact) if "gate" in parts else (u, u_error)
        if "gate" not in parts:
            u, u_error = np.ones_like(u), np.zeros_like(u)
    a, a_error = activate(activation, g, g_error, u, u_error, alpha, limit)
    return parts["down"].dot(e, a, a_error)


def layer(parts, x, ids, weights, *, activation="silu", layout="concatenated", shared=None, shared_gate=None,
          alpha=float(np.float32(1.702)), limit=7.0):
    """out and its bound before the rounding to out's type, both (T, H); numbers are doubles, ids -1 is skipped."""
    out, bound = np.zeros(x.shape), np.zeros(x.shape)
    for t, token in enumerate(np.asarray(x, np.float64)):
        magnitude, terms = np.zeros(x.shape[1]), []
        for e, weight in zip(ids[t], weights[t]):
            if e >= 0:
                terms.append((float(weight), 0.0, *expert(parts, e, token, activation, alpha, limit, layout)))
        if shared:
            weight, weight_error = 1.0, 0.0
            if shared_gate is not None:
                z, z_error = shared_gate.dot(0, token, np.zeros_like(token))
                weight, weight_error = logistic(z[0]), 0.25 * z_error[0] + 8 * UNIT
            terms.append((weight, weight_error, *expert(shared, 0, token, activation, alpha, limit, layout)))
        for weight, weight_error, y, y_error in terms:
            error = abs(weight) * y_error + weight_error * (np.abs(y) + y_error)
            out[t] += weight * y
            bound[t] += error
            magnitude += np.abs(weight * y) + error
        bound[t] += gamma(ids.shape[1] + 4) * magnitude + TINY
        # A bound that lets anything pass is none.
        assert bound[t].sum() <= 0.05 * magnitude.sum() + 1e-30
    return out, bound


def within(got, out, bound, round_to=lambda x: x.astype(np.float32)):
    """got, numbers of a floating type as doubles, lies between the roundings of both ends of the bound."""
    low, high = round_to(out - bound), round_to(out + bound)
    assert got.shape == out.shape
    assert (got >= low.astype(np.float64)).all() and (got <= high.astype(np.float64)).all()
