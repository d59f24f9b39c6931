"""arrays - results as the caller's kind of array, and element types by any package's name for them."""

from __future__ import annotations

import sys
from typing import Any

import numpy

from . import _core

# The numbers of gmm_dtype.
_FLOATS = {"float16": 10, "bfloat16": 11, "float32": 12}


class _Export:
    """A new NumPy array for another package's from_dlpack; uint16 may stand for bf16, which NumPy does not have."""

    def __init__(self, array: Any, is_bfloat16: bool) -> None:
        self._array = array
        self._is_bfloat16 = is_bfloat16

    def __dlpack__(self, **_: Any) -> Any:
        return _core.capsule(self._array, self._is_bfloat16)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def _package(array: Any) -> str:
    return type(array).__module__.partition(".")[0]


def _bfloat16_dtype(like: Any) -> Any:
    dtype = getattr(like, "dtype", None)
    if getattr(dtype, "name", None) == "bfloat16":
        return dtype
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError(
            "the result is bfloat16, which NumPy arrays hold only with the package ml_dtypes: install it, or ask for "
            "another type with dtype= or out="
        ) from None
    return numpy.dtype(ml_dtypes.bfloat16)


def finish(like: Any, array: Any, is_bfloat16: bool) -> Any:
    """`array`, made here, as the kind of array that `like` is. The core calls this unless both are plain NumPy."""
    package = _package(like)
    if package == "torch":
        return sys.modules["torch"].from_dlpack(_Export(array, is_bfloat16))
    if package == "mlx":
        mx = sys.modules["mlx.core"]
        return getattr(mx, "from_dlpack", mx.array)(_Export(array, is_bfloat16))
    if not isinstance(like, numpy.ndarray) and hasattr(like, "__array_namespace__"):
        return like.__array_namespace__().from_dlpack(_Export(array, is_bfloat16))
    return array.view(_bfloat16_dtype(like)) if is_bfloat16 else array


def float_number(dtype: Any) -> int:
    """The library's number of a floating type: NumPy's, ml_dtypes', torch's, MLX's or JAX's, or a name."""
    name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None) or getattr(dtype, "name", None)
    name = str(name or dtype).rpartition(".")[2]
    number = _FLOATS.get(name)
    if number is None:
        raise ValueError(f"dtype is {dtype}; it is one of float32, float16 and bfloat16")
    return number


def writable(out: Any) -> Any:
    """`out`, unless its package says that arrays never change."""
    if _package(out) in ("mlx", "jax", "jaxlib"):
        raise TypeError(f"out is a {type(out).__module__}.{type(out).__name__}: arrays of that kind never change")
    return out


def scalar(number: Any) -> Any:
    """A global scale: an array as it is, a Python number as the float32 that it is near."""
    return numpy.array(number, numpy.float32) if isinstance(number, (float, int)) else number


_core.setup(numpy.ndarray, numpy.empty, numpy.asarray, finish)
