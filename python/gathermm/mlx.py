"""mlx - MLX programs on gathermm: `install()` makes MLX's gathered and quantized products on the CPU run here.

    import gathermm.mlx
    gathermm.mlx.install()

From then on ``mx.gather_mm``, ``mx.gather_qmm`` and ``mx.quantized_matmul`` are the functions below, for all that looks
them up in ``mlx.core`` when it calls them, as mlx.nn and mlx_lm do. docs/python.md says what changes and what does not.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Callable, Optional

import numpy

try:
    import mlx.core as mx  # type: ignore[import-not-found, unused-ignore]
except ImportError as error:
    raise ImportError("gathermm.mlx needs MLX with its CPU part: pip install mlx mlx-cpu") from error

from . import ops
from ._core import Context

Shape = tuple[int, ...]

_FLOATS = (mx.float32, mx.bfloat16, mx.float16)
_NVFP4_MAX = 2688.0  # a global scale of this much is 1: the largest E2M1 by the largest E4M3

_originals: dict[str, Callable[..., Any]] = {}  # MLX's own functions, while ours are installed and after
_context: Optional[Context] = None
_installed = False


class NoGradientError(ValueError, RuntimeError):
    """A gradient that MLX refuses too, by one of these two classes or the other."""


def install(context: Optional[Context] = None) -> None:
    """Make mx.gather_mm, mx.gather_qmm and mx.quantized_matmul run in gathermm; again, to change the context.

    >>> import mlx.core as mx, gathermm.mlx
    >>> gathermm.mlx.install(gathermm.Context(threads=1))
    >>> tokens, experts = mx.ones((3, 1, 4), mx.bfloat16), mx.ones((2, 4, 5), mx.bfloat16)
    >>> mx.gather_mm(tokens, experts, rhs_indices=mx.array([1, 0, 1])).shape
    (3, 1, 5)
    >>> gathermm.mlx.uninstall()
    """
    global _context, _installed
    if context is not None and not isinstance(context, Context):
        raise TypeError(f"context is a gathermm.Context or None, not {type(context)}")
    _context = context
    _installed = True
    for name, function in _REPLACEMENTS.items():
        present = getattr(mx, name)
        if present is not function:
            _originals[name] = present
            function.__doc__ = present.__doc__
            setattr(mx, name, function)


def uninstall() -> None:
    """Give MLX its functions back. Names that were imported from mlx.core in between call MLX's own from now on.

    >>> import mlx.core as mx, gathermm.mlx
    >>> own = mx.gather_mm
    >>> gathermm.mlx.install()
    >>> gathermm.mlx.uninstall()
    >>> mx.gather_mm is own
    True
    """
    global _installed
    _installed = False
    for name, function in _REPLACEMENTS.items():
        if getattr(mx, name) is function:
            setattr(mx, name, _originals[name])


# ---- which calls run here -----------------------------------------------------------------------------------------


def _runs_here(stream: Any, floats: tuple[Any, ...], others: tuple[Any, ...], optional: tuple[Any, ...]) -> bool:
    """Whether a call is for the CPU, of types that gathermm has, and with operands whose values can be had now.

    Inside mx.compile, mx.vmap and exports operands stand for values to come, and asking for them is an error. An error
    of the operands' own comes again when MLX evaluates its result.
    """
    if not _installed:
        return False
    device = mx.default_device() if stream is None else getattr(stream, "device", stream)
    if getattr(device, "type", device) != mx.cpu:
        return False
    for array in floats:
        if not isinstance(array, mx.array) or array.dtype not in _FLOATS:
            return False
    for array in others:
        if not isinstance(array, mx.array):
            return False
    for array in optional:
        if array is not None and not isinstance(array, mx.array):
            return False
    try:
        mx.eval(floats, others, optional)
    except Exception:
        return False
    return True


def _on(stream: Any) -> Any:
    return nullcontext() if stream is None else mx.stream(stream)


# ---- gradients ----------------------------------------------------------------------------------------------------
# What gathermm computes are numbers: to MLX a result has no past. Two identities of the result, whose derivatives are
# ours, give it one: `_refuse` for the operands that have no gradient, `_differentiate` for those that have. MLX calls a
# derivative only if something on the way to that identity is being differentiated, and one of products costs time
# already when it is made, so gradients of weights, which few want, are left to MLX's own lazy products.


def _refuse(result: Any, arrays: tuple[Any, ...], message: str) -> Any:
    """`result`; a derivative with respect to one of `arrays` is an error with this message."""

    def derivative(*_: Any) -> Any:
        raise NoGradientError(message)

    identity = mx.custom_function(lambda result, *arrays: result)
    identity.vjp(derivative)
    identity.jvp(derivative)
    return identity(result, *arrays)


def _differentiate(
    result: Any,
    arrays: tuple[Any, ...],
    original: Callable[..., Any],
    backward: Callable[[Any], tuple[Any, ...]],
) -> Any:
    """`result` of `original(*arrays)`; backward(cotangent) gives the gradients of all `arrays`."""

    def vjp(primals: Any, cotangent: Any, output: Any) -> tuple[Any, ...]:
        return (cotangent, *backward(cotangent))

    def jvp(primals: Any, tangents: Any) -> Any:
        wanted = [i for i, tangent in enumerate(tangents[1:]) if tangent is not None]

        def of_wanted(*values: Any) -> Any:
            given = dict(zip(wanted, values))
            return original(*(given.get(i, array) for i, array in enumerate(arrays)))

        total = [] if tangents[0] is None else [tangents[0]]
        if wanted:
            total += mx.jvp(of_wanted, [arrays[i] for i in wanted], [tangents[1 + i] for i in wanted])[1]
        return sum(total[1:], total[0])

    identity = mx.custom_function(lambda result, *arrays: result)
    identity.vjp(vjp)
    identity.jvp(jvp)
    return identity(result, *arrays)


def _matrix_numbers(left: Any, right: Any, left_batch: Shape, right_batch: Shape) -> tuple[Any, Any]:
    """Which matrices meet in each product of the result, as arrays of its batch's shape."""
    numbers = (
        numpy.arange(int(numpy.prod(batch))).reshape(batch) if index is None else numpy.array(index)
        for index, batch in ((left, left_batch), (right, right_batch))
    )
    both = numpy.broadcast_arrays(*numbers)
    return both[0], both[1]


