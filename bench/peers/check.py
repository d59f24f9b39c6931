# check.py - a library's results beside the same in double precision, over the weights as it stores them itself.
# SPDX-License-Identifier: MIT
import numpy as np

import bounds

GATE, UP, DOWN = range(3)
ROWS_AT_ONCE = 64  # of a matrix in double precision: temporaries of more than a cache holds take ten times as long


def check_product(problem, prepared, ids):
    """[(result, exact, bound)] over a sample of the outputs."""
    got, checked = prepared.output(), []
    for token, slot, expert, columns in problem.sample(ids):
        values, terms = prepared.rows(0, problem.matrices[0].base_rows(expert, columns))
        x = problem.x[token].astype(np.float64)
        exact = values @ x
        bound = bounds.rounded_to(prepared.out_dtype, exact, prepared.bound(x, values, terms, bounds.ONE))
        checked.append((got[token, slot, columns], exact, bound))
    return checked


def base_product(prepared, matrix, count, xs):
    """(exact, error), each (rows of x, rows of the base), of what a step of a layer gives."""
    exact, error = np.empty((len(xs), count)), np.empty((len(xs), count))
    for begin in range(0, count, ROWS_AT_ONCE):
        rows = np.arange(begin, min(begin + ROWS_AT_ONCE, count))
        values, terms = prepared.rows(matrix, rows)
        for i, x in enumerate(xs):
            exact[i, rows] = values @ x
            bound = prepared.bound(x, values, terms, bounds.MANY)
            error[i, rows] = bounds.rounded_to(prepared.step_dtype, exact[i, rows], bound)
    return exact, error


def check_layer(problem, prepared, ids):
    """As check_product: the bounds of the steps carried through those that follow (docs/numerics.md). They hold for
    the root mean square of a token's results."""
    got, checked = prepared.output(), []
    tokens = sorted({0, len(ids) - 1, int(problem.rng.integers(0, len(ids)))})
    xs = problem.x[tokens].astype(np.float64)
    # An expert's gate and up are the base's rows turned: one product of the base serves all of them.
    inner = problem.case.shape.n
    gate, up = [base_product(prepared, matrix, inner, xs) for matrix in (GATE, UP)]
    for i, token in enumerate(tokens):
        columns = problem.sample_columns(44)
        results = []
        for expert in ids[token]:
            rows = problem.matrices[GATE].base_rows(expert, np.arange(inner))
            a, error = bounds.silu_product(gate[0][i, rows], gate[1][i, rows], up[0][i, rows], up[1][i, rows],
                                           prepared.step_dtype)
            values, terms = prepared.rows(DOWN, problem.matrices[DOWN].base_rows(expert, columns))
            exact = values @ a
            bound = bounds.of_inexact(prepared.bound, a, error, values, terms, bounds.MANY)
            results.append((exact, bounds.rounded_to(prepared.step_dtype, exact, bound)))
        weights = problem.weights[token].astype(np.float64)
        exact, bound = bounds.weighted_sum(weights, *map(np.stack, zip(*results)), prepared.step_dtype)
        checked.append((got[token, columns], exact, bounds.rounded_to(prepared.out_dtype, exact, bound)))
    return checked


def root_mean_square(numbers):
    return float(np.sqrt(np.mean(np.square(numbers))))


def reference_check(problem, prepared, ids):
    """(largest error / bound, largest error / root mean square of the results) over a sample of outputs."""
    worst, errors, exacts = 0.0, [], []
    for got, exact, bound in (check_layer if problem.layer else check_product)(problem, prepared, ids):
        error = np.abs(got.astype(np.float64) - exact)
        share = root_mean_square(error) / root_mean_square(bound) if problem.layer else np.max(error / bound)
        worst = max(worst, np.inf if np.isnan(share) else float(share))
        errors.append(error)
        exacts.append(exact)
    return worst, float(np.max(errors)) / root_mean_square(exacts)
