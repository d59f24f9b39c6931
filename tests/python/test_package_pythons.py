# test_package_pythons.py - the one wheel in the oldest and the newest other Python that there is.
# SPDX-License-Identifier: MIT
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

PROGRAM = """
import doctest, sys
import numpy as np
import gathermm, gathermm.layer, gathermm.ops
for module in (gathermm.ops, gathermm.layer):
    result = doctest.testmod(module)
    assert result.failed == 0 and result.attempted > 12, result
x = np.ones((4, 64), np.float32)
for bad in ([1.0], x.astype(">f4"), x[:, :32]):
    try:
        gathermm.quantized_matmul(bad, *gathermm.quantize(x))
    except (TypeError, ValueError):
        continue
    raise SystemExit("no error")
print(sys.version_info[:2], np.__version__)
"""


def candidates():
    """Those that GATHERMM_TEST_PYTHONS names, and those on PATH; pyenv's shims there stand for the versions beside them."""
    yield from filter(None, os.environ.get("GATHERMM_TEST_PYTHONS", "").split(os.pathsep))
    for minor in range(9, 20):
        name = shutil.which(f"python3.{minor}")
        if name:
            yield name
            yield from sorted(map(str, pathlib.Path(name).parents[1].glob(f"versions/*/bin/python3.{minor}")))


def others():
    """Pythons that can have the wheel and are not this one, oldest first."""
    found = {}
    for name in candidates():
        done = subprocess.run([name, "-c", "import ensurepip, sys; print(sys.version_info[1])"], capture_output=True, text=True,
                              timeout=30)
        minor = int(done.stdout) if done.returncode == 0 else 0  # a shim answers only for what is chosen
        if minor >= 9 and minor != sys.version_info[1]:
            found.setdefault(minor, name)
    return [found[minor] for minor in sorted(found)]


def test_oldest_and_newest(tmp_path):
    pythons = others()
    if not pythons:
        pytest.skip("there is no other Python from 3.9 on with venv; GATHERMM_TEST_PYTHONS may name some")
    wheel, = pathlib.Path(os.environ["GATHERMM_WHEELS"]).glob("*.whl")
    for number, name in enumerate(dict.fromkeys([pythons[0], pythons[-1]])):
        folder = tmp_path / str(number)
        subprocess.run([name, "-m", "venv", str(folder)], check=True, timeout=100)
        python = str(folder / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel), "ml_dtypes"],
                       check=True, timeout=200)
        done = subprocess.run([python, "-c", PROGRAM], capture_output=True, text=True, timeout=100, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr
        print(done.stdout)
