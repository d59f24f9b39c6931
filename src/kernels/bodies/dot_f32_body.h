/* dot_f32_body.h - dot products of a few f32 rows with f32 weight rows, lanes along K.
 * SPDX-License-Identifier: MIT
 *
 * Include after a vec_<isa>.h. Parameter:
 *   DOT_MR  rows whose running sums stay in registers together, 1 to 8 (a register each, two on AVX2).
 * A weight vector is loaded once for DOT_MR rows. The unroll pragmas matter: without them gcc 12 keeps the sums in
 * memory. */

/* Lane sums to one sum, in the tree +8, +4, +2, +1. */
static inline float tree_of_lanes(vf32 v)
{
    float lanes[16];

    vf32_store(lanes, v);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            lanes[i] += lanes[i + half];
    return lanes[0];
}

/* rows <= DOT_MR rows, a compile-time constant at every call. */
static inline __attribute__((always_inline)) void dot_rows(const gmm_dot *call, int64_t column, int64_t row, int rows)
{
    const float *w = call->w + column * call->w_stride;
    const float *const *x = call->x + row;
    float *sums = call->sums + (column * call->rows + row) * GMM_CLASSES;
    vf32 sum[DOT_MR];
    int64_t k = 0;

#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        sum[r] = call->first ? vf32_zero() : vf32_load(sums + r * GMM_CLASSES);
    for (; k + 16 <= call->k; k += 16) {
        vf32 weight = vf32_load(w + k);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            sum[r] = vf32_fma(vf32_load(x[r] + k), weight, sum[r]);
    }
    if (k < call->k)
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            sum[r] = vf32_fma_first(call->k - k, x[r] + k, w + k, sum[r]);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        if (call->last)
            call->out[(row + r) * call->out_stride + column] = tree_of_lanes(sum[r]);
        else
            vf32_store(sums + r * GMM_CLASSES, sum[r]);
    }
}

static void dot_f32(const gmm_dot *call)
{
    for (int64_t column = 0; column < call->columns; column++) {
        int64_t row = 0;
        for (; row + DOT_MR <= call->rows; row += DOT_MR)
            dot_rows(call, column, row, DOT_MR);
        for (; row + 2 <= call->rows; row += 2)
            dot_rows(call, column, row, 2);
        if (row < call->rows)
            dot_rows(call, column, row, 1);
    }
}
