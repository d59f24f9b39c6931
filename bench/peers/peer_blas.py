# peer_blas.py - OpenBLAS and BLIS: a loop in C (blas_loop.c) of cblas_sgemv for one row and cblas_sgemm for more.
# SPDX-License-Identifier: MIT
import ctypes
import glob
import os

from library import Library, Missing
from peer_numpy import PreparedDense


class Blas(Library):
    # The variants of OpenMP, since that pool is gathermm's and ggml's too.
    patterns = ()
    package = ""

    def __init__(self, settings):
        super().__init__(settings)
        paths = [path for pattern in self.patterns for path in sorted(glob.glob(pattern))]
        if not paths:
            raise Missing(f"no {self.patterns[0]}: install {self.package}")
        self.path = paths[0]
        try:
            self.loop = ctypes.CDLL(str(settings.folder / "libpeer_blas.so"))
            self.blas = ctypes.CDLL(self.path, mode=os.RTLD_NOW | os.RTLD_LOCAL)
        except OSError as error:
            raise Missing(str(error)) from error
        self.loop.peer_blas_new.restype = ctypes.c_void_p
        self.version = self.read_version()

    def read_version(self):
        raise NotImplementedError

    def variants(self, case):
        return [self.name] if case.format.name == "f32" else []

    def prepare(self, problem, variant):
        return PreparedBlas(self, problem)


class OpenBlas(Blas):
    name = "openblas"
    patterns = ("/usr/lib/*-linux-gnu/openblas-openmp/libopenblas.so.0", "/usr/lib64/libopenblaso.so.0")
    package = "libopenblas0-openmp"

    def read_version(self):
        self.blas.openblas_get_config.restype = ctypes.c_char_p
        return self.blas.openblas_get_config().decode().split()[1]


class Blis(Blas):
    name = "blis"
    patterns = ("/usr/lib/*-linux-gnu/blis-openmp/libblis.so.4", "/usr/lib64/libbliso.so.4")
    package = "libblis4-openmp"

    def read_version(self):
        self.blas.bli_info_get_version_str.restype = ctypes.c_char_p
        return self.blas.bli_info_get_version_str().decode()


class PreparedBlas(PreparedDense):
    def __init__(self, library, problem):
        super().__init__(problem)
        shape = problem.case.shape
        self.loop = library.loop
        sizes = (shape.k, shape.n, shape.experts, shape.top_k, problem.case.tokens)
        handle = self.loop.peer_blas_new(ctypes.c_void_p(library.blas._handle), *map(ctypes.c_int64, sizes))
        if not handle:
            raise MemoryError("peer_blas_new: no memory, or no cblas_sgemm in the library")
        self.handle = ctypes.c_void_p(handle)
        self.arguments = [[ctypes.c_void_p(array.ctypes.data) for array in (self.x, weights, self.ids, self.out)]
                          for weights in self.weights]

    def run(self, copy):
        self.loop.peer_blas_run(self.handle, *self.arguments[copy])

    def __del__(self):
        if getattr(self, "handle", None):
            self.loop.peer_blas_free(self.handle)
