# test_package_types.py - the package and programs that use it, by mypy's strict rules; with PyTorch's types where they are.
# SPDX-License-Identifier: MIT
import importlib.util
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("mypy")

import gathermm  # noqa: E402

GOOD = """
import numpy as np, gathermm
a = np.ones((2, 2), np.float32)
b: np.ndarray = gathermm.gather_mm(a, a, context=gathermm.Context(threads=1))
experts = gathermm.Experts(up=a, down=gathermm.Projection(gathermm.quantize(a), mode="affine"))
c: np.ndarray = gathermm.moe(a, experts, a, a, activation="gelu")
text: str = gathermm.explain(gathermm.gather_mm, a, a)
"""
TORCH = """
import torch, gathermm.torch
a = torch.ones(2, 2)
b: torch.Tensor = gathermm.torch.gather_mm(a, a)
gathermm.torch.register_experts(context=gathermm.Context(2))
"""
BAD = """
import gathermm
gathermm.Context(threads="two")
gathermm.quantize(1, bits="four")
"""


def test_strictly(tmp_path):
    """All in one run, as reading NumPy's, MLX's and matplotlib's types takes most of the time."""
    (tmp_path / "gathermm").symlink_to(pathlib.Path(gathermm.__file__).parent)
    programs = {"good": GOOD, "bad": BAD}
    if importlib.util.find_spec("torch"):
        programs["tensors"] = TORCH
    for name, text in programs.items():
        (tmp_path / f"{name}.py").write_text(text.lstrip())
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", "cache", "gathermm", *(f"{name}.py" for name in programs)],
        capture_output=True, text=True, cwd=tmp_path, timeout=300)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line.split(": ")[0] for line in errors] == ["bad.py:2", "bad.py:3"], done.stdout + done.stderr
    assert all("[arg-type]" in line for line in errors)
