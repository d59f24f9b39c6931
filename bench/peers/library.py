# library.py - what a library that takes part must offer.
# SPDX-License-Identifier: MIT


class Missing(Exception):
    """A library is not to be had on this machine; says what to do."""


class Library:
    """One library. Making it loads it, or raises Missing."""
    name = ""
    version = ""
    # Whose threads it uses. Those of one pool wait busily for a while after a call, and disturb another pool's.
    pool = "openmp"

    def __init__(self, settings):
        """settings: .threads, .folder (where bench/peers was built)."""

    def variants(self, case):
        """The ways in which it can compute a case, by the names that the table shows; [] if it cannot."""
        raise NotImplementedError

    def prepare(self, problem, variant):
        """A Prepared, or Unsupported."""
        raise NotImplementedError


class Prepared:
    """One case, ready to be run: weights and activations lie in memory as the library wants them."""
    copies = 1
    # What results are rounded to, and in a whole layer what lies between its steps.
    out_dtype = "f32"
    step_dtype = "f32"

    def load(self, ids):
        """Take these (tokens, top_k) int32 experts for the next calls. Not timed."""
        raise NotImplementedError

    def run(self, copy):
        """The product or layer, with copy number `copy` of the weights. This is what is timed."""
        raise NotImplementedError

    def output(self):
        """(tokens, top_k, N), of a layer (tokens, K), in any floating type."""
        raise NotImplementedError

    def rows(self, matrix, numbers):
        """(values, terms) of rows of the base of problem.matrices[matrix], as bounds.py wants them."""
        raise NotImplementedError

    def bound(self, x, values, terms, signs):
        """The largest error that this library's arithmetic can make in a product, one a row, before it is rounded;
        signs: bounds.ONE or bounds.MANY."""
        raise NotImplementedError
