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
        self.case, self.int8 = case, int8
        self.context = api.context(arithmetic=api.ARITHMETIC_INT8) if int8 else None
        self.ids = np.zeros((case.tokens, case.shape.top_k), np.int32)
        tokens = np.arange(case.tokens, dtype=np.int32)[:, None]
        lhs = problem.x[:, None, :]
        if case.format.mode is None:
            self.base = problem.base
            self.copies = problem.copies(self.base)
            operands = [{"rhs": problem.stack(self.base).swapaxes(1, 2)} for _ in range(self.copies)]
        else:
            self.base = api.quantize(problem.base, case.format.mode, case.format.group_size, case.format.bits)
            parts = [part for part in (self.base.w, self.base.scales, self.base.biases) if part is not None]
            self.copies = problem.copies(*parts)
            operands = [{"quantized": self.packed_stack(api, problem), "transpose": True} for _ in range(self.copies)]
        self.calls = [api.Product(lhs, lhs_indices=tokens, rhs_indices=self.ids, **given) for given in operands]
        self.out = self.calls[0].empty()
        self.out_view = api.view(self.out)

    def packed_stack(self, api, problem):
        base = self.base
        biases = None if base.biases is None else problem.stack(base.biases)
        return api.Quantized(problem.stack(base.w), problem.stack(base.scales), biases, base.mode, base.group_size,
                             base.bits)

    def load(self, ids):
        self.ids[...] = ids

    def run(self, copy):
        self.calls[copy].run(self.out_view, self.context)

    def output(self):
        return self.out[:, :, 0, :]

    def rows(self, numbers):
        if self.case.format.mode is None:
            return decode.dense(self.base[numbers], self.base.dtype)
        biases = self.base.biases
        return decode.mlx(self.base.w[numbers], self.base.scales[numbers], None if biases is None else biases[numbers],
                          self.case.format)

    def bound(self, x, values, terms):
        if self.int8:
            return bounds.int8_contract(x, values, terms, self.case.format.group_size, self.case.activations)
        decode_roundings = 1 if self.case.format.mode == "affine" else 0
        return bounds.contract(x, values, decode_roundings, self.case.activations)