def _sum_by_number(parts: Any, numbers: Any, count: int) -> Any:
    """out[i] = the sum of parts[p] over all p with numbers[p] = i; sums in f32."""
    parts = parts.reshape(numbers.size, *parts.shape[numbers.ndim :])
    if numbers.size == count and numpy.array_equal(numbers.reshape(-1), numpy.arange(count)):
        return parts
    sums = mx.zeros((count, *parts.shape[1:]), mx.float32)
    return sums.at[mx.array(numbers.reshape(-1))].add(parts.astype(mx.float32))


def _sum_of_outer(a: Any, a_numbers: Any, b: Any, b_numbers: Any, numbers: Any, count: int) -> Any:
    """out[j] = the sum of a[a_numbers[p]].T @ b[b_numbers[p]] over all p with numbers[p] = j, of stacks of matrices.

    One product for each j, of all its rows, so that nothing as large as products by weights is ever held.
    """
    a, b = a.astype(mx.float32), b.astype(mx.float32)
    none = mx.zeros((a.shape[-1], b.shape[-1]), mx.float32)
    flat = numbers.reshape(-1)
    order = numpy.argsort(flat, kind="stable")
    ends = numpy.searchsorted(flat[order], numpy.arange(count + 1))
    sums = []
    for j in range(count):
        chosen = order[ends[j] : ends[j + 1]]
        rows_a = a[mx.array(a_numbers.reshape(-1)[chosen])].reshape(-1, a.shape[-1]) if len(chosen) else None
        rows_b = b[mx.array(b_numbers.reshape(-1)[chosen])].reshape(-1, b.shape[-1]) if len(chosen) else None
        sums.append(none if rows_a is None or rows_b is None else rows_a.T @ rows_b)
    return mx.stack(sums) if sums else mx.zeros((0, *none.shape), mx.float32)


def _stack(array: Any) -> Any:
    """(..., rows, columns) as (count, rows, columns)."""
    return array.reshape(int(numpy.prod(array.shape[:-2])), *array.shape[-2:])


# ---- the products -------------------------------------------------------------------------------------------------


