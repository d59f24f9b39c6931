/* dot_dense_body.h - dot products of f32 rows with dense weight rows of any length, lanes along K.
 * SPDX-License-Identifier: MIT
 *
 * Include after a vec_<isa>.h. Parameters: those of dot_body.h, and
 *   DENSE_BYTES    of an element.
 *   dense_weights  vf32 dense_weights(const void *from): 16 elements.
 *   dense_first    vf32 dense_first(int64_t count, const void *from): the first 1 to 15, 0 in the other lanes.
 * The unroll pragmas matter: without them gcc 12 keeps the sums in memory. */
#include "kernels/bodies/dot_body.h"

static inline __attribute__((always_inline)) void dot_tile(const gmm_dot *call, int variant, const float *const *x,
                                                           int rows, int64_t column, float *sums)
{
    const char *w[DOT_NR];
    vf32 sum[DOT_MR][DOT_NR];
    int64_t k = 0, ahead = dot_ahead(call);

    (void)variant;
#pragma GCC unroll 4
    for (int c = 0; c < DOT_NR; c++)
        w[c] = dot_weight_row(call, column + c).codes;
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < DOT_NR; c++)
            sum[r][c] = vf32_zero();
    for (; k + 16 <= call->k; k += 16) {
        vf32 weight[DOT_NR];
#pragma GCC unroll 4
        for (int c = 0; c < DOT_NR; c++) {
            __builtin_prefetch(w[c] + k * DENSE_BYTES + ahead);
            weight[c] = dense_weights(w[c] + k * DENSE_BYTES);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vf32 element = vf32_load(x[r] + k);
#pragma GCC unroll 4
            for (int c = 0; c < DOT_NR; c++)
                sum[r][c] = vf32_fma(element, weight[c], sum[r][c]);
        }
    }
    if (k < call->k)
#pragma GCC unroll 4
        for (int c = 0; c < DOT_NR; c++) {
            vf32 weight = dense_first(call->k - k, w[c] + k * DENSE_BYTES);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++)
                sum[r][c] = vf32_fma_first(call->k - k, x[r] + k, weight, sum[r][c]);
        }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < DOT_NR; c++)
            vf32_store(sums + (r * 16 + c) * GMM_CLASSES, sum[r][c]);
}

static void dot_dense(const gmm_dot *call)
{
    dot_variant(call, 0);
}
