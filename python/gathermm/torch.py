"""gathermm.torch - the products on PyTorch's CPU tensors: with gradients, under torch.compile, inside Transformers.

Tensors of float32, float16 and bfloat16 are used where they lie. Others are refused: other devices (copy with ``.cpu()``),
float64. Only ``import gathermm.torch`` imports PyTorch (2.4 or newer).

==========================================  ======================  ================================================
function                                    gradients               torch.compile, tensors on "meta"
==========================================  ======================  ================================================
gather_mm                                   of a and b              one operator of the graph
gather_qmm, quantized_matmul                of x                    one operator of the graph
`register_experts`: Transformers' experts   of all                  one operator of the graph, several with gradients
quantize, dequantize, moe, route            refused                 the graph is broken there; "meta" is refused
==========================================  ======================  ================================================

Gradients are f32 sums with one rounding at the end; they have no gradients themselves. Packed weights may be uint32 or
int32 tensors.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from typing import Any, Callable, Optional, TypeVar

try:
    import torch  # type: ignore[import-not-found, unused-ignore]
except ImportError as error:
    raise ImportError("gathermm.torch needs PyTorch 2.4 or newer: pip install torch") from error
if not hasattr(torch.library, "custom_op"):
    raise ImportError(f"gathermm.torch needs PyTorch 2.4 or newer, for torch.library.custom_op; this is {torch.__version__}")

from . import layer, ops
from ._core import Context
from .layer import Experts, Projection, Routing

__all__ = [
    "Experts",
    "Projection",
    "Routing",
    "dequantize",
    "gather_mm",
    "gather_qmm",
    "moe",
    "quantize",
    "quantized_matmul",
    "register_experts",
    "route",
]

_untyped: Any = torch  # for those of its functions that have no types
_BITS = {"affine": 4, "mxfp4": 4, "mxfp8": 8, "nvfp4": 4}

# ---- what operators cannot take ----


def _context_text(context: Optional[Context]) -> str:
    """A context as operators have it."""
    if context is None:
        return ""
    if not isinstance(context, Context):
        raise TypeError(f"context is a gathermm.Context or None, not {type(context).__name__}")
    return f"{context.threads} {context.arithmetic} {context.cpu_mask or ''}"


@functools.lru_cache(maxsize=None)
def _context_of(text: str) -> Optional[Context]:
    if not text:
        return None
    threads, arithmetic, cpu_mask = text.split(" ", 2)
    return Context(int(threads), cpu_mask or None, arithmetic)


def _check(**tensors: Any) -> None:
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name} is a {type(tensor).__name__}, not a torch.Tensor")
        if tensor.device.type not in ("cpu", "meta"):
            raise ValueError(f"{name} is on {tensor.device}; gathermm computes on the CPU: copy it with .cpu()")


def _wants_gradients(*tensors: Any) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _refuse_gradients(what: str, **tensors: Any) -> None:
    for name, tensor in tensors.items():
        if isinstance(tensor, torch.Tensor) and _wants_gradients(tensor):
            raise ValueError(f"{name} requires gradients, and {what}: detach() it, or call under torch.no_grad()")


def _words(w: Any) -> Any:
    """Packed weights as the library has them."""
    return w.view(torch.uint32) if isinstance(w, torch.Tensor) and w.dtype == torch.int32 else w


def _scalar(number: Any) -> Any:
    return torch.tensor(number, dtype=torch.float32) if isinstance(number, (float, int)) else number


def _pairs(lhs: Any, rhs: Any, lhs_batch: Any, rhs_batch: Any) -> Any:
    """The shape of the products: what is not given counts its operand's matrices."""
    return _untyped.broadcast_shapes(lhs_batch if lhs is None else lhs.shape, rhs_batch if rhs is None else rhs.shape)


def _indices(lhs: Any, rhs: Any, lhs_batch: Any, rhs_batch: Any) -> tuple[Any, Any]:
    """Both indices of every product, flat."""

    def one(given: Any, batch: Any) -> Any:
        return torch.arange(batch.numel()).reshape(batch) if given is None else given.to(torch.int64)

    left, right = _untyped.broadcast_tensors(one(lhs, lhs_batch), one(rhs, rhs_batch))
    return left.reshape(-1), right.reshape(-1)


def _matrices(stack: Any) -> Any:
    """One axis before the last two."""
    return stack.detach().reshape(stack.shape[:-2].numel(), *stack.shape[-2:])


# ---- operators ----


