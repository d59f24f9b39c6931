# The compiled half of the package; ops.py is what to call.
from typing import Any, Callable, Optional, Union, final

version: str

@final
class Context:
    def __new__(cls, threads: int = 0, cpu_mask: Optional[str] = None, arithmetic: str = "f32") -> Context: ...
    @property
    def threads(self) -> int: ...
    @property
    def cpu_mask(self) -> Optional[str]: ...
    @property
    def arithmetic(self) -> str: ...

def setup(ndarray: type, empty: Callable[..., Any], asarray: Callable[..., Any], finish: Callable[..., Any], /) -> None: ...
def capsule(array: Any, is_bfloat16: bool, /) -> Any: ...
def info(context: Optional[Context], /) -> dict[str, Any]: ...
def gather_mm(
    explain: bool,
    a: Any,
    b: Any,
    lhs_indices: Any,
    rhs_indices: Any,
    sorted_indices: bool,
    context: Optional[Context],
    out: Any,
    /,
) -> Any: ...
def gather_qmm(
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
    /,
) -> Any: ...
def quantize(
    w: Any,
    group_size: Optional[int],
    bits: Optional[int],
    mode: str,
    global_scale: Any,
    exponent_rule: int,
    tie_rule: int,
    context: Optional[Context],
    /,
) -> tuple[Any, ...]: ...
def dequantize(
    w: Any,
    scales: Any,
    biases: Any,
    group_size: Optional[int],
    bits: Optional[int],
    mode: str,
    global_scale: Any,
    dtype: int,
    context: Optional[Context],
    out: Any,
    /,
) -> Any: ...
def fp8(x: Any, dtype: int, out: Any, /) -> Any: ...
def moe(
    x: Any,
    ids: Any,
    weights: Any,
    experts: tuple[Any, ...],
    shared: Optional[tuple[Any, ...]],
    shared_gate: Any,
    routing: Optional[tuple[Any, ...]],
    activation: int,
    alpha: float,
    limit: float,
    context: Optional[Context],
    out: Any,
    /,
) -> Any: ...
def route(routing: tuple[Any, ...], logits: Any, context: Optional[Context], /) -> tuple[Any, Any]: ...
