# peer_ggml.py - mul_mat_id, and layers of it, of ggml and of its fork ik_llama.cpp, through ggml_product.c; weights plain and repacked.
# SPDX-License-Identifier: MIT
import ctypes

import numpy as np

import bounds
import decode
from library import Library, Missing, Prepared
from problem import Unsupported

# The types of ggml that stand beside a format, and how many weights form a block of them.
TYPES = {"f32": ("f32",), "f16": ("f16",), "bf16": ("bf16",), "affine8": ("q8_0",), "affine4": ("q4_0", "q4_K"),
         "mxfp4": ("mxfp4",), "nvfp4": ("nvfp4",)}
BLOCK = {"f32": 1, "f16": 1, "bf16": 1, "q8_0": 32, "q4_0": 32, "q4_K": 256, "mxfp4": 32, "nvfp4": 64}


class Ggml(Library):
    name = "ggml"
    package = "llama_cpp_python"
    helper = "libpeer_ggml.so"
    repacked = "repacked"
    # What activations are rounded to before they meet weights of a type.
    rounds_to = {"f32": "f32", "f16": "f16", "bf16": "bf16", "q8_0": "q8_0", "q4_0": "q8_0", "q4_K": "q8_K",
                 "mxfp4": "q8_0", "nvfp4": "q8_0"}
    # A rounding of the weights on the way.
    weight_unit = {}
    never_repacked = ("f32",)
    repacks_in_place = False

    def __init__(self, settings):
        super().__init__(settings)
        self.threads = settings.threads
        try:
            self.api = ctypes.CDLL(str(settings.folder / self.helper))
            self.api.peer_ggml_row_bytes.restype = ctypes.c_int64
            for function in ("new", "x", "ids", "slot_weights", "out"):
                getattr(self.api, "peer_ggml_" + function).restype = ctypes.c_void_p
        except (OSError, AttributeError) as error:  # an older helper lacks functions
            raise Missing(f"{error}; `make bench-peers` builds it from {self.package} of PyPI") from error
        self.version = f"of {self.package} " + (settings.folder / self.package / "built").read_text().strip()

    def variants(self, case):
        names = []
        for type_name in TYPES[case.format.name]:
            if self.api.peer_ggml_type(type_name.encode()) >= 0:
                names.append(f"{self.name} {type_name}")
                if type_name not in self.never_repacked:
                    names.append(f"{self.name} {type_name} {self.repacked}")
        return names

    def prepare(self, problem, variant):
        return PreparedGgml(self, problem, variant.split()[1], variant.endswith(self.repacked))


class IkLlama(Ggml):
    name = "ik"
    package = "ik_llama_cpp_python"
    helper = "libpeer_ik.so"
    repacked = "rtr"
    rounds_to = {**Ggml.rounds_to, "q8_0": "q8_2", "q4_0": "q8_2", "q4_K": "q8_2", "mxfp4": "q8_2"}
    weight_unit = {"q4_K": bounds.UNIT["f16"]}
    never_repacked = ("f32", "f16")  # f16 would become bf16
    repacks_in_place = True


class PreparedGgml(Prepared):
    handle = None

    def __init__(self, library, problem, type_name, repack):
        case, shape = problem.case, problem.case.shape
        for columns in {matrix.base.shape[1] for matrix in problem.matrices}:
            if columns % BLOCK[type_name]:
                raise Unsupported(f"{columns} columns are not a multiple of {BLOCK[type_name]}")
        self.api = api = library.api
        self.type_name = type_name
        self.rounds_to = library.rounds_to[type_name]
        self.weight_unit = library.weight_unit.get(type_name, 0.0)
        if repack and library.name == "ik" and type_name == "q4_K":
            self.rounds_to = "q8_K"  # ik_llama.cpp's q4_k_r4 alone takes these
        type_number = api.peer_ggml_type(type_name.encode())
        self.bases = [self.quantize(type_number, matrix.base) for matrix in problem.matrices]
        self.copies = problem.copies(*self.bases)
        sizes = map(ctypes.c_int64, (shape.k, shape.n, shape.experts, shape.top_k, case.tokens))
        handle = api.peer_ggml_new(type_number, *sizes, library.threads, ctypes.c_int64(self.copies), int(repack),
                                   int(problem.layer))
        if not handle:
            raise Unsupported(f"does not repack {type_name}" if repack else "no memory")
        self.handle = ctypes.c_void_p(handle)
        self.set_weights(problem, keep=library.repacks_in_place or not repack)
        self.x = array_at(api.peer_ggml_x(self.handle), (case.tokens, shape.k), np.float32)
        self.ids = array_at(api.peer_ggml_ids(self.handle), (case.tokens, shape.top_k), np.int32)
        out_shape = (case.tokens, shape.k) if problem.layer else (case.tokens, shape.top_k, shape.n)
        self.out = array_at(api.peer_ggml_out(self.handle), out_shape, np.float32)
        self.x[...] = problem.x
        self.out[...] = np.nan
        if problem.layer:
            array_at(api.peer_ggml_slot_weights(self.handle), problem.weights.shape, np.float32)[...] = problem.weights

    def quantize(self, type_number, dense):
        rows, columns = dense.shape
        base = np.empty((rows, self.api.peer_ggml_row_bytes(type_number, ctypes.c_int64(columns))), np.uint8)
        master = np.ascontiguousarray(dense.astype(np.float32))
        self.api.peer_ggml_quantize(type_number, pointer(master), pointer(base), ctypes.c_int64(rows),
                                    ctypes.c_int64(columns))
        return base

    def set_weights(self, problem, keep):
        self.kept = []
        for copy in range(self.copies):
            for number, (matrix, base) in enumerate(zip(problem.matrices, self.bases)):
                stack = matrix.stack(base)
                if not self.api.peer_ggml_set_weights(self.handle, ctypes.c_int64(copy), number, pointer(stack)):
                    raise Unsupported(f"does not repack {self.type_name}")
                if keep:
                    self.kept.append(stack)
        if not self.api.peer_ggml_plan(self.handle):
            raise Unsupported("no memory")

    def load(self, ids):
        self.ids[...] = ids

    def run(self, copy):
        if not self.api.peer_ggml_run(self.handle, ctypes.c_int64(copy)):
            raise RuntimeError("ggml_graph_compute failed")

    def output(self):
        return self.out

    def rows(self, matrix, numbers):
        return decode.ggml(self.bases[matrix][numbers], self.type_name)

    def bound(self, x, values, terms, signs):
        return bounds.rounded_activations(x, values, terms, self.rounds_to, signs, self.weight_unit)

    def __del__(self):
        if self.handle:
            self.api.peer_ggml_free(self.handle)


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def array_at(address, shape, dtype):
    """A NumPy view of a tensor's memory."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)