def _gather_mm(a: Any, b: Any, lhs: Any, rhs: Any, sorted_indices: bool, context: str) -> Any:
    return ops.gather_mm(
        a.detach(), b.detach(), lhs, rhs, sorted_indices=sorted_indices, context=_context_of(context)
    )


def _gather_mm_fake(a: Any, b: Any, lhs: Any, rhs: Any, sorted_indices: bool, context: str) -> Any:
    shape = (*_pairs(lhs, rhs, a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    return a.new_empty(shape, dtype=torch.promote_types(a.dtype, b.dtype))


def _scatter(pieces: Any, left: Any, like: Any) -> Any:
    """The sum of the products of every matrix of `like`."""
    total = torch.zeros((like.shape[:-2].numel(), *like.shape[-2:]), dtype=torch.float32)
    return total.index_add_(0, left, pieces).to(like.dtype).reshape(like.shape)


def _gather_mm_backward(
    grad: Any, a: Any, b: Any, lhs: Any, rhs: Any, of_a: bool, of_b: bool, context: str
) -> tuple[Any, Any]:
    left, right = _indices(lhs, rhs, a.shape[:-2], b.shape[:-2])
    m, k = a.shape[-2:]
    grad, a_matrices, b_matrices = map(_matrices, (grad, a, b))
    grad_a = grad_b = grad.new_empty(0)
    if of_a:
        pieces = torch.empty((len(right), m, k), dtype=torch.float32)
        ops.gather_mm(grad, b_matrices.mT, None, right, context=_context_of(context), out=pieces)
        grad_a = _scatter(pieces, left, a)
    if of_b:
        total = torch.zeros(b_matrices.shape, dtype=torch.float32)
        order = _untyped.argsort(right, stable=True)
        used, counts = torch.unique_consecutive(right[order], return_counts=True)
        for e, chosen in zip(used.tolist(), order.split(counts.tolist())):
            rows, columns = (t.flatten(0, 1) for t in (a_matrices[left[chosen]], grad[chosen]))
            ops.gather_mm(rows.T, columns, context=_context_of(context), out=total[e])
        grad_b = total.to(b.dtype).reshape(b.shape)
    return grad_a, grad_b


def _gather_mm_backward_fake(
    grad: Any, a: Any, b: Any, lhs: Any, rhs: Any, of_a: bool, of_b: bool, context: str
) -> tuple[Any, Any]:
    return tuple(t.new_empty(t.shape if wanted else (0,)) for t, wanted in ((a, of_a), (b, of_b)))  # type: ignore[return-value, unused-ignore]


def _gather_qmm(
    x: Any, w: Any, scales: Any, biases: Any, lhs: Any, rhs: Any, transpose: bool, group_size: Any, bits: Any,
    mode: str, global_scale: Any, sorted_indices: bool, context: str,
) -> Any:  # fmt: skip
    return ops.gather_qmm(
        x.detach(), w, scales, biases, lhs, rhs, transpose, group_size, bits, mode, global_scale,
        sorted_indices=sorted_indices, context=_context_of(context),
    )  # fmt: skip


def _gather_qmm_fake(
    x: Any, w: Any, scales: Any, biases: Any, lhs: Any, rhs: Any, transpose: bool, group_size: Any, bits: Any,
    mode: str, global_scale: Any, sorted_indices: bool, context: str,
) -> Any:  # fmt: skip
    columns = w.shape[-2] if transpose else w.shape[-1] * 32 // (bits or _BITS[mode])
    dtype = x.dtype
    if biases is not None:
        dtype = torch.promote_types(dtype, torch.promote_types(scales.dtype, biases.dtype))
    return x.new_empty((*_pairs(lhs, rhs, x.shape[:-2], w.shape[:-2]), x.shape[-2], columns), dtype=dtype)


def _gather_qmm_backward(
    grad: Any, x: Any, w: Any, scales: Any, biases: Any, lhs: Any, rhs: Any, transpose: bool, group_size: Any,
    bits: Any, mode: str, global_scale: Any, context: str,
) -> Any:  # fmt: skip
    left, right = _indices(lhs, rhs, x.shape[:-2], w.shape[:-2])
    pieces = torch.empty((len(right), *x.shape[-2:]), dtype=torch.float32)
    ops.gather_qmm(
        _matrices(grad), w, scales, biases, None, right, not transpose, group_size, bits,
        mode, global_scale, context=_context_of(context), out=pieces,
    )  # fmt: skip
    return _scatter(pieces, left, x)


def _gather_qmm_backward_fake(grad: Any, x: Any, *rest: Any) -> Any:
    return x.new_empty(x.shape)


def _experts(
    x: Any, ids: Any, weights: Any, first: Any, first_bias: Any, down: Any, down_bias: Any, gated: bool, layout: str,
    activation: str, alpha: Optional[float], limit: Optional[float], context: str,
) -> Any:  # fmt: skip
    x, first, first_bias, down, down_bias, weights = (
        t if t is None else t.detach() for t in (x, first, first_bias, down, down_bias, weights)
    )
    projections = {"gate_up" if gated else "up": Projection(first, first_bias), "down": Projection(down, down_bias)}
    return layer.moe(
        x, Experts(**projections, gate_up_layout=layout), ids, weights, activation=activation, alpha=alpha,
        limit=limit, context=_context_of(context),
    )  # fmt: skip


def _experts_fake(x: Any, *rest: Any) -> Any:
    return x.new_empty(x.shape)


def _operator(name: str, function: Any, fake: Any, schema: str) -> Any:
    made = torch.library.custom_op(f"gathermm::{name}", function, mutates_args=(), schema=schema, device_types="cpu")
    made.register_fake(fake)
    return made


_PACKED = "Tensor w, Tensor scales, Tensor? biases, Tensor? lhs, Tensor? rhs, bool transpose, int? group_size, " \
    "int? bits, str mode, Tensor? global_scale"  # fmt: skip
_gather_mm_op = _operator(
    "gather_mm", _gather_mm, _gather_mm_fake,
    "(Tensor a, Tensor b, Tensor? lhs, Tensor? rhs, bool sorted_indices, str context) -> Tensor",
)  # fmt: skip
_gather_mm_backward_op = _operator(
    "gather_mm_backward", _gather_mm_backward, _gather_mm_backward_fake,
    "(Tensor grad, Tensor a, Tensor b, Tensor? lhs, Tensor? rhs, bool of_a, bool of_b, str context)"
    " -> (Tensor, Tensor)",
)  # fmt: skip
_gather_qmm_op = _operator(
    "gather_qmm", _gather_qmm, _gather_qmm_fake,
    f"(Tensor x, {_PACKED}, bool sorted_indices, str context) -> Tensor",
)  # fmt: skip
_gather_qmm_backward_op = _operator(
    "gather_qmm_backward", _gather_qmm_backward, _gather_qmm_backward_fake,
    f"(Tensor grad, Tensor x, {_PACKED}, str context) -> Tensor",
)  # fmt: skip
_experts_op = _operator(
    "experts", _experts, _experts_fake,
    "(Tensor x, Tensor ids, Tensor weights, Tensor first, Tensor? first_bias, Tensor down, Tensor? down_bias, "
    "bool gated, str layout, str activation, float? alpha, float? limit, str context) -> Tensor",
)  # fmt: skip


def _gather_mm_save(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.context = inputs[5]


def _gather_mm_gradient(ctx: Any, grad: Any) -> Any:
    wanted = ctx.needs_input_grad[:2]
    parts = _gather_mm_backward_op(grad, *ctx.saved_tensors, *wanted, ctx.context)
    return (*(part if want else None for part, want in zip(parts, wanted)), None, None, None, None)


def _gather_qmm_save(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs[:6], inputs[10])
    ctx.options, ctx.context = inputs[6:10], inputs[12]


def _gather_qmm_gradient(ctx: Any, grad: Any) -> Any:
    *operands, global_scale = ctx.saved_tensors
    grad_x = _gather_qmm_backward_op(grad, *operands, *ctx.options, global_scale, ctx.context)
    return (grad_x, *[None] * 12)


_gather_mm_op.register_autograd(_gather_mm_gradient, setup_context=_gather_mm_save)
_gather_qmm_op.register_autograd(_gather_qmm_gradient, setup_context=_gather_qmm_save)

# ---- products ----


def gather_mm(
    a: torch.Tensor,
    b: torch.Tensor,
    /,
    lhs_indices: Optional[torch.Tensor] = None,
    rhs_indices: Optional[torch.Tensor] = None,
    *,
    sorted_indices: bool = False,
    context: Optional[Context] = None,
    out: Optional[torch.Tensor] = None,
) -> torch.Tensor:
    """`gathermm.gather_mm` of tensors, ``out[p] = a[lhs_indices[p]] @ b[rhs_indices[p]]``, with gradients of a and b.

    a is (..., M, K), b is (..., K, N), the result P + (M, N). With ``out=`` there are no gradients.

    >>> import torch, gathermm.torch
    >>> tokens, experts = torch.ones(3, 1, 4), torch.ones(2, 4, 5, requires_grad=True)
    >>> y = gathermm.torch.gather_mm(tokens, experts, rhs_indices=torch.tensor([1, 0, 1]))
    >>> y.sum().backward()
    >>> y.shape, experts.grad[:, 0, 0]
    (torch.Size([3, 1, 5]), tensor([1., 2.]))
    """
    _check(a=a, b=b, lhs_indices=lhs_indices, rhs_indices=rhs_indices, out=out)
    if out is not None:
        _refuse_gradients("with out= there are none", a=a, b=b, out=out)
        return ops.gather_mm(  # type: ignore[no-any-return, unused-ignore]
            a.detach(), b.detach(), lhs_indices, rhs_indices, sorted_indices=sorted_indices, context=context,
            out=out,
        )  # fmt: skip
    row, column = a.dim() == 1, b.dim() == 1
    result: torch.Tensor = _gather_mm_op(
        a.unsqueeze(0) if row else a, b.unsqueeze(1) if column else b, lhs_indices, rhs_indices, sorted_indices,
        _context_text(context),
    )  # fmt: skip
    result = result.squeeze(-1) if column else result
    return result.squeeze(-1 if column else -2) if row else result


def gather_qmm(
    x: torch.Tensor,
    w: torch.Tensor,
    /,
    scales: torch.Tensor,
    biases: Optional[torch.Tensor] = None,
    lhs_indices: Optional[torch.Tensor] = None,
    rhs_indices: Optional[torch.Tensor] = None,
    transpose: bool = True,
    group_size: Optional[int] = None,
    bits: Optional[int] = None,
    mode: str = "affine",
    global_scale: Any = None,
    *,
    sorted_indices: bool = False,
    context: Optional[Context] = None,
    out: Optional[torch.Tensor] = None,
) -> torch.Tensor:
    """`gathermm.gather_qmm` of tensors, ``out[p] = x[lhs_indices[p]] @ W[rhs_indices[p]]``, with gradients of x.

    Shapes are those of `gathermm.gather_qmm`. With ``out=`` there are no gradients.

    >>> import torch, gathermm.torch
    >>> w, scales = gathermm.torch.quantize(torch.ones(2, 8, 32), mode="mxfp4")
    >>> x = torch.ones(3, 1, 32, requires_grad=True)
    >>> y = gathermm.torch.gather_qmm(x, w, scales, rhs_indices=torch.tensor([1, 0, 1]), mode="mxfp4")
    >>> y.sum().backward()
    >>> y.shape, y[0, 0, 0].item(), x.grad[0, 0, 0].item()
    (torch.Size([3, 1, 8]), 32.0, 8.0)
    """
    w, global_scale = _words(w), _scalar(global_scale)
    _check(x=x, w=w, scales=scales, biases=biases, lhs_indices=lhs_indices, rhs_indices=rhs_indices, out=out,
           global_scale=global_scale)  # fmt: skip
    _refuse_gradients("only x may", scales=scales, biases=biases, global_scale=global_scale)
    if out is not None:
        _refuse_gradients("with out= there are none", x=x, out=out)
        return ops.gather_qmm(  # type: ignore[no-any-return, unused-ignore]
            x.detach(), w, scales, biases, lhs_indices, rhs_indices, transpose, group_size, bits, mode, global_scale,
            sorted_indices=sorted_indices, context=context, out=out,
        )  # fmt: skip
    result: torch.Tensor = _gather_qmm_op(
        x, w, scales, biases, lhs_indices, rhs_indices, transpose, group_size, bits, mode, global_scale,
        sorted_indices, _context_text(context),
    )  # fmt: skip
    return result


def quantized_matmul(
    x: torch.Tensor,
    w: torch.Tensor,
    /,
    scales: torch.Tensor,
    biases: Optional[torch.Tensor] = None,
    transpose: bool = True,
    group_size: Optional[int] = None,
    bits: Optional[int] = None,
    mode: str = "affine",
    global_scale: Any = None,
    *,
    context: Optional[Context] = None,
    out: Optional[torch.Tensor] = None,
) -> torch.Tensor:
    """`gathermm.quantized_matmul` of tensors, ``x @ W``, with gradients of x; with ``out=`` without.

    >>> import torch, gathermm.torch
    >>> parts = gathermm.torch.quantize(torch.eye(32), mode="mxfp8")
    >>> gathermm.torch.quantized_matmul(torch.ones(2, 32), *parts, mode="mxfp8").sum()
    tensor(64.)
    """
    _check(x=x, w=w, out=out)
    row = x.dim() == 1 and w.dim() == 2
    result = gather_qmm(
        x.unsqueeze(0) if row else x, w, scales, biases, None, None, transpose, group_size, bits, mode, global_scale,
        context=context, out=out.unsqueeze(0) if row and out is not None else out,
    )  # fmt: skip
    return out if out is not None else result.squeeze(0) if row else result


# ---- what has no gradients ----

F = TypeVar("F", bound=Callable[..., Any])


def _uncompiled(function: F) -> F:
    return _untyped.compiler.disable(function)  # type: ignore[no-any-return]


def _plain(given: Any, name: str, what: str) -> Any:
    """The same with tensors that are detached and checked, in tuples, lists and the classes of `layer` too."""
    if isinstance(given, torch.Tensor):
        if given.device.type == "meta":
            raise ValueError(f'{name} is on "meta", and {what} of such')
        _check(**{name: given})
        _refuse_gradients(what, **{name: given})
        return given.detach()
    if isinstance(given, (Experts, Projection, Routing)):
        fields = {f.name: getattr(given, f.name) for f in dataclasses.fields(given)}
        return dataclasses.replace(given, **{key: _plain(value, key, what) for key, value in fields.items()})
    if isinstance(given, (tuple, list)):
        parts = [_plain(part, f"{name}[{i}]", what) for i, part in enumerate(given)]
        if isinstance(given, list):
            return parts
        return (_words(parts[0]), *parts[1:]) if parts else ()  # packed weights come first in their tuple
    return given


@_uncompiled
def quantize(w: torch.Tensor, /, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, ...]:
    """`gathermm.quantize` of a tensor; the rest of its arguments too.

    >>> import torch, gathermm.torch
    >>> [part.dtype for part in gathermm.torch.quantize(torch.ones(2, 64))]
    [torch.uint32, torch.float32, torch.float32]
    """
    _check(w=w)
    return ops.quantize(_plain(w, "w", "quantize has none"), *args, **kwargs)


@_uncompiled
def dequantize(w: torch.Tensor, /, scales: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """`gathermm.dequantize` of tensors; the rest of its arguments too. dtype is PyTorch's or a name.

    >>> import torch, gathermm.torch
    >>> parts = gathermm.torch.quantize(torch.ones(2, 32), mode="mxfp4")
    >>> gathermm.torch.dequantize(*parts, mode="mxfp4", dtype=torch.float32).sum()
    tensor(64.)
    """
    _check(w=w, scales=scales)
    args, kwargs = _plain(args, "argument", "dequantize has none"), {
        key: _plain(value, key, "dequantize has none") for key, value in kwargs.items()
    }
    scales = _plain(scales, "scales", "dequantize has none")
    return ops.dequantize(  # type: ignore[no-any-return, unused-ignore]
        _plain(_words(w), "w", "dequantize has none"), scales, *args, **kwargs
    )


@_uncompiled
def moe(x: torch.Tensor, experts: Experts, *args: Any, **kwargs: Any) -> torch.Tensor:
    """`gathermm.moe` of tensors; the rest of its arguments too, and formulas there.

    >>> import torch, gathermm.torch
    >>> experts = gathermm.torch.Experts(up=torch.ones(4, 8, 16), down=torch.ones(4, 16, 8))
    >>> ids, weights = torch.tensor([[0, 3]]), torch.tensor([[0.5, 0.25]])
    >>> gathermm.torch.moe(torch.ones(1, 16), experts, ids, weights, activation="relu_squared")[0, 0]
    tensor(1536.)
    """
    _check(x=x)
    what = "moe has none"
    args = tuple(_plain(value, name, what) for name, value in zip(("ids", "weights"), args)) + args[2:]
    kwargs = {key: _plain(value, key, what) for key, value in kwargs.items()}
    return layer.moe(  # type: ignore[no-any-return, unused-ignore]
        _plain(x, "x", what), _plain(experts, "experts", what), *args, **kwargs
    )


@_uncompiled
def route(
    logits: torch.Tensor, routing: Routing, *, context: Optional[Context] = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`gathermm.route` of a tensor.

    >>> import torch, gathermm.torch
    >>> gathermm.torch.route(torch.tensor([[0.0, 3.0, 1.0]]), gathermm.torch.Routing(2))[0]
    tensor([[1, 2]], dtype=torch.int32)
    """
    _check(logits=logits)
    what = "route has none"
    return layer.route(_plain(logits, "logits", what), _plain(routing, "routing", what), context=context)


# ---- Transformers ----

# Transformers' classes of activations that the library has, but for what `register_experts` composes.
_ACTIVATIONS = {
    "SiLU": "silu",
    "SiLUActivation": "silu",
    "GELUActivation": "gelu",
    "GELUTanh": "gelu_tanh",
    "ReLUSquaredActivation": "relu_squared",
}


def _fused(module: Any, default_gate: Any) -> Optional[dict[str, Any]]:
    """How `moe` computes what the module's experts do; None where it has no such function."""
    options = {"gated": module.has_gate, "layout": "concatenated", "alpha": None, "limit": None}
    activation = _ACTIVATIONS.get(type(getattr(module, "act_fn", None)).__name__)
    if module.has_post_expert_norm:
        return None
    if module.has_gate and type(module)._apply_gate is not default_gate:
        if type(module).__name__ != "GptOssExperts":
            return None
        options.update(layout="interleaved", alpha=float(module.alpha), limit=float(module.limit))
        activation = "swiglu_clamped"
    return None if activation is None else {**options, "activation": activation}


def _composed(module: Any, x: Any, ids: Any, weights: Any, first: Any, down: Any, context: Optional[Context]) -> Any:
    """The layer of gather_mm and the module's own functions: any gate and norm, with gradients."""
    chosen = ids.reshape(-1)
    skipped, chosen = chosen < 0, chosen.clamp(min=0)
    tokens = torch.arange(len(x)).repeat_interleave(ids.shape[-1])
    y = gather_mm(x.unsqueeze(1), first[0].mT, tokens, chosen, context=context).squeeze(1)
    y = y if first[1] is None else y + first[1][chosen]
    y = module._apply_gate(y) if module.has_gate else module.act_fn(y)
    y = gather_mm(y.unsqueeze(1), down[0].mT, None, chosen, context=context).squeeze(1)
    y = y if down[1] is None else y + down[1][chosen]
    y = module.post_expert_norm(y) if module.has_post_expert_norm else y
    y = y * weights.reshape(-1, 1).masked_fill(skipped.unsqueeze(-1), 0)
    return y.reshape(*ids.shape, -1).sum(1).to(x.dtype)


def register_experts(name: str = "gathermm", *, context: Optional[Context] = None) -> None:
    """Register an experts implementation with Transformers (5.0 or newer), for models on the CPU::

        gathermm.torch.register_experts()
        model.set_experts_implementation("gathermm")

    Without gradients a layer of experts is one call of `moe`, with f32 between its steps, where its activation is one of
    moe's (SiLU, GELU, its tanh form, squared ReLU; gpt-oss's). Other activations and gates, and layers with gradients,
    are products of `gather_mm` between the model's own functions.
    """
    theirs: Any = importlib.import_module("transformers.integrations.moe")  # so mypy need not read all of Transformers
    text = _context_text(context)

    def forward(self: Any, hidden_states: Any, top_k_index: Any, top_k_weights: Any) -> Any:
        first, down = self.gate_up_proj if self.has_gate else self.up_proj, self.down_proj
        first_bias = down_bias = None
        if self.has_bias:
            first_bias, down_bias = self.gate_up_proj_bias if self.has_gate else self.up_proj_bias, self.down_proj_bias
        if self.is_transposed:
            first, down = first.mT, down.mT
        _check(hidden_states=hidden_states, first=first, down=down)
        ids = top_k_index
        if self._is_expert_parallel:  # experts that are elsewhere have a number beyond the last
            ids = torch.where(ids < self.num_experts, ids, -1)
        fused = _fused(self, theirs._default_apply_gate)
        if fused is None or _wants_gradients(hidden_states, top_k_weights, first, first_bias, down, down_bias):
            return _composed(
                self, hidden_states, ids, top_k_weights, (first, first_bias), (down, down_bias), context
            )
        return _experts_op(
            hidden_states, ids, top_k_weights, first, first_bias, down, down_bias, **fused, context=text
        )

    theirs.ALL_EXPERTS_FUNCTIONS.register(name, forward)
