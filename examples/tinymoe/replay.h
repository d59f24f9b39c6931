/* replay.h - the bug that this library was written after, on the shape where it was found. */
/* SPDX-License-Identifier: MIT */
#ifndef TINYMOE_REPLAY_H
#define TINYMOE_REPLAY_H

#include "gathermm/gathermm.h"

/*
 * A vendor's cblas_sgemm reads C although beta is 0: only for M = 1 (N = 512, K = 544), only with B off a 64-byte
 * boundary, and seen only where C holds a stale NaN. A gathered product that calls it once per row, as MLX on the CPU
 * does, answers NaN now and then.
 */
enum {
    REPLAY_N = 512,
    REPLAY_K = 544,
    REPLAY_OFFSETS = 16 /* where a float can lie between two 64-byte boundaries */
};

/*
 * One fresh process of the replay: after quantized products full of NaN, a one-row gathered product with B at every
 * offset, in both layouts, into C full of NaN. Returns how many of the 2 * REPLAY_OFFSETS are wrong: not within the
 * bound of the double-precision result, or not the same bits as the others of their layout.
 */
int replay_one(const gmm_context *context, uint64_t seed);

/* Run `self --replay-one SEED --threads THREADS` for seeds 1 to `processes`, in fresh processes; returns how many were
 * right. */
int64_t replay_processes(const char *self, int64_t processes, int32_t threads);

/* What one product through the faulty BLAS, or through this library, gave. */
typedef struct replay_case {
    const char *product, *operands;
    bool right;
    int nan_count;           /* columns that are NaN, over all rows */
    int first_nan, last_nan; /* columns */
} replay_case;

enum {
    REPLAY_CASES = 6
};

/*
 * The product by cblas_sgemm of the library at `path`, its controls, and by this library: fills in cases, the bug
 * first, this library last. Returns false when the library cannot be loaded or has no cblas_sgemm; *why then says so.
 */
bool replay_faulty(const gmm_context *context, const char *path, replay_case cases[REPLAY_CASES], const char **why);

#endif
