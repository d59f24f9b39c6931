# test_package_plot.py - gathermm.plot: what is drawn is what was measured.
# SPDX-License-Identifier: MIT
import doctest
import json
import pathlib
import subprocess
import sys

import matplotlib
import ml_dtypes
import numpy as np
import pytest

matplotlib.use("Agg")

import gathermm  # noqa: E402
import gathermm.plot  # noqa: E402

TINYMOE = pathlib.Path(__file__).resolve().parent.parent.parent / "examples" / "tinymoe"


@pytest.fixture(autouse=True)
def closed():
    yield
    matplotlib.pyplot.close("all")


def points(axes):
    return sorted(tuple(map(float, line.get_xydata()[0])) for line in axes.lines if len(line.get_xydata()) == 1)


def test_roofline_of_a_real_run(tmp_path):
    file = tmp_path / "bench.json"
    subprocess.run([sys.executable, "-m", "gathermm", "bench", "--preset", "seed", "--tokens", "1,8", "--formats", "f32,mxfp4",
                    "--activations", "f32", "--threads", "1,2", "--seconds", "0.01", "--json", str(file)],
                   check=True, capture_output=True, timeout=100)
    rows = json.loads(file.read_text())
    figure, axes = gathermm.plot.roofline(file)
    assert [a.get_title() for a in axes] == ["1 thread", "2 threads"]
    for number, panel in enumerate(axes, 1):
        mine = [row for row in rows if row["threads"] == number]
        assert len(mine) == 4
        assert points(panel) == sorted((row["gflop_s"] / row["gbytes_s"], row["gflop_s"]) for row in mine)
        names = {row["ceiling"] for row in mine}
        assert {text.get_text().split()[0] for text in panel.texts} == names
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["f32", "mxfp4", "1 token", "8 tokens"]
    figure.savefig(tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").read_bytes()[:4] == b"\x89PNG"
    _, axes = gathermm.plot.roofline(rows, threads=2)
    assert [a.get_title() for a in axes] == ["2 threads"]
    with pytest.raises(ValueError, match="no rows of 3 threads"):
        gathermm.plot.roofline(rows, threads=3)
    file.write_text('[{"format": "f32"}]')
    with pytest.raises(ValueError, match="no rows of `gathermm bench --json`"):
        gathermm.plot.roofline(file)


def test_quantization_errors():
    w = np.random.default_rng(0).normal(size=(3, 16, 128)).astype(np.float32)
    rows = gathermm.plot.quantization_errors({"w": w, "odd": w[:, :, :100], "flat": w[0, 0]})
    assert len(rows) == 21 and {row.name for row in rows} == {"w"}
    for row in rows:
        form = {"mode": row.mode, "group_size": row.group_size, "bits": row.bits}
        values = gathermm.dequantize(*gathermm.quantize(w, **form), **form, dtype="float32")
        off = values.astype(np.float64) - w
        assert row.error == pytest.approx(np.linalg.norm(off) / np.linalg.norm(w.astype(np.float64)), rel=1e-12)
        scale = {"affine": 64, "nvfp4": 8}.get(row.mode, 8)
        assert row.bits_per_weight == row.bits + scale / row.group_size
    half = gathermm.plot.quantization_errors(w.astype(ml_dtypes.bfloat16), formats=[("affine", 64, 4)])
    assert half[0].bits_per_weight == 4.5
    part = gathermm.plot.quantization_errors(w, formats=[("mxfp8", 32, 8)], most=128 * 12)
    form = {"mode": "mxfp8", "group_size": 32, "bits": 8}
    rows = w.reshape(48, 128)[::4]
    off = gathermm.dequantize(*gathermm.quantize(rows, **form), **form, dtype="float32").astype(np.float64) - rows
    assert part[0].error == pytest.approx(np.linalg.norm(off) / np.linalg.norm(rows.astype(np.float64)), rel=1e-12)
    assert gathermm.plot.quantization_errors(np.zeros((2, 128)))[0].error == 0
    with pytest.raises(ValueError, match="no array"):
        gathermm.plot.quantization_errors(w[:, :, :100])


def test_error_against_bits(tmp_path):
    rows = gathermm.plot.quantization_errors(TINYMOE, most=2**14)
    assert len(rows) % 21 == 0 and len({row.name for row in rows}) > 70
    figure, axes = gathermm.plot.error_against_bits(rows)
    labels = [line.get_label() for line in axes.lines if not line.get_label().startswith("_")]
    assert labels == ["affine, groups of 32", "affine, groups of 64", "affine, groups of 128", "mxfp4", "nvfp4", "mxfp8"]
    line = next(line for line in axes.lines if line.get_label() == "affine, groups of 64")
    mine = [[row for row in rows if (row.mode, row.group_size, row.bits) == ("affine", 64, bits)] for bits in (2, 3, 4, 5, 6, 8)]
    assert line.get_ydata() == pytest.approx([np.sqrt(np.mean([r.error**2 for r in group])) for group in mine], rel=1e-12)
    assert (np.diff(line.get_ydata()) < 0).all() and line.get_xdata() == pytest.approx([2.5, 3.5, 4.5, 5.5, 6.5, 8.5])
    figure.savefig(tmp_path / "errors.png")
    again, same = gathermm.plot.error_against_bits({"w": np.eye(128)}, axes=axes)
    assert again is figure and same is axes
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 16)
    with pytest.raises(ValueError, match="no safetensors file"):
        gathermm.plot.error_against_bits(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="has no safetensors files"):
        gathermm.plot.error_against_bits(tmp_path)


def test_doctests():
    result = doctest.testmod(gathermm.plot)
    assert result.attempted >= 8 and result.failed == 0
