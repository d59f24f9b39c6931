"""ops - the public functions: MLX's names, argument positions and defaults, and what the C library adds to them."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Optional, TypeVar

from . import _core
from ._core import Context
from .arrays import float_number, scalar, writable

A = TypeVar("A")

_EXPONENT_RULES = {None: 0, "nearest": 1, "up": 2}
_TIE_RULES = {None: 0, "smaller": 1, "even": 2}


def gather_mm(
    a: A,
    b: Any,
    /,
    lhs_indices: Any = None,
    rhs_indices: Any = None,
    *,
    sorted_indices: bool = False,
    stream: Any = None,
    context: Optional[Context] = None,
    out: Any = None,
) -> A:
    """Gathered matrix product: ``out[p] = a[lhs_indices[p]] @ b[rhs_indices[p]]``.

    a is (..., M, K), b is (..., K, N); the result is P + (M, N), where P is the broadcast shape of the two index arrays.
    Indices count matrices in row-major order over the batch dimensions (all but the last two). An index array that is
    not given counts 0, 1, 2, ... in the shape of its operand's batch; without both, it is ``matmul(a, b)``.

    float32, float16 and bfloat16; a pair of types promotes as in MLX (float16 with bfloat16 gives float32). Sums are of
    f32 numbers, with one rounding at the end.

    Args:
        a, b: arrays of any strides; 1-D ones as in matmul.
        lhs_indices, rhs_indices: arrays of any integer type.
        sorted_indices: a hint; it never changes a result.
        stream: ignored; MLX has it.
        context: threads, instruction sets, arithmetic.
        out: an array for the result, of its shape and of float32, float16 or bfloat16. It is returned.

    Raises:
        ValueError: shapes or types that MLX refuses too, or an ``out`` that does not fit. Nothing is written then.
        IndexError: an index outside the number of matrices.

    >>> import numpy as np, gathermm
    >>> experts = np.array([[[1, 0], [0, 1]], [[2, 0], [0, 2]], [[0, 1], [1, 0]]], np.float32)
    >>> tokens = np.array([[[1, 2]], [[3, 4]]], np.float32)
    >>> gathermm.gather_mm(tokens, experts, rhs_indices=np.array([1, 2]))
    array([[[2., 4.]],
    <BLANKLINE>
           [[4., 3.]]], dtype=float32)
    """
    if out is not None:
        writable(out)
    return _core.gather_mm(False, a, b, lhs_indices, rhs_indices, sorted_indices, context, out)  # type: ignore[no-any-return]


def _quantized(
    explain: bool,
    x: Any,
    w: Any,
    scales: Any,
    biases: Any,
    lhs_indices: Any,
    rhs_indices: Any,
    transpose: bool,
    group_size: Optional[int],
    bits: Optional[int],
    mode: str,
    global_scale: Any,
    sorted_indices: bool,
    context: Optional[Context],
    out: Any,
) -> Any:
    """A product with quantized weights, or with `explain` the text about it; without indices it is `quantized_matmul`."""
    if out is not None:
        writable(out)
    if global_scale is not None:
        global_scale = scalar(global_scale)
    return _core.gather_qmm(
        explain, x, w, scales, biases, lhs_indices, rhs_indices, transpose, group_size, bits, mode, global_scale,
        sorted_indices, context, out,
    )  # fmt: skip


def gather_qmm(
    x: A,
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
    context: Optional[Context] = None,
    out: Any = None,
) -> A:
    """Gathered product with quantized weights: ``out[p] = x[lhs_indices[p]] @ W[rhs_indices[p]]``.

    W is the transpose of what `dequantize` gives for w, scales and biases, or with transpose=False just that. x is
    (..., M, K); w is (..., N, K * bits / 32) of uint32, with transpose=False (..., K, N * bits / 32); the result is
    P + (M, N) as in `gather_mm`. Weights are decoded to f32 as they are multiplied, sums are of f32 numbers, and there
    is one rounding at the end.

    Args:
        x: float32, float16 or bfloat16.
        w, scales, biases: as `quantize` makes them; biases with mode "affine" only.
        lhs_indices, rhs_indices: as in `gather_mm`.
        group_size, bits, mode: see `quantize`.
        global_scale: with mode "nvfp4" only: one float32.
        sorted_indices, stream, context, out: as in `gather_mm`.

    Raises:
        ValueError, IndexError: as `gather_mm`.

    >>> import numpy as np, gathermm
    >>> experts = np.arange(3 * 4 * 32).reshape(3, 4, 32).astype(np.float32)
    >>> w, scales, biases = gathermm.quantize(experts, group_size=32, bits=8)
    >>> x = np.ones((2, 1, 32), np.float32)
    >>> y = gathermm.gather_qmm(x, w, scales, biases, rhs_indices=np.array([2, 0]), group_size=32, bits=8)
    >>> values = gathermm.dequantize(w, scales, biases, group_size=32, bits=8)
    >>> y.shape, bool(np.allclose(y, x @ values[[2, 0]].swapaxes(1, 2)))
    ((2, 1, 4), True)
    """
    return _quantized(  # type: ignore[no-any-return]
        False, x, w, scales, biases, lhs_indices, rhs_indices, transpose, group_size, bits, mode, global_scale,
        sorted_indices, context, out,
    )  # fmt: skip


def quantized_matmul(
    x: A,
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
    context: Optional[Context] = None,
    out: Any = None,
) -> A:
    """Product with quantized weights: ``x @ W``, with W as in `gather_qmm` and batch dimensions as in matmul.

    x is (..., K) with a 2-D w; with a w of higher rank x has rank 3 or more, and the batch dimensions broadcast.

    >>> import numpy as np, gathermm
    >>> w, scales = gathermm.quantize(np.eye(32, dtype=np.float32), mode="mxfp8")
    >>> x = np.arange(32, dtype=np.float32)
    >>> bool(np.array_equal(gathermm.quantized_matmul(x, w, scales, mode="mxfp8"), x))
    True
    """
    if getattr(x, "ndim", None) == 0:
        raise IndexError("x has no dimensions; it needs one at least")  # MLX's error for this
    return _quantized(  # type: ignore[no-any-return]
        False, x, w, scales, biases, None, None, transpose, group_size, bits, mode, global_scale, False, context, out
    )


def quantize(
    w: A,
    /,
    group_size: Optional[int] = None,
    bits: Optional[int] = None,
    mode: str = "affine",
    *,
    global_scale: Any = None,
    stream: Any = None,
    context: Optional[Context] = None,
    exponent_rule: Optional[str] = None,
    tie_rule: Optional[str] = None,
) -> tuple[A, ...]:
    """Quantize groups of consecutive elements of the last axis.

    ======  ===============  ====================  ============  =============================
    mode    group_size       bits                  scales        value of code q
    ======  ===============  ====================  ============  =============================
    affine  64; 32, 128      4; 2, 3, 5, 6, 8      w's type      scale * q + bias
    mxfp4   32               4                     uint8, E8M0   E2M1(q) * 2 ** (scale - 127)
    mxfp8   32               8                     uint8, E8M0   E4M3(q) * 2 ** (scale - 127)
    nvfp4   16               4                     uint8, E4M3   E2M1(q) * E4M3(scale)
    ======  ===============  ====================  ============  =============================

    (the default first). nvfp4 with a global_scale: times global_scale / 2688 too.

    Args:
        w: float32, float16 or bfloat16, rank 2 or more, last axis a multiple of group_size.
        exponent_rule: "up" (as the newest MLX) or "nearest" (MLX up to 0.32.2), for mxfp4 and mxfp8.
        tie_rule: "smaller" (as MLX on CPUs) or "even" (as MLX on GPUs), for all but affine.

    Returns:
        (w_q, scales, biases) for affine, (w_q, scales) for the others. w_q is uint32, and its last axis holds
        cols * bits / 32 words; the last axis of scales and biases holds cols / group_size.

    >>> import numpy as np, gathermm
    >>> parts = gathermm.quantize(np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 64))
    >>> [part.shape for part in parts]
    [(2, 8), (2, 1), (2, 1)]
    """
    if exponent_rule not in _EXPONENT_RULES:
        raise ValueError(f"exponent_rule is 'nearest', 'up' or None, not {exponent_rule!r}")
    if tie_rule not in _TIE_RULES:
        raise ValueError(f"tie_rule is 'smaller', 'even' or None, not {tie_rule!r}")
    return _core.quantize(
        w, group_size, bits, mode, scalar(global_scale), _EXPONENT_RULES[exponent_rule], _TIE_RULES[tie_rule], context
    )


def dequantize(
    w: A,
    /,
    scales: Any,
    biases: Any = None,
    group_size: Optional[int] = None,
    bits: Optional[int] = None,
    mode: str = "affine",
    global_scale: Any = None,
    dtype: Any = None,
    *,
    stream: Any = None,
    context: Optional[Context] = None,
    out: Any = None,
) -> A:
    """The numbers that quantized weights stand for: see `quantize` for the formulas.

    w is (..., cols * bits / 32), the result (..., cols). Each is computed in f32 and rounded once to dtype: float32,
    float16 or bfloat16, by any package's name for it. The default is MLX's: the type of scales and biases for affine,
    else bfloat16 (in NumPy by the package ml_dtypes).

    >>> import numpy as np, gathermm
    >>> w = np.array([[1.5, -3, 0.5, 6] * 8], np.float32)
    >>> parts = gathermm.quantize(w, mode="mxfp4")
    >>> bool(np.array_equal(gathermm.dequantize(*parts, mode="mxfp4", dtype=np.float32), w))
    True
    """
    if out is not None:
        writable(out)
    number = 0 if dtype is None else float_number(dtype)
    return _core.dequantize(  # type: ignore[no-any-return]
        w, scales, biases, group_size, bits, mode, scalar(global_scale), number, context, out
    )


def to_fp8(x: A, /, *, stream: Any = None, out: Any = None) -> A:
    """The E4M3 codes (uint8) nearest to x, ties to the even code; beyond 448, and for NaN, 0x7E with x's sign.

    >>> import numpy as np, gathermm
    >>> gathermm.to_fp8(np.array([1, -2, 0.3, 1000], np.float32))
    array([ 56, 192,  42, 126], dtype=uint8)
    """
    if out is not None:
        writable(out)
    return _core.fp8(x, 0, out)  # type: ignore[no-any-return]


def from_fp8(x: A, /, dtype: Any = "bfloat16", *, stream: Any = None, out: Any = None) -> A:
    """The values of E4M3 codes (uint8, or float8_e4m3fn as bytes); 0x7F and 0xFF are NaN.

    >>> import numpy as np, gathermm
    >>> gathermm.from_fp8(np.array([56, 192, 42, 48], np.uint8), np.float32)
    array([ 1.    , -2.    ,  0.3125,  0.5   ], dtype=float32)
    """
    if out is not None:
        writable(out)
    return _core.fp8(x, float_number(dtype), out)  # type: ignore[no-any-return]


def info(context: Optional[Context] = None) -> dict[str, Any]:
    """What there is: version, build, threads, cpu_features, kernels and formats, as a dictionary.

    >>> import gathermm
    >>> sorted(gathermm.info())
    ['build', 'cpu_features', 'formats', 'kernels', 'threads', 'version']
    """
    return _core.info(context)


def explain(op: Callable[..., Any], /, *args: Any, **kwargs: Any) -> str:
    """What a product would do, without doing it: sizes, kernels, threads, bytes read; a few lines of text.

    op is `gather_mm`, `gather_qmm` or `quantized_matmul`; the rest are its arguments. Errors are those of the call.

    >>> import numpy as np, gathermm
    >>> text = gathermm.explain(gathermm.gather_mm, np.ones((2, 3), np.float32), np.ones((3, 4), np.float32))
    >>> print(type(text).__name__)
    str
    """
    if op not in (gather_mm, gather_qmm, quantized_matmul):
        raise ValueError("op is gather_mm, gather_qmm or quantized_matmul")
    bound = inspect.signature(op).bind(*args, **kwargs)
    bound.apply_defaults()
    given = bound.arguments
    if op is gather_mm:
        return _core.gather_mm(  # type: ignore[no-any-return]
            True, given["a"], given["b"], given["lhs_indices"], given["rhs_indices"], given["sorted_indices"],
            given["context"], None,
        )  # fmt: skip
    return _quantized(  # type: ignore[no-any-return]
        True, given["x"], given["w"], given["scales"], given["biases"], given.get("lhs_indices"),
        given.get("rhs_indices"), given["transpose"], given["group_size"], given["bits"], given["mode"],
        given["global_scale"], given.get("sorted_indices", False), given["context"], None,
    )  # fmt: skip
