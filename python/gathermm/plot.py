"""gathermm.plot - pictures by matplotlib: the roofline of a benchmark, the error of weight formats against their size.

Only ``import gathermm.plot`` imports matplotlib: ``pip install gathermm[plot]``. Functions return (figure, axes); save with
``figure.savefig("picture.png")``.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Optional, Union

import numpy

try:
    from matplotlib import pyplot  # type: ignore[import-not-found, unused-ignore]
    from matplotlib.lines import Line2D  # type: ignore[import-not-found, unused-ignore]
except ImportError as error:
    raise ImportError("gathermm.plot needs matplotlib: pip install matplotlib") from error

from . import ops
from .arrays import _bfloat16_dtype

__all__ = ["FormatError", "error_against_bits", "quantization_errors", "roofline"]

# Far apart in hue and lightness (from Paul Tol's schemes): the colors of `gathermm bench --plot`.
_COLORS = ["#222222", "#4477aa", "#cc6677", "#117733", "#ddaa33", "#66ccee", "#882255", "#44aa99", "#999933", "#332288",
           "#aa4499", "#777777"]  # fmt: skip
_MARKERS = "os^vDPX<>*"
_GROUPS = (32, 64, 128)
_FORMATS = [("affine", group_size, bits) for group_size in _GROUPS for bits in (2, 3, 4, 5, 6, 8)] + [
    ("mxfp4", 32, 4), ("nvfp4", 16, 4), ("mxfp8", 32, 8)]  # fmt: skip

# ---- roofline ----


def _rows(bench: Any) -> list[dict[str, Any]]:
    if isinstance(bench, (str, os.PathLike)):
        with open(bench, encoding="utf-8") as file:
            bench = json.load(file)
    rows = list(bench)
    for row in rows:
        if not isinstance(row, dict) or not {"threads", "format", "gflop_s", "gbytes_s", "ceiling"} <= row.keys():
            raise ValueError("these are no rows of `gathermm bench --json`")
    return [row for row in rows if row["gflop_s"] and row["gbytes_s"]]


def _draw_roofs(axes: Any, rows: list[dict[str, Any]]) -> None:
    """Reading's slope, and a level for each rate of arithmetic, as far as the rows met them."""
    rates = {row["ceiling"]: row["ceiling_rate"] for row in rows if row["ceiling"] and row["ceiling_rate"]}
    low, high = axes.get_xlim()
    read = rates.pop("read", None)
    levels = {name: rate for name, rate in rates.items() if "int8" not in name}  # operations of another kind
    top = max(levels.values(), default=None)
    if read:
        end = min(high, top / read) if top else high
        axes.plot([low, end], [low * read, end * read], color="black", linewidth=1)
        axes.annotate(f"read {read:.3g} GB/s", (low, low * read), xytext=(14, 0), textcoords="offset points", fontsize=8)
    for name, rate in levels.items():
        start = max(low, rate / read) if read else low
        axes.plot([start, max(high, start)], [rate, rate], color="black", linewidth=1)
        axes.annotate(f"{name} {rate:.3g}", (high, rate), xytext=(-4, 4), textcoords="offset points", fontsize=8,
                      horizontalalignment="right")  # fmt: skip
    axes.set_xlim(low, max(high, low * 2))


