# peer_numpy.py - NumPy: a loop in Python over the experts that are used, one matrix product each.
# SPDX-License-Identifier: MIT
import numpy as np

import bounds
import decode
from library import Library, Prepared


class NumPy(Library):
    name = "numpy"
    pool = "numpy"  # an OpenBLAS of its own

    def __init__(self, settings):
        super().__init__(settings)
        self.version = np.__version__

    def variants(self, case):
        return ["numpy"] if case.format.name == "f32" else []

    def prepare(self, problem, variant):
        return PreparedNumPy(problem)


class PreparedDense(Prepared):
    """f32 weights and activations as NumPy arrays, for whoever multiplies those."""

    def __init__(self, problem):
        case = problem.case
        self.base = problem.base
        self.copies = problem.copies(self.base)
        self.weights = [problem.stack(self.base) for _ in range(self.copies)]
        self.x = problem.x
        self.ids = np.zeros((case.tokens, case.shape.top_k), np.int32)
        self.out = np.full((case.tokens, case.shape.top_k, case.shape.n), np.nan, np.float32)

    def load(self, ids):
        self.ids[...] = ids

    def output(self):
        return self.out

    def rows(self, numbers):
        return decode.dense(self.base[numbers], np.float32)

    def bound(self, x, values, terms):
        return bounds.f32_sum(x, terms, 2)  # a BLAS may multiply the sum by alpha


class PreparedNumPy(PreparedDense):
    def run(self, copy):
        weights = self.weights[copy]
        for expert in np.unique(self.ids):
            tokens, slots = np.nonzero(self.ids == expert)
            self.out[tokens, slots] = self.x[tokens] @ weights[expert].T
