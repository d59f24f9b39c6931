/* dot_dense_body.h - dot products of f32 rows with dense weight rows of any length, lanes along K.
 * SPDX-License-Identifier: MIT
 *
 * Include after a vec_<isa>.h. Parameters: those of dot_body.h, and
 *   DENSE_BYTES  of an element.
 *   vf32 dense_weights(const void *from);                  16 elements
 *   vf32 dense_first(int64_t count, const void *from);     the first 1 to 15, 0 in the other lanes
 * The unroll pragmas matter: without them gcc 12 keeps the sums in memory. */
#include "kernels/bodies/dot_body.h"

static inline __attribute__((always_inline)) void dot_tile(const gmm_dot *call, int variant, const float *const *x,
                                                           int rows, int64_t column, int64_t step, float *sums)
{
    const int nr = DOT_NR(variant, rows);
    const int64_t stride = step * call->w.code_bytes;
    const char *w = gmm_row_at(&call->w, column).codes;
    uintptr_t next_tile = dot_next_tile(call, column, nr);
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
        /* Rows lie one after the other, so the next tile's are one stream, nr times as fast. */
        for (int64_t line = 0; line < nr * 16 * DENSE_BYTES; line += 64)
            __builtin_prefetch((const void *)(next_tile + (uintptr_t)line));
        next_tile += (uintptr_t)nr * 16 * DENSE_BYTES;
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
