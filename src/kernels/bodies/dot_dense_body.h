/* dot_dense_body.h - dot products of f32 rows with dense weight rows of any length, lanes along K.
 * SPDX-License-Identifier: MIT
 *
 * Include after a vec_<isa>.h. Parameters: those of dot_body.h, and
 *   DENSE_BYTES  of an element.
 *   vf32 dense_weights(const void *from);                  16 elements
 *   vf32 dense_first(int64_t count, const void *from);     the first 1 to 15, 0 in the other lanes
 * The unroll pragmas matter: without them gcc 12 keeps the sums in memory. */
#include "kernels/bodies/dot_body.h"

enum {
    DENSE_AHEAD = 1024, /* bytes */
    DENSE_FAR = 32768
};

/* What a tile fetches: each of its rows DENSE_AHEAD bytes ahead, and where a row ends, the row of the next tile that
 * will be read in its place. Or, far away, memory in its order, as fast as it is read. Addresses and not pointers, as
 * they may leave the array. */
typedef struct {
    uintptr_t at;
    int64_t left; /* bytes up to the rows' ends */
    int64_t jump;
    bool far;
} dense_fetch;

static inline dense_fetch dense_fetch_begin(const void *row, int columns, int64_t stride, int64_t row_bytes, bool far)
{
    int64_t ahead = row_bytes < DENSE_AHEAD ? row_bytes : DENSE_AHEAD;

    if (far)
        return (dense_fetch){.at = (uintptr_t)row + DENSE_FAR, .far = true};
    return (dense_fetch){(uintptr_t)row + (uintptr_t)ahead, row_bytes - ahead, columns * stride - row_bytes, false};
}

static inline __attribute__((always_inline)) void dense_fetch_step(dense_fetch *fetch, int columns, int64_t stride)
{
    if (fetch->far) {
#pragma GCC unroll 4
        for (int i = 0; i < columns * 16 * DENSE_BYTES; i += 64)
            __builtin_prefetch((const void *)(fetch->at + (uintptr_t)i), 0, 2);
        fetch->at += (uintptr_t)columns * 16 * DENSE_BYTES;
        return;
    }
    if (fetch->left <= 0) {
        fetch->at += (uintptr_t)fetch->jump;
        fetch->left = INT64_MAX;
    }
#pragma GCC unroll 4
    for (int c = 0; c < columns; c++)
        __builtin_prefetch((const void *)(fetch->at + (uintptr_t)(c * stride)));
    fetch->at += 16 * DENSE_BYTES;
    fetch->left -= 16 * DENSE_BYTES;
}

static inline __attribute__((always_inline)) void dot_tile(const gmm_dot *call, int variant, const float *const *x,
                                                           int rows, int64_t column, int64_t step, float *sums)
{
    const int nr = DOT_NR(variant, rows);
    const int64_t stride = step * call->w.code_bytes;
    const char *w = gmm_row_at(&call->w, column).codes;
    dense_fetch fetch = dense_fetch_begin(w, nr, stride, call->k * DENSE_BYTES, call->far);
    vf32 sum[DOT_MR][DOT_MAX_NR];
    int64_t k = 0;

    (void)variant;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < nr; c++)
            sum[r][c] = vf32_zero();
    for (; k + 16 <= call->k; k += 16, w += 16 * DENSE_BYTES) {
        vf32 weight[DOT_MAX_NR];
        dense_fetch_step(&fetch, nr, stride);
#pragma GCC unroll 4
        for (int c = 0; c < nr; c++)
            weight[c] = dense_weights(w + c * stride);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vf32 element = vf32_load(x[r] + k);
#pragma GCC unroll 4
            for (int c = 0; c < nr; c++)
                sum[r][c] = vf32_fma(element, weight[c], sum[r][c]);
        }
    }
    if (k < call->k)
#pragma GCC unroll 4
        for (int c = 0; c < nr; c++) {
            vf32 weight = dense_first(call->k - k, w + c * stride);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++)
                sum[r][c] = vf32_fma_first(call->k - k, x[r] + k, weight, sum[r][c]);
        }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < nr; c++)
            vf32_store(sums + r * DOT_SUMS + c * GMM_CLASSES, sum[r][c]);
}

static void dot_dense(const gmm_dot *call)
{
    dot_variant(call, 0);
}
