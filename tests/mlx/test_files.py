# test_files.py - safetensors and npy files written here are read by the Python packages as they are, and the reverse.
# SPDX-License-Identifier: MIT
import ctypes
import json
import struct

import ml_dtypes
import mlx.core as mx
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from gathermm_ctypes import CArray, DTYPES, Error, check, lib, view


class Tensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_int), ("ndim", ctypes.c_int32),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("data", ctypes.c_void_p), ("size_bytes", ctypes.c_size_t)]


lib.gmm_safetensors_count.restype = ctypes.c_size_t
lib.gmm_safetensors_at.restype = ctypes.c_bool
lib.gmm_safetensors_find.restype = ctypes.c_bool
lib.gmm_safetensors_metadata_at.restype = ctypes.c_bool
lib.gmm_safetensors_close.restype = None
lib.gmm_npy_close.restype = None
lib.gmm_npy_array.restype = None
lib.gmm_dtype_name.restype = ctypes.c_char_p

# The package's word for a type, the format's, the number, and the bits of an element. float4_e2m1fn_x2 counts pairs.
PACKAGE = {
    "bool": ("BOOL", 1, 8), "uint8": ("U8", 2, 8), "int8": ("I8", 3, 8), "uint16": ("U16", 4, 16),
    "int16": ("I16", 5, 16), "uint32": ("U32", 6, 32), "int32": ("I32", 7, 32), "uint64": ("U64", 8, 64),
    "int64": ("I64", 9, 64), "float16": ("F16", 10, 16), "bfloat16": ("BF16", 11, 16), "float32": ("F32", 12, 32),
    "float64": ("F64", 13, 64), "complex64": ("C64", 14, 64), "float8_e4m3fn": ("F8_E4M3", 20, 8),
    "float8_e5m2": ("F8_E5M2", 21, 8), "float8_e8m0fnu": ("F8_E8M0", 22, 8), "float8_e4m3fnuz": ("F8_E4M3FNUZ", 23, 8),
    "float8_e5m2fnuz": ("F8_E5M2FNUZ", 24, 8), "float4_e2m1fn_x2": ("F4", 27, 8),
}
# The package reads these two but has no word for writing them.
READ_ONLY = {"F6_E2M3": (25, 6), "F6_E3M2": (26, 6)}
NUMBERS = {name: number for name, number, _ in PACKAGE.values()} | {name: n for name, (n, _) in READ_ONLY.items()}
BITS = {name: bits if name != "F4" else 4 for name, _, bits in PACKAGE.values()} | {
    name: bits for name, (_, bits) in READ_ONLY.items()}
SHAPES = [(), (1,), (8,), (0,), (3, 0, 5), (4, 8), (2, 3, 4, 8)]


def random_bytes(count, seed=1):
    return np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8).tobytes()


def read(path):
    """{name: (type, shape, bytes)} in the order of the data, and the metadata, through this library."""
    file = ctypes.c_void_p()
    check(lib.gmm_safetensors_open(str(path).encode(), ctypes.byref(file)))
    tensor, found, tensors, metadata = Tensor(), Tensor(), {}, {}
    key, value = ctypes.c_char_p(), ctypes.c_char_p()
    for i in range(lib.gmm_safetensors_count(file)):
        assert lib.gmm_safetensors_at(file, ctypes.c_size_t(i), ctypes.byref(tensor))
        assert lib.gmm_safetensors_find(file, tensor.name, ctypes.byref(found))
        assert bytes(tensor) == bytes(found)
        tensors[tensor.name.decode()] = (lib.gmm_dtype_name(tensor.dtype).decode(), tuple(tensor.shape[:tensor.ndim]),
                                         ctypes.string_at(tensor.data, tensor.size_bytes))
    while lib.gmm_safetensors_metadata_at(file, ctypes.c_size_t(len(metadata)), ctypes.byref(key), ctypes.byref(value)):
        metadata[key.value.decode()] = value.value.decode()
    lib.gmm_safetensors_close(file)
    return tensors, metadata


