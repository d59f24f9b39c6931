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
    """f32 weights and activations as NumPy arrays, for whoever multiplies those. A layer is three products, with
    NumPy's own loops between them."""

    def __init__(self, problem):
        case = problem.case
        self.bases = [matrix.base for matrix in problem.matrices]
        self.copies = problem.copies(*self.bases)
        self.weights = [[matrix.stack(matrix.base) for matrix in problem.matrices] for _ in range(self.copies)]
        self.x = problem.x
        self.ids = np.zeros((case.tokens, case.shape.top_k), np.int32)
        # Of each product: as many rows for each of x's as experts, a result of it.
        self.products = [empty(case.tokens, case.shape.top_k, len(base)) for base in self.bases]
        self.slot_weights = problem.weights[:, :, None] if problem.layer else None
        self.out = empty(case.tokens, case.shape.k) if problem.layer else self.products[0]

    def load(self, ids):
        self.ids[...] = ids

    def multiply(self, matrix, x, ids, weights, out):
        """out[i, j] = weights[ids[i, j]] @ x[i]; `matrix` is which of problem.matrices it is."""
        raise NotImplementedError

    def run(self, copy):
        weights = self.weights[copy]
        self.multiply(0, self.x, self.ids, weights[0], self.products[0])
        if len(weights) == 1:
            return
        gate, up, down = self.products
        self.multiply(1, self.x, self.ids, weights[1], up)
        logistic = np.negative(gate)
        np.exp(logistic, out=logistic)
        logistic += 1
        np.divide(gate, logistic, out=gate)
        gate *= up
        count = self.ids.size  # every slot has a row of its own now
        self.multiply(2, gate.reshape(count, -1), self.ids.reshape(count, 1), weights[2], down.reshape(count, 1, -1))
        down *= self.slot_weights
        np.sum(down, axis=1, out=self.out)

    def output(self):
        return self.out

    def rows(self, matrix, numbers):
        return decode.dense(self.bases[matrix][numbers], np.float32)

    def bound(self, x, values, terms, signs):
        return bounds.f32_sum(x, terms, 2)  # a BLAS may multiply the sum by alpha


def empty(*shape):
    return np.full(shape, np.nan, np.float32)


class PreparedNumPy(PreparedDense):
    def multiply(self, matrix, x, ids, weights, out):
        for expert in np.unique(ids):
            tokens, slots = np.nonzero(ids == expert)
            out[tokens, slots] = x[tokens] @ weights[expert].T
