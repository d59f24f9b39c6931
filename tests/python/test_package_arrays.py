# test_package_arrays.py - any array in, its kind out; outputs; contexts; threads; fork; leaks; the wheel alone.
# SPDX-License-Identifier: MIT
import array
import doctest
import gc
import json
import mmap
import os
import pathlib
import re
import resource
import subprocess
import sys
import threading

import ml_dtypes
import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import gathermm
import gathermm.ops

RNG = np.random.default_rng(5)
A = RNG.integers(-8, 9, (3, 4, 6)).astype(np.float32)  # products of small integers: every sum is exact
B = RNG.integers(-8, 9, (5, 6, 7)).astype(np.float32)
INDEX = np.array([4, 0, 2])
WANT = A @ B[INDEX]


def product(a, b, index=INDEX, **kwargs):
    return gathermm.gather_mm(a, b, None, index, **kwargs)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_strides(data):
    axes = data.draw(st.permutations(range(3)))
    steps = data.draw(st.tuples(*[st.sampled_from([1, -1, 2, -3])] * 3))

    def strided(array):
        """The same numbers, laid out by the drawn order of axes and steps."""
        room = np.zeros([n * abs(s) for n, s in zip(array.shape, steps)], np.float32).transpose(axes).copy()
        view = room.transpose(np.argsort(axes))[tuple(slice(None, None, s) for s in steps)]
        view[...] = array
        return view

    a, b = strided(A), strided(B)
    assert np.array_equal(product(a, b), WANT)
    out = strided(np.zeros_like(WANT))
    assert product(a, b, out=out) is out
    assert np.array_equal(out, WANT)


def test_broadcast_read_only_empty_and_mapped(tmp_path):
    row = np.broadcast_to(A[:1, :1], (3, 4, 6))
    assert np.array_equal(product(row, B), row @ B[INDEX])
    a = A.copy()
    a.flags.writeable = False
    assert np.array_equal(product(a, B), WANT)
    with pytest.raises(ValueError, match="out is read-only"):
        product(A, B, out=np.broadcast_to(np.float32(0), WANT.shape))
    assert product(A, B, INDEX[:0].reshape(0, 1)).shape == (0, 3, 4, 7)
    assert product(A[:, :0], B).shape == (3, 0, 7)
    assert not product(A[:, :, :0], B[:, :0]).any()
    np.save(tmp_path / "b.npy", B)
    assert np.array_equal(product(A, np.load(tmp_path / "b.npy", mmap_mode="r")), WANT)


def test_mapped_safetensors_and_odd_addresses(tmp_path):
    """Tensors of a checkpoint where they lie in its pages, whatever the length of what is before them."""
    whole = (pathlib.Path(__file__).parents[2] / "examples" / "tinymoe" / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    entry = json.loads(whole[8:start])["model.layers.0.block_sparse_moe.experts.0.w1.weight"]
    x = RNG.normal(size=(2, entry["shape"][1])).astype(np.float32)
    for shift in (0, 1):
        file = tmp_path / str(shift)
        file.write_bytes(b"\0" * shift + whole)
        with open(file, "rb") as opened:
            pages = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        w = np.ndarray(entry["shape"], ml_dtypes.bfloat16, pages, shift + start + entry["data_offsets"][0])
        assert w.flags.aligned == (shift == 0) and not w.flags.writeable
        own = w.astype(np.float32)
        assert np.array_equal(gathermm.gather_mm(x, w.T), gathermm.gather_mm(x, own.T))
        parts = zip(gathermm.quantize(w), gathermm.quantize(w.copy()))
        assert all(np.array_equal(part, other) for part, other in parts)
        out = np.ndarray((2, len(w)), np.float32, bytearray(8 * len(w) + shift), shift)
        assert np.array_equal(gathermm.gather_mm(x, w.T, out=out), gathermm.gather_mm(x, own.T))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64])
def test_any_index_type(dtype):
    assert np.array_equal(product(A, B, INDEX.astype(dtype)), WANT)