def gather_mm(
    a: Any,
    b: Any,
    /,
    lhs_indices: Any = None,
    rhs_indices: Any = None,
    *,
    sorted_indices: bool = False,
    stream: Any = None,
) -> Any:
    original = _originals["gather_mm"]
    if not _runs_here(stream, (a, b), (), (lhs_indices, rhs_indices)):
        return original(a, b, lhs_indices, rhs_indices, sorted_indices=sorted_indices, stream=stream)
    with _on(stream):
        result = ops.gather_mm(a, b, lhs_indices, rhs_indices, sorted_indices=sorted_indices, context=_context)
        indices = tuple(index for index in (lhs_indices, rhs_indices) if index is not None)
        if indices:
            message = "no gradient with respect to the indices of gather_mm: use stop_gradient on them"
            result = _refuse(result, indices, message)

        def alone(a: Any, b: Any) -> Any:
            return original(a, b, lhs_indices, rhs_indices, sorted_indices=sorted_indices)

        def backward(cotangent: Any) -> tuple[Any, ...]:
            return _gather_mm_backward(a, b, lhs_indices, rhs_indices, cotangent)

        return _differentiate(result, (a, b), alone, backward)


def _gather_mm_backward(a: Any, b: Any, left: Any, right: Any, cotangent: Any) -> tuple[Any, ...]:
    matrix_a = a[None] if a.ndim == 1 else a
    matrix_b = b[:, None] if b.ndim == 1 else b
    of_a, of_b = _matrix_numbers(left, right, matrix_a.shape[:-2], matrix_b.shape[:-2])
    cotangent = cotangent.reshape(*of_a.shape, matrix_a.shape[-2], matrix_b.shape[-1])
    stack_a, stack_b, stack = _stack(matrix_a), _stack(matrix_b), _stack(cotangent)
    if left is None and right is None:  # matmul, which MLX can map
        parts = _stack(gather_mm(cotangent, matrix_b.swapaxes(-1, -2)))
    else:
        parts = gather_mm(stack, stack_b.swapaxes(-1, -2), None, mx.array(of_b.reshape(-1)))
    da = _sum_by_number(parts, of_a.reshape(-1), stack_a.shape[0])
    db = _sum_of_outer(stack_a, of_a, stack, numpy.arange(of_a.size), of_b, stack_b.shape[0])
    return da.reshape(a.shape).astype(a.dtype), db.reshape(b.shape).astype(b.dtype)


def gather_qmm(
    x: Any,
    w: Any,
    /,
    scales: Any,
    biases: Any = None,
    lhs_indices: Any = None,
    rhs_indices: Any = None,
    transpose: bool = True,
    group_size: Optional[int] = None,
    bits: Optional[int] = None,
    mode: str = "affine",
    global_scale: Any = None,
    *,
    sorted_indices: bool = False,
    stream: Any = None,
) -> Any:
    form = {"transpose": transpose, "group_size": group_size, "bits": bits, "mode": mode}
    return _quantized(
        "gather_qmm", x, w, scales, biases, (lhs_indices, rhs_indices), form, global_scale, stream,
        {"lhs_indices": lhs_indices, "rhs_indices": rhs_indices, "sorted_indices": sorted_indices},
    )  # fmt: skip


def quantized_matmul(
    x: Any,
    w: Any,
    /,
    scales: Any,
    biases: Any = None,
    transpose: bool = True,
    group_size: Optional[int] = None,
    bits: Optional[int] = None,
    mode: str = "affine",
    global_scale: Any = None,
    *,
    stream: Any = None,
) -> Any:
    form = {"transpose": transpose, "group_size": group_size, "bits": bits, "mode": mode}
    return _quantized("quantized_matmul", x, w, scales, biases, (None, None), form, global_scale, stream, {})


