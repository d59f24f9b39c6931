# peer_gathermm.py - this library, through its C API; threads are OMP_NUM_THREADS.
# SPDX-License-Identifier: MIT
import os
import pathlib
import sys

import numpy as np

import bounds
import decode
from library import Library, Missing, Prepared

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/support"))


class Gathermm(Library):
    name = "gathermm"

    def __init__(self, settings):
        super().__init__(settings)
        os.environ.setdefault("GATHERMM_LIBRARY", str(settings.folder.parent / "libgathermm.so"))
        try:
            import gathermm_ctypes
        except OSError as error:
            raise Missing(f"{error}; build it with `make`, or name it in GATHERMM_LIBRARY") from error
        self.api = gathermm_ctypes
        self.api.lib.gmm_version.restype = self.api.ctypes.c_char_p
        self.version = self.api.lib.gmm_version().decode()

    def variants(self, case):
        return ["gathermm"] if case.format.mode is None else ["gathermm", "gathermm int8"]

    def prepare(self, problem, variant):
        return PreparedGathermm(self.api, problem, variant == "gathermm int8")


class PreparedGathermm(Prepared):
    def __init__(self, api, problem, int8):
        case = problem.case
        self.case, self.int8, self.out_dtype = case, int8, case.activations
        self.context = api.context(arithmetic=api.ARITHMETIC_INT8) if int8 else None
        self.ids = np.zeros((case.tokens, case.shape.top_k), np.int32)
        if case.format.mode is None:
            self.bases = [matrix.base for matrix in problem.matrices]
            parts = self.bases
        else:
            self.bases = [api.quantize(matrix.base, case.format.mode, case.format.group_size, case.format.bits)
                          for matrix in problem.matrices]
            parts = [part for base in self.bases for part in (base.w, base.scales, base.biases) if part is not None]
        self.copies = problem.copies(*parts)
        make = self.make_layer if problem.layer else self.make_product
        self.calls = [make(api, problem, [self.stack(api, *pair) for pair in zip(problem.matrices, self.bases)])
                      for _ in range(self.copies)]
        self.out = self.calls[0].empty()
        self.out_view = api.view(self.out)

    def stack(self, api, matrix, base):
        if self.case.format.mode is None:
            return matrix.stack(base)
        biases = None if base.biases is None else matrix.stack(base.biases)
        return api.Quantized(matrix.stack(base.w), matrix.stack(base.scales), biases, base.mode, base.group_size,
                             base.bits)

    def make_product(self, api, problem, stacks):
        tokens = np.arange(self.case.tokens, dtype=np.int32)[:, None]
        if self.case.format.mode is None:
            given = {"rhs": stacks[0].swapaxes(1, 2)}
        else:
            given = {"quantized": stacks[0], "transpose": True}
        return api.Product(problem.x[:, None, :], lhs_indices=tokens, rhs_indices=self.ids, **given)

    def make_layer(self, api, problem, stacks):
        return api.Layer(problem.x, *stacks, self.ids, problem.weights, self.context)

    def load(self, ids):
        self.ids[...] = ids

    def run(self, copy):
        self.calls[copy].run(self.out_view, self.context)

    def output(self):
        return self.out if self.out.ndim == 2 else self.out[:, :, 0, :]

    def rows(self, matrix, numbers):
        base = self.bases[matrix]
        if self.case.format.mode is None:
            return decode.dense(base[numbers], base.dtype)
        biases = None if base.biases is None else base.biases[numbers]
        values, terms = decode.mlx(base.w[numbers], base.scales[numbers], biases, self.case.format)
        if biases is not None and self.by_pairs():
            terms = decode.reach(base.scales[numbers], biases, self.case.format)
        return values, terms

    def by_pairs(self):
        """May codes be multiplied by bf16 elements before they are scaled?"""
        format_ = self.case.format
        return (not self.int8 and format_.mode is not None and self.case.activations == "bf16"
                and (format_.mode != "affine" or format_.bits in (2, 4)))

    def bound(self, x, values, terms, signs):
        if self.int8:
            return bounds.int8_contract(x, values, terms, self.case.format.group_size, signs)
        format_ = self.case.format
        return bounds.contract(x, terms if self.by_pairs() else values, 1 if format_.mode == "affine" else 0,
                               tiles=self.by_pairs() or format_.name == "bf16")
