/* dot_body.h - what all dot bodies share: rows and columns cut into tiles, and the trees at the end.
 * SPDX-License-Identifier: MIT
 *
 * Included by dot_dense_body.h and dot_grouped_body.h, which define dot_tile(). Parameters:
 *   DOT_MR     rows of a tile, 1 to 8.
 *   DOT_NR(variant, rows)  columns of a tile of so many rows, 1, 2 or 4: rows * DOT_NR sums and what decodes DOT_NR
 *              weights must fit into the registers.
 * A tile loads rows + columns vectors for rows * columns multiply-adds, straight from the operands: nothing is packed,
 * and K is never cut. */

enum {
    DOT_ROWS = 16,                             /* whose sums wait for their trees together */
    DOT_MAX_NR = 4,                            /* columns that all row tiles take before the next */
    DOT_SUMS = (16 + DOT_MAX_NR) * GMM_CLASSES /* of a row; repeated columns write past the last */
};

/* Where the rows behind a tile of `columns` rows begin: an address to fetch, if there is memory at all. A number, as
 * pointers may not leave their arrays. */
static inline uintptr_t dot_next_tile(const gmm_dot *call, int64_t column, int64_t columns)
{
    return (uintptr_t)gmm_row_at(&call->w, column).codes + (uintptr_t)columns * (uintptr_t)call->w.code_bytes;
}

/* Class sums of `rows` rows with DOT_NR(variant, rows) columns from `column` on, `step` (1 or 0) apart. sums: [rows]
 * [DOT_SUMS], at the first column. variant and rows are compile-time constants. */
static inline __attribute__((always_inline)) void dot_tile(const gmm_dot *call, int variant, const float *const *x,
                                                           int rows, int64_t column, int64_t step, float *sums);

/* Up to DOT_MAX_NR columns. */
static inline __attribute__((always_inline)) void dot_columns(const gmm_dot *call, int variant, const float *const *x,
                                                              int rows, int64_t column, int64_t columns, float *sums)
{
    int64_t c = 0;

    for (; c + DOT_NR(variant, rows) <= columns; c += DOT_NR(variant, rows))
        dot_tile(call, variant, x, rows, column + c, 1, sums + c * GMM_CLASSES);
    for (; c < columns; c++) /* a tile that is one column again and again; few matrices have such columns */
        dot_tile(call, variant, x, rows, column + c, 0, sums + c * GMM_CLASSES);
}

/* `variant` is a compile-time constant. */
static inline __attribute__((always_inline)) void dot_rows(const gmm_dot *call, int variant, int64_t row, int64_t rows)
{
    float sums[DOT_ROWS * DOT_SUMS];
    int64_t tiles = gmm_tile_count(rows, DOT_MR);

    for (int64_t column = 0; column < call->columns; column += 16) {
        int64_t columns = call->columns - column < 16 ? call->columns - column : 16;
        for (int64_t c = 0; c < columns; c += DOT_MAX_NR)
            for (int64_t t = 0; t < tiles; t++) {
                int64_t begin = gmm_tile_begin(rows, tiles, t), height = gmm_tile_begin(rows, tiles, t + 1) - begin;
                int64_t width = columns - c < DOT_MAX_NR ? columns - c : DOT_MAX_NR;
                const float *const *x = call->x + row + begin;
                float *at = sums + begin * DOT_SUMS + c * GMM_CLASSES;
                switch (height) {
#define DOT_CASE(height)                                                                                               \
    case height:                                                                                                       \
        if (height <= DOT_MR)                                                                                          \
            dot_columns(call, variant, x, height < DOT_MR ? height : DOT_MR, column + c, width, at);                   \
        break
                    DOT_CASE(1);
                    DOT_CASE(2);
                    DOT_CASE(3);
                    DOT_CASE(4);
                    DOT_CASE(5);
                    DOT_CASE(6);
                    DOT_CASE(7);
                    DOT_CASE(8);
#undef DOT_CASE
                }
            }
        for (int64_t r = 0; r < rows; r++)
            vf32_store_first(columns, call->out + (row + r) * call->out_stride + column,
                             vf32_trees(sums + r * DOT_SUMS));
    }
}

static inline __attribute__((always_inline)) void dot_variant(const gmm_dot *call, int variant)
{
    for (int64_t row = 0; row < call->rows; row += DOT_ROWS)
        dot_rows(call, variant, row, call->rows - row < DOT_ROWS ? call->rows - row : DOT_ROWS);
}
