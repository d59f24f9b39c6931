"""layer - whole layers of experts in one call, and routing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, TypeVar

from . import _core
from ._core import Context
from .arrays import scalar, writable

A = TypeVar("A")

# The numbers of moe.h.
_KINDS = {"softmax_topk": 0, "topk_softmax": 1, "sigmoid": 2}
_ACTIVATIONS = {"silu": 0, "gelu": 1, "gelu_tanh": 2, "swiglu_clamped": 3, "relu_squared": 4}
_LAYOUTS = {"concatenated": 0, "interleaved": 1}


@dataclass(frozen=True, eq=False)
class Projection:
    """A projection of all experts that needs more said than its weights.

    weights: an array (E, N, K), or a tuple (w, scales) or (w, scales, biases) as `gathermm.quantize` gives it.
    bias: the linear bias, (E, N).
    group_size, bits, mode: the format of a tuple; with mode=None the call's.
    global_scale: with mode "nvfp4" only: one float32.

    >>> import gathermm
    >>> gathermm.Projection(("w", "scales"), mode="mxfp4").mode
    'mxfp4'
    """

    weights: Any
    bias: Any = None
    group_size: Optional[int] = None
    bits: Optional[int] = None
    mode: Optional[str] = None
    global_scale: Any = None


@dataclass(frozen=True, eq=False)
class Experts:
    """What an expert computes: `down`, with either `gate_up`, or `gate` and `up`, or `up` alone.

    down is (E, H, I), gate and up are (E, I, H), gate_up is (E, 2 I, H): with gate_up_layout "concatenated" gate's rows,
    then up's; with "interleaved" (gpt-oss) one of gate, one of up, in turns. A `Projection` has formats and biases.
    A list has one expert's matrix each, whose formats may differ.

    >>> import numpy as np, gathermm
    >>> up, down = np.ones((4, 64, 32), "f4"), np.ones((4, 32, 64), "f4")
    >>> gathermm.Experts(up=gathermm.quantize(up, mode="mxfp4"), down=gathermm.Projection(down, bias=down[:, :, 0])).gate_up_layout
    'concatenated'
    """

    down: Any
    gate: Any = None
    up: Any = None
    gate_up: Any = None
    gate_up_layout: str = "concatenated"


@dataclass(frozen=True, eq=False)
class Routing:
    """How the logits of a token become its experts and their weights.

    ============  ========================================================================================
    kind          ids and weights
    ============  ========================================================================================
    softmax_topk  p = softmax(logits); the top_k largest; weights p, divided by their sum if `renormalise`
    topk_softmax  the top_k largest logits; weights softmax of these (Mixtral, gpt-oss)
    sigmoid       s = sigmoid(logits); the top_k largest of s + correction_bias, in the topk_group best of
                  n_group groups; weights s, divided by their sum if `renormalise` (DeepSeek-V3)
    ============  ========================================================================================

    Equal values: the expert, or group, with the lower number comes first. Weights are multiplied by `scale` last.

    router: a projection (E, H): logits = router @ x. `moe` needs it, `route` does not.
    correction_bias: (E). n_group, topk_group: 0 is no groups.
    drop_to_zero: experts of groups that are not kept compete with 0 (Transformers, MLX) instead of not at all.

    >>> import numpy as np, gathermm
    >>> routing = gathermm.Routing(2, "sigmoid", renormalise=True, correction_bias=np.array([0, 0, 1, 0], "f4"))
    >>> gathermm.route(np.array([[0.5, 0.1, -1, 0.3]], "f4"), routing)[0].tolist()
    [[2, 0]]
    """

    top_k: int
    kind: str = "softmax_topk"
    router: Any = None
    renormalise: bool = False
    scale: float = 1.0
    correction_bias: Any = None
    n_group: int = 0
    topk_group: int = 0
    drop_to_zero: bool = False


_Format = tuple[Optional[int], Optional[int], str]


def _number(names: dict[str, int], name: str, what: str) -> int:
    number = names.get(name)
    if number is None:
        raise ValueError(f"{what} is {name!r}; it is one of {', '.join(names)}")
    return number


def _not_zero(value: Optional[float], what: str) -> float:
    """0 tells the library to use its default, which only None does here."""
    if value == 0:
        raise ValueError(f"{what} is 0")
    return 0.0 if value is None else float(value)


def _one(given: Any, form: _Format, name: str) -> Any:
    projection = given if isinstance(given, Projection) else Projection(given)
    weights, bias = projection.weights, projection.bias
    if not isinstance(weights, tuple):
        if weights is None or isinstance(weights, list):
            raise TypeError(f"{name} is no array and no tuple: {type(weights).__name__}")
        return (weights, None, None, None, None, None, None, None, bias)
    if len(weights) not in (2, 3):
        raise ValueError(f"{name} is a tuple of {len(weights)}; it is (w, scales) or (w, scales, biases)")
    if projection.mode is not None:
        form = (projection.group_size, projection.bits, projection.mode)
    elif projection.group_size is not None or projection.bits is not None:
        raise ValueError(f"{name} has a group_size or bits of its own, but no mode")
    w, scales, biases = (*weights, None)[:3]
    if w is None or scales is None:
        raise TypeError(f"{name} is a tuple with None in it")
    return (None, w, scales, biases, scalar(projection.global_scale), *form, bias)


def _projection(given: Any, form: _Format, name: str) -> Any:
    if given is None:
        return None
    if isinstance(given, list):
        return [_one(each, form, f"{name}[{i}]") for i, each in enumerate(given)]
    return _one(given, form, name)


def _experts(given: Any, form: _Format, prefix: str = "") -> Any:
    if not isinstance(given, Experts):
        raise TypeError(f"{prefix.rstrip('.') or 'experts'} is a gathermm.Experts, not {type(given).__name__}")
    parts = [
        _projection(getattr(given, name), form, prefix + name) for name in ("gate", "up", "gate_up", "down")
    ]
    return (*parts, _number(_LAYOUTS, given.gate_up_layout, "gate_up_layout"))


def _routing(given: Any, form: _Format) -> Any:
    if not isinstance(given, Routing):
        raise TypeError(f"routing is a gathermm.Routing, not {type(given).__name__}")
    return (
        _number(_KINDS, given.kind, "kind"), given.top_k, given.renormalise, _not_zero(given.scale, "scale"),
        given.correction_bias, given.n_group, given.topk_group, given.drop_to_zero,
        _projection(given.router, form, "router"),
    )  # fmt: skip


def moe(
    x: A,
    experts: Experts,
    ids: Any = None,
    weights: Any = None,
    *,
    routing: Optional[Routing] = None,
    shared: Optional[Experts] = None,
    shared_gate: Any = None,
    activation: str = "silu",
    alpha: Optional[float] = None,
    limit: Optional[float] = None,
    group_size: Optional[int] = None,
    bits: Optional[int] = None,
    mode: str = "affine",
    context: Optional[Context] = None,
    out: Any = None,
) -> A:
    """A whole layer of experts. For a token x with experts e[0..k-1] and weights w[0..k-1]::

        g = gate[e] @ x + its bias       u = up[e] @ x + its bias       a = f(g, u)
        out = sum over j of  w[j] * (down[e[j]] @ a + its bias)         + shared expert

    x is (..., H), ids and weights are (..., k), the result is (..., H) in x's type. Every intermediate is f32, the sum
    runs in the order of the slots, and there is one rounding at the end. A token's bits do not depend on the others.

    ==============  =========================================================================================
    activation      f(g, u); where there is no gate f(u), the same without ``* u``, for g = u
    ==============  =========================================================================================
    silu            g * sigmoid(g) * u
    gelu            g * (1 + erf(g / sqrt(2))) / 2 * u
    gelu_tanh       g * (1 + tanh(sqrt(2 / pi) * (g + 0.044715 * g**3))) / 2 * u
    swiglu_clamped  c * sigmoid(alpha * c) * (l + 1), with c = min(g, limit), l = clip(u, -limit, limit)
    relu_squared    max(g, 0)**2 * u
    ==============  =========================================================================================

    Args:
        x: float32, float16 or bfloat16.
        experts: their projections: arrays, tuples of quantized parts, lists with one matrix each; see `Experts`.
        ids: any integer type; -1 skips the slot, one expert may come twice. Without ids and weights, `routing` and its
            router choose.
        weights: float32, float16 or bfloat16; not looked at where ids is -1.
        shared: one more expert (E = 1, or without that axis) that every token goes to, last in the sum.
        shared_gate: (1, H): the shared expert's weight is sigmoid(shared_gate @ x), not 1.
        alpha, limit: of swiglu_clamped; 1.702 and 7.
        group_size, bits, mode: the format of tuples; see `quantize`. A `Projection` may say another.
        context, out: as in `gather_mm`.

    Raises:
        ValueError: shapes, types or formats that do not fit; logits that are NaN or +infinity. Nothing is written then.
        IndexError: an id that is neither -1 nor the number of an expert.

    >>> import numpy as np, gathermm
    >>> rng = np.random.default_rng(0)
    >>> up, down = rng.normal(size=(4, 96, 64)).astype("f4"), rng.normal(size=(4, 64, 96)).astype("f4")
    >>> x, ids, weights = np.ones((3, 64), "f4"), np.array([[0, 2], [3, 1], [2, -1]]), np.full((3, 2), 0.5, "f4")
    >>> y = gathermm.moe(x, gathermm.Experts(up=up, down=down), ids, weights, activation="relu_squared")
    >>> a = np.maximum(up @ x[0], 0)**2
    >>> y.shape, bool(np.allclose(y[0], 0.5 * (down[0] @ a[0] + down[2] @ a[2]), atol=1e-3))
    ((3, 64), True)

    Quantized, with the router inside:

    >>> packed = gathermm.Experts(
    ...     up=gathermm.quantize(up, mode="mxfp8"), down=gathermm.Projection(gathermm.quantize(down, 32, 4), mode="affine",
    ...     group_size=32, bits=4))
    >>> routing = gathermm.Routing(top_k=2, kind="topk_softmax", router=rng.normal(size=(4, 64)).astype("f4"))
    >>> gathermm.moe(x, packed, routing=routing, mode="mxfp8", activation="relu_squared").shape
    (3, 64)
    """
    if out is not None:
        writable(out)
    if ids is None and weights is None and (routing is None or routing.router is None):
        raise ValueError("without ids and weights there must be a routing with a router")
    form = (group_size, bits, mode)
    return _core.moe(  # type: ignore[no-any-return]
        x, ids, weights, _experts(experts, form), None if shared is None else _experts(shared, form, "shared."),
        _projection(shared_gate, form, "shared_gate"), None if routing is None else _routing(routing, form),
        _number(_ACTIVATIONS, activation, "activation"), _not_zero(alpha, "alpha"), _not_zero(limit, "limit"), context,
        out,
    )  # fmt: skip


def route(logits: A, routing: Routing, *, context: Optional[Context] = None) -> tuple[A, A]:
    """The experts and weights that a `Routing` chooses for logits (..., E): ids (..., top_k), int32; weights, float32.

    Slots are in descending order of what they were chosen by. The routing's router is not used.

    >>> import numpy as np, gathermm
    >>> ids, weights = gathermm.route(np.log(np.array([[1, 4, 2, 1]], "f4")), gathermm.Routing(2, renormalise=True))
    >>> ids.tolist(), np.round(weights, 3).tolist()
    ([[1, 2]], [[0.6669999957084656, 0.3330000042915344]])
    """
    return _core.route(_routing(routing, (None, None, "affine")), logits, context)
