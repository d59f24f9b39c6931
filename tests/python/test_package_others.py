# test_package_others.py - the tests of other packages' arrays, by a Python that has these packages.
# SPDX-License-Identifier: MIT
import os
import pathlib
import subprocess

import mlx.core as mx
import pytest

import gathermm

FILES = {
    "GATHERMM_TEST_TORCH": ["test_package_torch.py", "test_package_transformers.py", "test_package_types.py"],
    "GATHERMM_TEST_JAX": ["test_package_jax.py"],
}


@pytest.mark.parametrize("variable", FILES)
def test_by_another_python(variable, tmp_path):
    """This package and MLX are put on its path; it needs NumPy, ml_dtypes and pytest of its own."""
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} names no Python: PyTorch and JAX are large, and not needed otherwise")
    for package in (gathermm, mx):
        folder = pathlib.Path(package.__file__).parent
        (tmp_path / folder.name).symlink_to(folder)
    here = pathlib.Path(__file__).parent
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", *(str(here / name) for name in FILES[variable])],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    print(done.stdout[-400:])