def test_refused_by_name():
    with pytest.raises(ValueError, match="a is byte-swapped"):
        product(A.astype(">f4"), B)
    with pytest.raises(TypeError, match="b is no array: .*list"):
        product(A, [[1.0]])
    with pytest.raises(ValueError, match="b has an element type that is not supported"):
        product(A, B.astype(np.longdouble))
    with pytest.raises(ValueError, match="b has an element type that is not supported"):
        product(A, B.astype(object))
    uneven = np.zeros(4, [("x", "u1"), ("y", "f4")])["y"]
    with pytest.raises(ValueError, match="stride of 5 bytes"):
        gathermm.gather_mm(uneven, uneven)
    with pytest.raises(TypeError, match="never change"):
        product(A, B, out=mx.zeros(WANT.shape))
    with pytest.raises(TypeError, match="context is a gathermm.Context"):
        product(A, B, context=1)
    with pytest.raises(ValueError):
        product(A, B, out=np.zeros((3, 4, 8), np.float32))
    with pytest.raises(ValueError):
        product(A, B, out=A[:, :, :1].repeat(7, 2).astype(np.float64))
    shared = A.copy()
    with pytest.raises(ValueError):
        gathermm.gather_mm(shared[:, :, :4], B[:3, :4, :4], out=shared[:, :, 2:])
    assert np.array_equal(shared, A)


class Elsewhere:
    """An array whose capsule says that it lies on a device."""

    def __dlpack__(self):
        import ctypes
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        self.room = (ctypes.c_int64 * 16)()
        self.room[1] = 2  # data, then device type 2: CUDA
        return new(ctypes.addressof(self.room), b"dltensor", None)


def test_other_devices_are_refused_by_name():
    with pytest.raises(ValueError, match="a lies on a device"):
        product(Elsewhere(), B)


def test_buffers_and_kinds():
    numbers = array.array("f", [1, 2, 3])
    assert gathermm.gather_mm(memoryview(numbers), np.ones(3, np.float32)) == 6
    assert np.array_equal(product(A, B, memoryview(INDEX)), WANT)
    for dtype in (mx.float32, mx.float16, mx.bfloat16):
        result = product(mx.array(A).astype(dtype), mx.array(B).astype(dtype), mx.array(INDEX))
        assert isinstance(result, mx.array) and result.dtype == dtype
        assert mx.array_equal(result, mx.array(WANT).astype(dtype)).item()
    lazy = mx.array(A) * 2  # evaluated when its memory is asked for
    assert np.array_equal(np.array(product(lazy, B)), 2 * WANT)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_types(dtype):
    a, b = A.astype(dtype), B.astype(dtype)
    result = product(a, b)
    assert result.dtype == dtype and np.array_equal(result, WANT.astype(dtype))
    out = np.empty(WANT.shape, dtype)
    assert product(A, B, out=out) is out and np.array_equal(out, WANT.astype(dtype))
    assert np.array_equal(product(a, b, out=np.empty(WANT.shape, np.float32)), WANT)
    a.flags.writeable = False
    assert np.array_equal(product(a.swapaxes(1, 2).copy().swapaxes(1, 2), b), result)
    assert product(A.astype(np.float16), B.astype(ml_dtypes.bfloat16)).dtype == np.float32


def test_global_scale_and_rules():
    w = RNG.normal(size=(4, 64)).astype(np.float32)
    scale = float(np.abs(w).max())
    parts = gathermm.quantize(w, mode="nvfp4", global_scale=scale)
    values = gathermm.dequantize(*parts, mode="nvfp4", global_scale=np.float32(scale), dtype="float32")
    assert np.abs(values - w).max() < np.abs(w).max() / 4
    x = np.eye(64, dtype=np.float32)
    assert np.array_equal(gathermm.quantized_matmul(x, *parts, mode="nvfp4", global_scale=scale), values.T)
    up, near = (gathermm.quantize(w, mode="mxfp4", exponent_rule=rule)[1] for rule in ("up", "nearest"))
    assert (up >= near).all() and (up > near).any()
    for option in ({"exponent_rule": "down"}, {"tie_rule": "odd"}):
        with pytest.raises(ValueError, match=next(iter(option))):
            gathermm.quantize(w, mode="mxfp4", **option)