def _quantized(
    name: str,
    x: Any,
    w: Any,
    scales: Any,
    biases: Any,
    indices: tuple[Any, Any],
    form: dict[str, Any],
    global_scale: Any,
    stream: Any,
    more: dict[str, Any],
) -> Any:
    """The function `name` of `ops` and of MLX; `more` are the arguments that the other one does not have."""
    original = _originals[name]
    is_affine = form["mode"] == "affine"
    floats, others = ((x, scales, biases), (w,)) if is_affine else ((x,), (w, scales))
    if not _runs_here(stream, floats, others, (biases, *indices, global_scale)):
        if global_scale is not None:
            more = {**more, "global_scale": global_scale}
        return original(x, w, scales, biases, **form, **more, stream=stream)
    with _on(stream):
        if global_scale is not None:
            return _globally_scaled(name, x, w, scales, biases, indices, form, global_scale, more)
        result = getattr(ops, name)(x, w, scales, biases, **form, **more, context=_context)
        refused = (w, *(index for index in indices if index is not None))
        given = (x, scales, biases) if is_affine else (x,)
        if not is_affine:
            refused = (scales, *refused)
        which = "quantized weights" if is_affine else f"weights and scales of mode {form['mode']}"
        result = _refuse(result, refused, f"no gradient of {name} with respect to {which}, nor to indices")

        def alone(x: Any, scales: Any = scales, biases: Any = biases) -> Any:
            return original(x, w, scales, biases, **form, **more)

        def backward(cotangent: Any) -> tuple[Any, ...]:
            return _quantized_backward(x, w, scales, biases, indices, form, cotangent)

        return _differentiate(result, given, alone, backward)


def _globally_scaled(
    name: str,
    x: Any,
    w: Any,
    scales: Any,
    biases: Any,
    indices: tuple[Any, Any],
    form: dict[str, Any],
    global_scale: Any,
    more: dict[str, Any],
) -> Any:
    """Global scales, one for all matrices or one for each, multiply the product, in f32."""
    if form["mode"] != "nvfp4":
        raise ValueError(f"global_scale is for mode 'nvfp4', not '{form['mode']}'")
    batch = w.shape[:-2]
    count = int(numpy.prod(batch))
    if global_scale.ndim > 0 and global_scale.size != count:
        raise ValueError(f"global_scale has the shape {global_scale.shape}; there are {count} matrices")
    factor = global_scale.astype(mx.float32) / _NVFP4_MAX
    if factor.ndim > 0:
        factor = factor.reshape(batch) if indices[1] is None else factor.reshape(-1)[indices[1]]
        factor = factor[..., None, None]
    product = _REPLACEMENTS[name](x.astype(mx.float32), w, scales, biases, **form, **more)
    return (product * factor).astype(x.dtype)


def _quantized_backward(
    x: Any, w: Any, scales: Any, biases: Any, indices: tuple[Any, Any], form: dict[str, Any], cotangent: Any
) -> tuple[Any, ...]:
    matrix_x = x
    if x.ndim == 1 or (w.ndim == 2 and indices == (None, None)):  # all rows meet one matrix
        matrix_x = x.reshape(-1, x.shape[-1])
    of_x, of_w = _matrix_numbers(*indices, matrix_x.shape[:-2], w.shape[:-2])
    stack_x, stack_w, stack_scales = _stack(matrix_x), _stack(w), _stack(scales)
    stack = cotangent.reshape(of_x.size, stack_x.shape[-2], cotangent.shape[-1])
    stack_biases = None if biases is None else _stack(biases)
    parts = gather_qmm(
        stack, stack_w, stack_scales, stack_biases, None, mx.array(of_w.reshape(-1)),
        **{**form, "transpose": not form["transpose"]},
    )  # fmt: skip
    dx = _sum_by_number(parts, of_x.reshape(-1), stack_x.shape[0]).reshape(x.shape).astype(x.dtype)
    if form["mode"] != "affine":
        return (dx,)

    # The gradient of the weights' values, then of the two numbers of each group: value = scale * code + bias.
    of_result = numpy.arange(of_x.size)
    pair = [(stack, of_result), (stack_x, of_x)] if form["transpose"] else [(stack_x, of_x), (stack, of_result)]
    dw = _sum_of_outer(*pair[0], *pair[1], of_w, stack_w.shape[0])
    size, bits = form["group_size"] or 64, form["bits"] or 4
    ones = mx.ones(stack_scales.shape, mx.float32)
    codes = mx.dequantize(stack_w, ones, mx.zeros_like(ones), group_size=size, bits=bits)
    groups = (*stack_scales.shape, size)
    dscales = (dw * codes).reshape(groups).sum(axis=-1).reshape(scales.shape).astype(scales.dtype)
    dbiases = dw.reshape(groups).sum(axis=-1).reshape(biases.shape).astype(biases.dtype)
    return dx, dscales, dbiases


_REPLACEMENTS: dict[str, Callable[..., Any]] = {
    "gather_mm": gather_mm,
    "gather_qmm": gather_qmm,
    "quantized_matmul": quantized_matmul,
}