def write(path, tensors, metadata=None):
    """The reverse of read."""
    writer = ctypes.c_void_p()
    c_tensors = (Tensor * max(1, len(tensors)))()
    for c_tensor, (name, (dtype, shape, _)) in zip(c_tensors, tensors.items()):
        c_tensor.name, c_tensor.dtype, c_tensor.ndim = name.encode(), NUMBERS[dtype], len(shape)
        c_tensor.shape = (ctypes.c_int64 * max(1, len(shape)))(*shape)
    strings = [s.encode() for pair in (metadata or {}).items() for s in pair]
    check(lib.gmm_safetensors_create(str(path).encode(), c_tensors, ctypes.c_size_t(len(tensors)),
                                     (ctypes.c_char_p * max(1, len(strings)))(*strings),
                                     ctypes.c_size_t(len(strings) // 2), ctypes.byref(writer)))
    for _, _, data in tensors.values():
        check(lib.gmm_safetensors_append(writer, data, ctypes.c_size_t(len(data))))
    check(lib.gmm_safetensors_finish(writer))


def random_tensors(dtypes):
    """Every type in every shape, with names that need escapes."""
    tensors = {}
    for i, dtype in enumerate(dtypes):
        for shape in SHAPES:
            bits = BITS[dtype] * int(np.prod(shape))
            if bits % 8 == 0:
                tensors[f"{dtype} é\n\"\\/\x1f\x7f {shape}"] = (dtype, shape, random_bytes(bits // 8, i))
    return tensors


def package_write(tensors, metadata):
    """The file's bytes as the Python package makes them."""
    words = {name: word for word, (name, _, _) in PACKAGE.items()}
    keep, specs = [], {}
    for name, (dtype, shape, data) in tensors.items():
        keep.append(np.frombuffer(data or b"x", np.uint8))
        if dtype == "F4":
            shape = shape[:-1] + (shape[-1] // 2,)
        specs[name] = safetensors.TensorSpec(dtype=words[dtype], shape=shape, data_ptr=keep[-1].ctypes.data,
                                             data_len=len(data))
    return bytes(safetensors.serialize(specs, metadata=metadata))


def package_read(path):
    return {name: (t["dtype"], tuple(t["shape"]), bytes(t["data"]))
            for name, t in safetensors.deserialize(path.read_bytes())}


# ---- safetensors ----

def test_every_type_of_the_package_is_known():
    with pytest.raises(safetensors.SafetensorError) as error:
        safetensors.serialize({"a": safetensors.TensorSpec(dtype="?", shape=(), data_ptr=0, data_len=0)})
    assert sorted(str(error.value).split("Supported dtypes: ")[1].split(", ")) == sorted(PACKAGE)
    for name, number in NUMBERS.items():
        assert lib.gmm_dtype_name(number).decode() == name
        assert lib.gmm_dtype_bits(number) == BITS[name]


def test_the_package_reads_what_is_written(tmp_path):
    tensors, metadata = random_tensors(NUMBERS), {"format": "mlx", "é\"\n": "\x01\\"}
    write(tmp_path / "a.safetensors", tensors, metadata)
    assert package_read(tmp_path / "a.safetensors") == tensors
    with safetensors.safe_open(tmp_path / "a.safetensors", "numpy") as file:
        assert file.metadata() == metadata
        assert sorted(file.keys()) == sorted(tensors)


def test_what_the_package_writes_is_read(tmp_path):
    tensors, metadata = random_tensors(name for name, _, _ in PACKAGE.values()), {"format": "mlx", "é\"\n": "\x01\\"}
    tensors = {name: t for name, t in tensors.items() if t[0] != "F4" or t[1][-1:] and t[1][-1] % 2 == 0}
    (tmp_path / "a.safetensors").write_bytes(package_write(tensors, metadata))
    assert read(tmp_path / "a.safetensors") == (tensors, metadata)


@pytest.mark.parametrize("metadata", [None, {"a": "b"}])
@pytest.mark.parametrize("count", range(9))
def test_the_same_bytes_as_the_package(tmp_path, count, metadata):
    # The package sorts by type, then name; here the caller's order holds. Names of all lengths mod 8 move the padding.
    tensors = {"x" * (i + 1) + "\x1f": ("F32", (i,), random_bytes(4 * i)) for i in range(count)}
    write(tmp_path / "a.safetensors", tensors, metadata)
    assert (tmp_path / "a.safetensors").read_bytes() == package_write(tensors, metadata)


def test_mlx_reads_and_writes(tmp_path):
    arrays = {"f32": mx.random.normal((3, 5)), "bf16": mx.random.normal((4, 2)).astype(mx.bfloat16),
              "u32": mx.arange(7, dtype=mx.uint32), "c64": mx.array([1 + 2j]), "empty": mx.zeros((0, 3))}
    mx.save_safetensors(str(tmp_path / "mlx.safetensors"), arrays, {"format": "mlx"})
    tensors, metadata = read(tmp_path / "mlx.safetensors")
    assert metadata == {"format": "mlx"}
    write(tmp_path / "here.safetensors", tensors, metadata)
    again = mx.load(str(tmp_path / "here.safetensors"))
    assert sorted(again) == sorted(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype and again[name].shape == array.shape
        assert mx.array_equal(again[name], array).item()


# Headers that the package refuses, all for reasons that hold for every reader.
BAD = [
    b"", b"[]", b"null", b"{", b'{"a":1}', b'{"a":{}}', b'{"__metadata__":{"a":1}}', b'{"\xff":0}', b"{}}",
    b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,3]}}',
    b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"F4","shape":[7],"data_offsets":[0,4]}}', b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[1,5]}}',
    b'{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}', b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}',
    b'{"a":{"dtype":"U8","shape":[-4],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"U8","shape":[4.0],"data_offsets":[0,4]}}',
    b'{"a":{"dtype":"X","shape":[4],"data_offsets":[0,4]}}', b'{"a":{"dtype":"U8","shape":[4]}}',
    b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"dtype":"U8"}}',
    b'{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}',
    b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,18446744073709551620]}}',
]


