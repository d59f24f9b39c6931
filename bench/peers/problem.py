# problem.py - the operands of a case, the same numbers for every library, and the memory that their copies take.
# SPDX-License-Identifier: MIT
import pathlib

import ml_dtypes
import numpy as np

DTYPES = {"f32": np.dtype(np.float32), "f16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
KEEP_FREE_BYTES = 1 << 30


class Unsupported(Exception):
    """A library cannot take part in a case; says why."""


def last_level_cache_bytes():
    """The largest cache of CPU 0, 32 MiB if the system does not say."""
    sizes = [32 << 20]
    for path in pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        sizes.append(int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[text[-1]])
    return max(sizes[1:] or sizes)


def available_bytes():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    raise RuntimeError("/proc/meminfo has no MemAvailable")


def copies_for(stack_bytes, cache_bytes):
    """How many copies of a stack of weights make any use of them a use from memory.

    Repetitions take one copy after the other. Two at least, so that the call before a timed one warms another copy;
    one, when the stack alone is so large that it does not matter."""
    if stack_bytes >= 4 * cache_bytes:
        return 1
    return max(2, -(-2 * cache_bytes // stack_bytes))


class Matrix:
    """A matrix of each expert: expert e's is `base` with its rows turned by e * step. All differ, and only one is ever
    quantized."""

    def __init__(self, rng, rows, columns, experts, dtype):
        self.base = (rng.standard_normal((rows, columns), np.float32) / np.float32(columns**0.5)).astype(dtype)
        self.experts = experts
        self.step = rows // experts

    def stack(self, base):
        """(experts, rows, ...), made of the rows of `base`, which are in a library's own layout."""
        stack = np.empty((self.experts,) + base.shape, base.dtype)
        for expert, matrix in enumerate(stack):
            turn = expert * self.step
            matrix[:len(base) - turn] = base[turn:]
            matrix[len(base) - turn:] = base[:turn]
        return stack

    def base_rows(self, expert, columns):
        """Which rows of a library's base are these columns of an expert's outputs."""
        return (columns + int(expert) * self.step) % len(self.base)


class Problem:
    """matrices: of a product its one, (N, K); of a layer gate and up, (N, K), and down, (K, N). weights: of a layer,
    those of a token's experts, which bf16 can hold."""

    def __init__(self, case, seed, cache_bytes):
        shape = case.shape
        rng = np.random.default_rng(seed)
        dtype = DTYPES["bf16" if case.format.mode else case.format.name]
        self.case = case
        self.layer = case.what == "layer"
        self.cache_bytes = cache_bytes
        sizes = [(shape.n, shape.k)] * 2 + [(shape.k, shape.n)] if self.layer else [(shape.n, shape.k)]
        self.matrices = [Matrix(rng, *size, shape.experts, dtype) for size in sizes]
        x = rng.standard_normal((case.tokens, shape.k), np.float32)
        self.x = x.astype(DTYPES[case.activations])
        weights = rng.random((case.tokens, shape.top_k)) + 0.1
        self.weights = (weights / weights.sum(axis=1, keepdims=True)).astype(DTYPES["bf16"]).astype(np.float32)
        self.rng = rng

    def copies(self, *bases):
        """How many copies of the weights a library needs whose layout of the matrices is these arrays."""
        shape = self.case.shape
        stack_bytes = shape.experts * sum(base.nbytes for base in bases)
        count = 1 if shape.in_cache else copies_for(stack_bytes, self.cache_bytes)
        if count * stack_bytes + KEEP_FREE_BYTES > available_bytes():
            raise Unsupported(f"no memory for {count} x {stack_bytes / 1e9:.1f} GB of weights")
        return count

    def sample_columns(self, count):
        """Which elements of a result to check: the first, the last, and random ones."""
        width = len(self.matrices[-1].base)
        return np.concatenate([[0, width - 1], self.rng.integers(0, width, count - 2)])

    def sample(self, ids, count=4, columns=32):
        """[(token, slot, expert, columns)] of outputs to check: the first, the last, and random ones."""
        tokens, top_k = ids.shape
        positions = {0, tokens * top_k - 1, *self.rng.integers(0, tokens * top_k, count - 2).tolist()}
        return [(p // top_k, p % top_k, ids[p // top_k, p % top_k], self.sample_columns(columns))
                for p in sorted(positions)]
