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
        self.loop.peer_blas_run.argtypes = [ctypes.c_void_p] * 5
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
        self.loop, self.handles = library.loop, []
        shape, tokens = problem.case.shape, problem.case.tokens
        for matrix, base in enumerate(self.bases):
            rows, top_k = (tokens * shape.top_k, 1) if matrix == 2 else (tokens, shape.top_k)
            sizes = (base.shape[1], len(base), shape.experts, top_k, rows)
            handle = self.loop.peer_blas_new(ctypes.c_void_p(library.blas._handle), *map(ctypes.c_int64, sizes))
            if not handle:
                raise MemoryError("peer_blas_new: no memory, or no cblas_sgemm in the library")
            self.handles.append(ctypes.c_void_p(handle))

    def multiply(self, matrix, x, ids, weights, out):
        self.loop.peer_blas_run(self.handles[matrix], *[array.ctypes.data for array in (x, weights, ids, out)])

    def __del__(self):
        for handle in getattr(self, "handles", ()):
            self.loop.peer_blas_free(handle)