def test_contexts():
    context = gathermm.Context(threads=1, cpu_mask="all", arithmetic="int8")
    assert (context.threads, context.cpu_mask, context.arithmetic) == (1, "all", "int8")
    assert np.array_equal(product(A, B, context=context), WANT)
    assert not any(k["usable"] for k in gathermm.info(context)["kernels"] if "avx" in k["name"])
    assert "int8" in gathermm.explain(gathermm.quantized_matmul, np.ones((2, 64), np.float32),
                                      *gathermm.quantize(np.ones((4, 64), np.float32)), context=context)
    for options in ({"arithmetic": "f8"}, {"threads": -1}, {"cpu_mask": "avx3"}):
        with pytest.raises(ValueError):
            gathermm.Context(**options)
    with pytest.raises(IndexError):
        gathermm.explain(gathermm.gather_mm, A, B, rhs_indices=INDEX + 5)


def test_threads():
    a, b = np.ones((8, 64, 256), np.float32), np.ones((8, 256, 256), np.float32)
    wrong = []

    def work():
        for _ in range(20):
            if not (gathermm.gather_mm(a, b) == 256).all():
                wrong.append(1)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def test_nothing_leaks():
    w = gathermm.quantize(np.ones((64, 64), np.float32))
    a16, m = A.astype(ml_dtypes.bfloat16), mx.array(A)
    frozen = A.copy()
    frozen.flags.writeable = False
    x = np.ones((1024, 64), np.float32)

    def calls():
        product(a16, B), product(m, B), product(frozen, B), gathermm.quantize(x), gathermm.dequantize(*w)
        gathermm.quantized_matmul(x, *w), gathermm.from_fp8(gathermm.to_fp8(x)), gathermm.info()
        gathermm.Context(threads=1)
        for bad in (A.astype(">f4"), A[:, :, :2], [1], A.astype(np.float64)):
            with pytest.raises((ValueError, TypeError)):
                product(bad, B)

    def held():
        gc.collect()
        return [sys.getrefcount(thing) for thing in (A, B, INDEX, a16, m, frozen, x, *w, None.__class__, np.empty)]
    for _ in range(20):
        calls()
    before, size = held(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(1000):
        calls()
    assert held() == before
    # One 256 KB result kept by each of 1,000 calls would be 256 MB; pages of the allocator's own are a few.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size < 32 * 1024


def test_doctests():
    result = doctest.testmod(gathermm.ops)
    assert result.attempted > 25 and result.failed == 0
    test = doctest.DocTestParser().get_doctest(gathermm.Context.__doc__, {}, "Context", None, 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_wheel_alone():
    """In an environment of NumPy and this wheel: products, what needs ml_dtypes, the command."""
    python = os.environ["GATHERMM_CLEAN_PYTHON"]
    program = ("import numpy as np, gathermm\n"
               "x = np.eye(64, dtype=np.float32)\n"
               "w = gathermm.quantize(x, mode='mxfp4')\n"
               "assert (gathermm.quantized_matmul(x, *w, mode='mxfp4') == x).all()\n"
               "try: gathermm.dequantize(*w, mode='mxfp4')\n"
               "except ImportError as error: assert 'ml_dtypes' in str(error)\n"
               "else: raise SystemExit('no error')\n"
               "print(gathermm.__version__)\n")
    done = subprocess.run([python, "-c", program], check=True, capture_output=True, text=True, timeout=60, cwd="/")
    version = done.stdout.strip()
    assert version == gathermm.__version__
    for module, package in (("mlx", "MLX"), ("torch", "PyTorch"), ("plot", "matplotlib")):
        done = subprocess.run([python, "-c", f"import gathermm.{module}"], capture_output=True, text=True, timeout=60,
                              cwd="/")
        assert done.returncode == 1 and f"ImportError: gathermm.{module} needs {package}" in done.stderr
    for command in ([python, "-m", "gathermm"], [str(pathlib.Path(python).parent / "gathermm")]):
        done = subprocess.run([*command, "--version"], check=True, capture_output=True, text=True, timeout=60, cwd="/")
        assert version in done.stdout
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