def roofline(bench: Any, *, threads: Optional[int] = None) -> tuple[Any, Any]:
    """The roofline of `gathermm bench --json FILE`: operations a byte against GFLOP/s, a panel for each number of threads.

    A point is a row: its color is the format, its shape the number of tokens. The lines are the ceilings that bound the rows,
    measured in the same run.

    Args:
        bench: the file's path, or its rows.
        threads: only the panel of this number.

    Returns:
        The figure, and an array of its axes.

    >>> row = {"threads": 1, "format": "f32", "tokens": 1, "gflop_s": 5.0, "gbytes_s": 10.0, "ceiling": "read",
    ...        "ceiling_rate": 12.0}
    >>> figure, axes = roofline([row])
    >>> axes[0].get_ylabel()
    'GFLOP/s'
    """
    rows = [row for row in _rows(bench) if threads is None or row["threads"] == threads]
    if not rows:
        raise ValueError("there are no rows" + ("" if threads is None else f" of {threads} threads"))
    keys: tuple[str, ...] = ("threads", "format", "tokens")
    numbers, formats, tokens = (list(dict.fromkeys([row.get(key, 0) for row in rows])) for key in keys)
    figure, panels = pyplot.subplots(
        1, len(numbers), figsize=(6.2 * len(numbers) + 1.5, 4.6), squeeze=False, sharey=True, layout="constrained"
    )
    for axes, number in zip(panels[0], numbers):
        mine = [row for row in rows if row["threads"] == number]
        for row in mine:
            axes.plot(
                row["gflop_s"] / row["gbytes_s"], row["gflop_s"], linestyle="none",
                marker=_MARKERS[tokens.index(row.get("tokens", 0)) % len(_MARKERS)],
                color=_COLORS[formats.index(row["format"]) % len(_COLORS)],
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="operations a byte", title=f"{number} thread{'s' * (number > 1)}")
        _draw_roofs(axes, mine)
        axes.grid(True, which="major", alpha=0.3)
    panels[0][0].set_ylabel("GFLOP/s")
    legend = [
        Line2D([], [], linestyle="none", marker="s", color=_COLORS[i % len(_COLORS)], label=name)
        for i, name in enumerate(formats)
    ]
    legend += [
        Line2D([], [], linestyle="none", marker=_MARKERS[i % len(_MARKERS)], color="none", markeredgecolor="black",
               label=f"{count} token{'s' * (count != 1)}") for i, count in enumerate(tokens) if count
    ]  # fmt: skip
    figure.legend(handles=legend, loc="outside right center", fontsize=8, frameon=False)
    return figure, panels[0]


# ---- error against bits ----


class FormatError(NamedTuple):
    """What a format costs an array: sqrt(sum (w - w_q)**2 / sum w**2), and its bits for each weight, scales included."""

    name: str
    mode: str
    group_size: int
    bits: int
    bits_per_weight: float
    error: float


