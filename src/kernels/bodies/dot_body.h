/* dot_body.h - what all dot bodies share: rows and columns cut into tiles, and the trees at the end.
 * SPDX-License-Identifier: MIT
 *
 * Included by dot_dense_body.h and dot_grouped_body.h, which define dot_tile(). Parameters:
 *   DOT_MR     rows of a tile, 1 to 8. DOT_NR  columns of a tile, a power of two up to 16: DOT_MR * DOT_NR sums and
 * what decodes DOT_NR weights must fit into the registers. DOT_CASES  DOT_CASE(1) ... DOT_CASE(DOT_MR): the heights of
 * tiles. A tile loads DOT_MR + DOT_NR vectors for DOT_MR * DOT_NR multiply-adds, straight from the operands: nothing is
 * packed, and K is never cut. */

enum {
    DOT_ROWS = 16 /* whose sums wait for their trees together */
};

/* Class sums of `rows` rows, a compile-time constant, with DOT_NR columns from `column` on. Columns past the last
 * repeat it; their sums are not used. sums: [rows][16][GMM_CLASSES], at the first column. */
static inline __attribute__((always_inline)) void dot_tile(const gmm_dot *call, int variant, const float *const *x,
                                                           int rows, int64_t column, float *sums);

static inline gmm_row dot_weight_row(const gmm_dot *call, int64_t column)
{
    return gmm_row_at(&call->w, column < call->columns ? column : call->columns - 1);
}

/* How far ahead of a weight's code the same place of the next tile's column is: fetched while this one is used, as
 * short rows in lockstep are too short for the processor to notice. */
static inline int64_t dot_ahead(const gmm_dot *call)
{
    return DOT_NR * call->w.code_bytes;
}

/* `variant` is a compile-time constant. */
static inline __attribute__((always_inline)) void dot_rows(const gmm_dot *call, int variant, int64_t row, int64_t rows)
{
    float sums[DOT_ROWS * 16 * GMM_CLASSES];
    int64_t tiles = gmm_tile_count(rows, DOT_MR);

    for (int64_t column = 0; column < call->columns; column += 16) {
        int64_t columns = call->columns - column < 16 ? call->columns - column : 16;
        for (int64_t c = 0; c < columns; c += DOT_NR)
            for (int64_t t = 0; t < tiles; t++) {
                int64_t begin = gmm_tile_begin(rows, tiles, t), height = gmm_tile_begin(rows, tiles, t + 1) - begin;
                float *at = sums + (begin * 16 + c) * GMM_CLASSES;
                switch (height) {
#define DOT_CASE(height)                                                                                               \
    case height:                                                                                                       \
        if (height <= DOT_MR)                                                                                          \
            dot_tile(call, variant, call->x + row + begin, height < DOT_MR ? height : DOT_MR, column + c, at);         \
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
                             vf32_trees(sums + r * 16 * GMM_CLASSES));
    }
}

static inline __attribute__((always_inline)) void dot_variant(const gmm_dot *call, int variant)
{
    for (int64_t row = 0; row < call->rows; row += DOT_ROWS)
        dot_rows(call, variant, row, call->rows - row < DOT_ROWS ? call->rows - row : DOT_ROWS);
}
