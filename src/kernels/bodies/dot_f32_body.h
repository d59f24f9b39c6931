/* dot_f32_body.h - dot products of f32 rows with f32 weight rows, lanes along K, in tiles of rows x columns.
 * SPDX-License-Identifier: MIT
 *
 * Include after a vec_<isa>.h. Parameters:
 *   DOT_MR  rows of a tile, 2 to 8. DOT_NR  columns of a tile, 2 to 4: DOT_MR * DOT_NR sums, DOT_NR weights and one
 *           element of x must fit into the registers.
 * A tile loads DOT_MR + DOT_NR vectors for DOT_MR * DOT_NR multiply-adds, straight from the operands: nothing is
 * packed. All columns are walked for the same rows, whose block of x stays in the first-level cache meanwhile. The
 * unroll pragmas matter: without them gcc 12 keeps the sums in memory. */

/* rows x columns sums; both are compile-time constants at every call. */
static inline __attribute__((always_inline)) void dot_tile(const gmm_dot *call, int64_t row, int64_t column, int rows,
                                                           int columns)
{
    const float *const *x = call->x + row;
    const float *w = call->w + column * call->w_stride;
    float *sums = call->sums + (row * GMM_DOT_COLUMNS + column) * GMM_CLASSES;
    vf32 sum[DOT_MR][DOT_NR];
    int64_t k = 0;

#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++)
            sum[r][c] = call->first ? vf32_zero() : vf32_load(sums + (r * GMM_DOT_COLUMNS + c) * GMM_CLASSES);
    for (; k + 16 <= call->k; k += 16) {
        vf32 weight[DOT_NR];
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++)
            weight[c] = vf32_load(w + c * call->w_stride + k);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vf32 element = vf32_load(x[r] + k);
#pragma GCC unroll 4
            for (int c = 0; c < columns; c++)
                sum[r][c] = vf32_fma(element, weight[c], sum[r][c]);
        }
    }
    if (k < call->k)
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int c = 0; c < columns; c++)
                sum[r][c] = vf32_fma_first(call->k - k, x[r] + k, w + c * call->w_stride + k, sum[r][c]);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < columns; c++)
            vf32_store(sums + (r * GMM_DOT_COLUMNS + c) * GMM_CLASSES, sum[r][c]);
}

/* All columns for some rows, a constant at every call. */
static inline __attribute__((always_inline)) void dot_rows(const gmm_dot *call, int64_t row, int rows)
{
    int64_t column = 0;

    for (; column + DOT_NR <= call->columns; column += DOT_NR)
        dot_tile(call, row, column, rows, DOT_NR);
    for (; column < call->columns; column++)
        dot_tile(call, row, column, rows, 1);
}

static void dot_f32(const gmm_dot *call)
{
    int64_t row = 0;

    for (; row + DOT_MR <= call->rows; row += DOT_MR)
        dot_rows(call, row, DOT_MR);
    for (; row + 2 <= call->rows; row += 2)
        dot_rows(call, row, 2);
    if (row < call->rows)
        dot_rows(call, row, 1);
    if (!call->last)
        return;
    for (row = 0; row < call->rows; row++)
        for (int64_t column = 0; column < call->columns; column += 16)
            vf32_store(call->out + row * GMM_DOT_COLUMNS + column,
                       vf32_trees(call->sums + (row * GMM_DOT_COLUMNS + column) * GMM_CLASSES));
}