def _tensors(path: str) -> Iterator[tuple[str, Any]]:
    """The floating arrays of a safetensors file, mapped."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if length > size - 8:
            raise ValueError(f"{path} is no safetensors file")
        header = json.loads(file.read(length))
    for name, entry in header.items():
        types = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
        if name == "__metadata__" or entry["dtype"] not in types or 0 in entry["shape"]:
            continue
        begin = 8 + length + entry["data_offsets"][0]
        array = numpy.memmap(path, types[entry["dtype"]], "r", begin, tuple(entry["shape"]))
        yield name, array.view(_bfloat16_dtype(None)) if entry["dtype"] == "BF16" else array


def _named(weights: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(weights, (str, os.PathLike)):
        path = os.fspath(weights)
        files = [path] if not os.path.isdir(path) else sorted(
            os.path.join(path, name) for name in os.listdir(path) if name.endswith(".safetensors")
        )  # fmt: skip
        if not files:
            raise ValueError(f"{path} has no safetensors files")
        for file in files:
            yield from _tensors(file)
    elif isinstance(weights, Mapping):
        yield from weights.items()
    else:
        yield "weights", weights


def quantization_errors(
    weights: Any, *, formats: Optional[Iterable[tuple[str, int, int]]] = None, most: int = 2**22
) -> list[FormatError]:
    """What every format costs every array.

    Args:
        weights: a NumPy array, a dictionary of such, a safetensors file, or a folder of them. Of a dictionary or file
            arrays of two or more axes count whose last is a multiple of the formats' group sizes.
        formats: (mode, group_size, bits); all by default.
        most: of larger arrays, evenly spaced rows with about this many elements.

    >>> import numpy as np
    >>> rows = quantization_errors(np.random.default_rng(0).normal(size=(64, 128)), formats=[("affine", 64, 4), ("mxfp8", 32, 8)])
    >>> [(row.mode, row.bits_per_weight, round(row.error, 2)) for row in rows]
    [('affine', 5.0, 0.09), ('mxfp8', 8.25, 0.03)]
    """
    wanted = list(_FORMATS if formats is None else formats)
    found = []
    for name, array in _named(weights):
        array = numpy.asarray(array)
        if array.ndim < 2 or not array.size or any(array.shape[-1] % group_size for _, group_size, _ in wanted):
            continue
        flat = array.reshape(-1, array.shape[-1])
        flat = numpy.ascontiguousarray(flat[:: max(1, flat.size // most)])
        if flat.dtype == numpy.float64:
            flat = flat.astype(numpy.float32)
        exact = flat.astype(numpy.float64)
        size = float(numpy.square(exact).sum())
        for mode, group_size, bits in wanted:
            form: dict[str, Any] = {"mode": mode, "group_size": group_size, "bits": bits}
            parts: Any = ops.quantize(flat, **form)
            values = ops.dequantize(parts[0], parts[1], (*parts, None)[2], **form, dtype="float32")
            off = values.astype(numpy.float64) - exact
            error = float(numpy.sqrt(numpy.square(off).sum() / size)) if size else 0.0
            bits_per_weight = 8 * sum(part.nbytes for part in parts) / flat.size
            found.append(FormatError(name, mode, group_size, bits, bits_per_weight, error))
    if not found:
        raise ValueError("there is no array of two or more axes whose last is a multiple of the group sizes")
    return found


def error_against_bits(weights: Any, *, axes: Any = None, most: int = 2**22) -> tuple[Any, Any]:
    """The error of each weight format against its bits for a weight: a small point for each array, lines through their means.

    The error of an array is sqrt(sum (w - w_q)**2 / sum w**2); the mean is the square root of their mean square.

    Args:
        weights: as for `quantization_errors`, or its result.
        axes: matplotlib axes to draw into; new ones by default.
        most: as for `quantization_errors`.

    >>> import numpy as np
    >>> figure, axes = error_against_bits(np.random.default_rng(0).normal(size=(64, 128)).astype(np.float32))
    >>> axes.get_xlabel()
    'bits for a weight, scales included'
    """
    rows = weights
    if not (isinstance(weights, list) and weights and all(isinstance(row, FormatError) for row in weights)):
        rows = quantization_errors(weights, most=most)
    figure, axes = pyplot.subplots(figsize=(7, 4.6), layout="constrained") if axes is None else (axes.figure, axes)
    by_series: dict[str, dict[Union[int, float], list[FormatError]]] = {}
    for row in rows:
        series = f"affine, groups of {row.group_size}" if row.mode == "affine" else row.mode
        by_series.setdefault(series, {}).setdefault(row.bits, []).append(row)
    for i, (series, points) in enumerate(by_series.items()):
        color, marker = _COLORS[(i + 1) % len(_COLORS)], _MARKERS[i % len(_MARKERS)]
        each = [row for group in points.values() for row in group]
        if len(each) > len(points):
            axes.plot([r.bits_per_weight for r in each], [r.error for r in each], ".", color=color, alpha=0.3, markersize=3)
        x = [float(numpy.mean([r.bits_per_weight for r in group])) for group in points.values()]
        y = [float(numpy.sqrt(numpy.mean([r.error**2 for r in group]))) for group in points.values()]
        axes.plot(x, y, marker=marker, color=color, label=series)
    axes.set(yscale="log", xlabel="bits for a weight, scales included", ylabel="error: |w - w_q| / |w|")
    axes.grid(True, which="both", alpha=0.3)
    axes.legend(fontsize=8, frameon=False)
    return figure, axes
