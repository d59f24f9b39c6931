"""gathermm - gathered (mixture-of-experts) matrix products on CPUs, with MLX's names and formats.

    out[p] = lhs[lhs_indices[p]] @ rhs[rhs_indices[p]]

Arrays of NumPy, and of any package that has ``__dlpack__`` (as MLX on the CPU has), are used where they lie;
results are of the kind of the first argument. A result depends on its operands alone: not on threads, on alignment, on
the other rows of the batch, or on what memory held before.
"""

from ._core import Context
from ._core import version as __version__
from .layer import Experts, Projection, Routing, moe, route
from .ops import (
    dequantize,
    explain,
    from_fp8,
    gather_mm,
    gather_qmm,
    info,
    quantize,
    quantized_matmul,
    to_fp8,
)

__all__ = [
    "Context",
    "Experts",
    "Projection",
    "Routing",
    "__version__",
    "dequantize",
    "explain",
    "from_fp8",
    "gather_mm",
    "gather_qmm",
    "info",
    "moe",
    "quantize",
    "quantized_matmul",
    "route",
    "to_fp8",
]