@pytest.mark.parametrize("header", BAD)
def test_both_refuse(tmp_path, header):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(path.read_bytes())
    with pytest.raises(Error) as error:
        read(path)
    assert error.value.status == 12 and str(path) in str(error.value)


def test_every_truncation_is_refused_by_both(tmp_path):
    path, whole = tmp_path / "cut.safetensors", package_write({"a": ("U16", (2,), b"1234")}, {"k": "v"})
    for kept in range(len(whole)):
        path.write_bytes(whole[:kept])
        with pytest.raises(safetensors.SafetensorError):
            safetensors.deserialize(whole[:kept])
        with pytest.raises(Error):
            read(path)


def test_the_header_is_json_that_begins_with_a_brace(tmp_path):
    write(tmp_path / "a.safetensors", random_tensors(NUMBERS), {"k": "v"})
    whole = (tmp_path / "a.safetensors").read_bytes()
    size = struct.unpack("<Q", whole[:8])[0]
    assert whole[8:9] == b"{" and (8 + size) % 8 == 0
    assert list(json.loads(whole[8:8 + size]))[0] == "__metadata__"


# ---- npy ----

NPY = [dtype for dtype in DTYPES if dtype != ml_dtypes.bfloat16]


def npy_read(path):
    """An array of raw items (and of the same strides), its type's number."""
    file, c_array = ctypes.c_void_p(), CArray()
    check(lib.gmm_npy_open(str(path).encode(), ctypes.byref(file)))
    lib.gmm_npy_array(file, ctypes.byref(c_array))
    dtype = {number: dtype for dtype, number in DTYPES.items()}[c_array.dtype]
    shape = tuple(c_array.shape[:c_array.ndim])
    strides = tuple(s * dtype.itemsize for s in c_array.strides[:c_array.ndim]) if c_array.strides else None
    size = dtype.itemsize * int(np.prod(shape))
    data = ctypes.string_at(c_array.data, size) if size else b""
    lib.gmm_npy_close(file)
    return np.ndarray(shape, dtype, data, strides=strides)


def random_array(dtype, shape):
    data = random_bytes(dtype.itemsize * int(np.prod(shape)))
    if dtype == np.bool_:
        data = bytes(b & 1 for b in data)
    return np.frombuffer(data, dtype).reshape(shape)


def same_bytes(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def layouts(array):
    yield array
    yield array.T
    yield array[::-1] if array.ndim else array
    yield np.broadcast_to(array, (3,) + array.shape)
    yield array[..., ::2] if array.ndim else array


@pytest.mark.parametrize("dtype", NPY, ids=str)
def test_npy_as_numpy_writes_and_reads(tmp_path, dtype):
    for shape in SHAPES:
        for array in layouts(random_array(dtype, shape)):
            check(lib.gmm_npy_write(str(tmp_path / "here.npy").encode(), view(array)))
            assert same_bytes(np.load(tmp_path / "here.npy"), array)
            np.save(tmp_path / "rows.npy", np.ascontiguousarray(array).reshape(array.shape))
            assert (tmp_path / "here.npy").read_bytes() == (tmp_path / "rows.npy").read_bytes()
            np.save(tmp_path / "numpy.npy", array)  # Fortran order where the array has it
            assert same_bytes(npy_read(tmp_path / "numpy.npy"), array)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_versions(tmp_path, version):
    array = random_array(np.dtype(np.float32), (3, 5))
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, array, version)
    assert same_bytes(npy_read(tmp_path / "a.npy"), array)


def test_npy_bfloat16(tmp_path):
    array = random_array(np.dtype(ml_dtypes.bfloat16), (3, 5))
    np.save(tmp_path / "numpy.npy", array)
    assert same_bytes(npy_read(tmp_path / "numpy.npy"), array)
    check(lib.gmm_npy_write(str(tmp_path / "here.npy").encode(), view(array)))
    assert (tmp_path / "here.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


@pytest.mark.parametrize("array", [np.zeros(3, ">f4"), np.zeros(3, "c16"), np.zeros(3, "U5"), np.zeros(3, "M8[s]"),
                                   np.zeros(3, [("a", "f4")]), np.array([None, 1])], ids=str)
def test_npy_types_without_a_counterpart_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(Error) as error:
        npy_read(tmp_path / "a.npy")
    assert error.value.status == 12


def test_npy_files_of_several_arrays_are_refused(tmp_path):
    with open(tmp_path / "two.npy", "wb") as file:
        np.save(file, np.zeros(3))
        np.save(file, np.zeros(3))
    with pytest.raises(Error, match="takes 24 bytes"):
        npy_read(tmp_path / "two.npy")
