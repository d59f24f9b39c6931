/* sweep_f32_body.h - few f32 rows times weights that lie [K, N], lanes along N: weights are read row by row as they
 * lie. SPDX-License-Identifier: MIT
 *
 * Include after a vec_<isa>.h. Parameter:
 *   SWEEP_SUMS  vectors of 16 sums that stay in registers, beside one of weights and one element of x.
 * The unroll pragmas matter: without them gcc 12 keeps the sums in memory. */

enum {
    SWEEP_MR = 4,    /* rows of a tile */
    SWEEP_AHEAD = 8, /* rows of weights from where one is used to where one is fetched */
};

/* Rows [row, row + rows) times 16 * vectors columns. `rows` and `vectors` are compile-time constants. */
static inline __attribute__((always_inline)) void sweep_tile(const gmm_sweep *call, int64_t row, int rows,
                                                             int64_t column, int vectors)
{
    const float *const *x = call->x + row;
    float *sums = call->sums + row * call->sums_stride + column;
    uintptr_t ahead = (uintptr_t)(call->b + column) + (uintptr_t)(SWEEP_AHEAD * call->b_stride) * sizeof(float);
    vf32 sum[SWEEP_MR][SWEEP_SUMS];

#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 24
        for (int v = 0; v < vectors; v++)
            sum[r][v] = vf32_load(sums + r * call->sums_stride + v * 16);
    for (int64_t k = 0; k < call->k; k++, ahead += (uintptr_t)call->b_stride * sizeof(float)) {
        const float *b = call->b + k * call->b_stride + column;
#pragma GCC unroll 24
        for (int v = 0; v < vectors; v++) {
            vf32 weight = vf32_load(b + v * 16);
            __builtin_prefetch((const void *)(ahead + (uintptr_t)v * 64));
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++)
                sum[r][v] = vf32_fma(vf32_all(x[r][k]), weight, sum[r][v]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 24
        for (int v = 0; v < vectors; v++)
            vf32_store(sums + r * call->sums_stride + v * 16, sum[r][v]);
}

/* The last columns, fewer than 16. */
static void sweep_rest(const gmm_sweep *call, int64_t row, int64_t column, int64_t columns)
{
    float *sums = call->sums + row * call->sums_stride + column;
    vf32 sum = vf32_load_first(columns, sums);

    for (int64_t k = 0; k < call->k; k++)
        sum = vf32_fma(vf32_all(call->x[row][k]), vf32_load_first(columns, call->b + k * call->b_stride + column), sum);
    vf32_store_first(columns, sums, sum);
}

static inline __attribute__((always_inline)) void sweep_rows(const gmm_sweep *call, int64_t row, int rows)
{
    const int most = SWEEP_SUMS / rows > 1 ? SWEEP_SUMS / rows : 1;
    int64_t column = 0;

    for (; column + 16 * most <= call->columns; column += 16 * most)
        sweep_tile(call, row, rows, column, most);
    for (; column + 16 <= call->columns; column += 16)
        sweep_tile(call, row, rows, column, 1);
    for (int r = 0; r < rows && column < call->columns; r++)
        sweep_rest(call, row + r, column, call->columns - column);
}

static void sweep_f32(const gmm_sweep *call)
{
    int64_t tiles = gmm_tile_count(call->rows, SWEEP_MR);

    for (int64_t t = 0; t < tiles; t++) {
        int64_t row = gmm_tile_begin(call->rows, tiles, t);
        switch (gmm_tile_begin(call->rows, tiles, t + 1) - row) {
        case 1:
            sweep_rows(call, row, 1);
            break;
        case 2:
            sweep_rows(call, row, 2);
            break;
        case 3:
            sweep_rows(call, row, 3);
            break;
        default:
            sweep_rows(call, row, 4);
        }
    }
}
