/* outer_f32_body.h - outer-product tiles of many f32 rows and a packed f32 panel, lanes along N.
 * SPDX-License-Identifier: MIT
 *
 * Include after a vec_<isa>.h. Parameters:
 *   OUTER_MR  rows whose sums stay in registers together, 1 to GMM_MAX_MR.
 *   OUTER_NV  vectors of 16 columns likewise, 1 or 2: OUTER_MR * OUTER_NV sums and OUTER_NV weights must fit.
 *   OUTER_TOGETHER  classes that a tile of rows takes before the next tile, of weights that are packed: 1 to keep a
 *              class of the weights in the first-level cache, GMM_CLASSES to keep a tile's sums there.
 * One class of K at a time: a class of a block is one run through the packed operands. The unroll pragmas matter:
 * without them gcc 12 keeps the sums in memory. */

/* One class of one tile. */
typedef struct {
    int64_t length;
    const float *a;
    const void *b;     /* f32, bf16 or f16 */
    const float *from; /* sums to go on with; NULL: zeros */
    const float *tree; /* sums of other classes to add, level after level */
    int levels;        /* how many of them */
    int64_t level_stride;
    float *to;
    gmm_ahead *ahead;
} outer_tile;

/* Sixteen weights from number i on. */
static inline __attribute__((always_inline)) vf32 outer_weights(const void *b, gmm_dtype as, int64_t i)
{
    return as == GMM_F32    ? vf32_load((const float *)b + i)
           : as == GMM_BF16 ? vf32_load_bf16((const uint16_t *)b + i)
                            : vf32_load_f16((const uint16_t *)b + i);
}

/* `rows`, `column`, `as` and `only` (there is no other tile) are compile-time constants at every call. */
static inline __attribute__((always_inline)) void outer_columns(const outer_tile *tile, int rows, int column,
                                                                gmm_dtype as, bool only)
{
    vf32 sum[OUTER_MR][OUTER_NV];
    const int element_bytes = as == GMM_F32 ? 4 : 2;
    const float *a = tile->a;
    const char *b = (const char *)tile->b + column * element_bytes;
    const char *ahead = tile->ahead->at;
    int64_t left = tile->ahead->left, step = tile->ahead->step;

#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < OUTER_NV; v++)
            sum[r][v] = tile->from ? vf32_load(tile->from + r * GMM_PANEL + column + v * 16) : vf32_zero();
    for (int64_t length = tile->length; length > 0;) {
        int64_t run = length < left ? length : left, half = step / 2;
        const float *end = a + run * rows;
        length -= run;
        left -= run;
        for (; a != end; a += rows, b += GMM_PANEL * element_bytes) {
            vf32 weight[OUTER_NV];
            /* Halve in every step where memory is the limit. Without the delay fetches run so far ahead that they take
             * what loads need to reach the second-level cache: 8 rows of prepared f32 take 25 % longer, 14 rows 35 %.
             */
            if (only) {
                __asm__("" : "+r"(step));
                half = step / 2;
            }
            __builtin_prefetch(ahead, 0, 2);
            __builtin_prefetch(ahead + half, 0, 2); /* another line where a step is two */
            ahead += step;
#pragma GCC unroll 2
            for (int v = 0; v < OUTER_NV; v++)
                weight[v] = outer_weights(b, as, v * 16);
#pragma GCC unroll 16
            for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
                for (int v = 0; v < OUTER_NV; v++)
                    sum[r][v] = vf32_fma(vf32_all(a[r]), weight[v], sum[r][v]);
        }
        if (left == 0) {
            gmm_ahead_row(tile->ahead);
            ahead = tile->ahead->at;
            left = tile->ahead->left;
            step = tile->ahead->step;
        }
    }
    tile->ahead->at = ahead;
    tile->ahead->left = left;
    for (int level = 0; level < tile->levels; level++) {
        const float *other = tile->tree + level * tile->level_stride + column;
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
            for (int v = 0; v < OUTER_NV; v++)
                sum[r][v] = vf32_add(sum[r][v], vf32_load(other + r * GMM_PANEL + v * 16));
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < OUTER_NV; v++)
            vf32_store(tile->to + r * GMM_PANEL + column + v * 16, sum[r][v]);
}

/* `as` and `only` are compile-time constants at every call. */
static inline __attribute__((always_inline)) void outer_tile_as(const outer_tile *tile, int64_t rows, gmm_dtype as,
                                                                bool only)
{
    switch (rows) {
#define OUTER_CASE(height)                                                                                             \
    case height:                                                                                                       \
        for (int column = 0; height <= OUTER_MR && column < GMM_PANEL; column += 16 * OUTER_NV)                        \
            outer_columns(tile, height < OUTER_MR ? height : OUTER_MR, column, as, only);                              \
        break
        OUTER_CASE(1);
        OUTER_CASE(2);
        OUTER_CASE(3);
        OUTER_CASE(4);
        OUTER_CASE(5);
        OUTER_CASE(6);
        OUTER_CASE(7);
        OUTER_CASE(8);
        OUTER_CASE(9);
        OUTER_CASE(10);
        OUTER_CASE(11);
        OUTER_CASE(12);
        OUTER_CASE(13);
        OUTER_CASE(14);
        OUTER_CASE(15);
        OUTER_CASE(16);
#undef OUTER_CASE
    }
}

static void outer_tile_of(const outer_tile *tile, int64_t rows, gmm_dtype as, bool only)
{
    if (as == GMM_BF16)
        outer_tile_as(tile, rows, GMM_BF16, false);
    else if (as == GMM_F16)
        outer_tile_as(tile, rows, GMM_F16, false);
    else if (only)
        outer_tile_as(tile, rows, GMM_F32, true);
    else
        outer_tile_as(tile, rows, GMM_F32, false);
}

/* Where a class is: its number in the order of the tree, and its weights. */
typedef struct {
    int64_t turn;
    const void *b;
} outer_class;

/* One class of one tile: rows from number `row` on, whose packed elements begin at `a`. */
static inline void outer_one(const gmm_outer *call, int64_t tiles, int64_t row, int64_t rows, const float *a,
                             outer_class at)
{
    int64_t c = gmm_class_in_tree(at.turn, call->classes), sums = call->rows * GMM_PANEL, first = row * GMM_PANEL;
    float *class_sums = call->sums + c * sums + first;
    outer_tile tile = {
        .length = gmm_class_length(call->k, call->classes, c),
        .a = a + c * gmm_class_stride(call->k, call->classes, rows),
        .b = at.b,
        .from = call->first ? NULL : class_sums,
        .tree = call->tree + first,
        .level_stride = sums,
        .ahead = call->ahead,
    };

    while (call->last && at.turn >> tile.levels & 1)
        tile.levels++;
    tile.to = !call->last                    ? class_sums
              : at.turn == call->classes - 1 ? call->out + first
                                             : call->tree + tile.levels * sums + first;
    outer_tile_of(&tile, rows, call->prepared ? call->prepared_type : GMM_F32, call->prepared && tiles == 1);
}

/* The weights of a class. Decoded ones lie in the order of the tree from class `begin` on. */
static inline outer_class outer_class_at(const gmm_outer *call, int64_t turn, int64_t begin)
{
    int64_t one = gmm_class_length(call->k, call->classes, 0) * GMM_PANEL;

    if (call->prepared)
        return (outer_class){turn,
                             (const char *)call->prepared + turn * one * (call->prepared_type == GMM_F32 ? 4 : 2)};
    if (call->codes)
        return (outer_class){turn, call->b + (turn - begin) * one};
    return (outer_class){turn, call->b + gmm_class_in_tree(turn, call->classes) *
                                             gmm_class_stride(call->k, call->classes, GMM_PANEL)};
}

static void outer_f32(const gmm_outer *call)
{
    int64_t tiles = gmm_tile_count(call->rows, OUTER_MR);
    int64_t together = call->codes      ? gmm_classes_together(call->k, call->classes)
                       : call->prepared ? 1 /* as they come from memory */
                                        : OUTER_TOGETHER;

    for (int64_t begin = 0; begin < call->classes; begin += together) {
        int64_t end = begin + together < call->classes ? begin + together : call->classes;
        const float *a = call->a;
        for (int64_t turn = begin; call->codes && turn < end; turn++)
            call->class_decode(call->codes, gmm_class_in_tree(turn, call->classes),
                               call->b + (turn - begin) * gmm_class_length(call->k, call->classes, 0) * GMM_PANEL);
        for (int64_t t = 0; t < tiles; t++) {
            int64_t row = gmm_tile_begin(call->rows, tiles, t), rows = gmm_tile_begin(call->rows, tiles, t + 1) - row;
            for (int64_t turn = begin; turn < end; turn++)
                outer_one(call, tiles, row, rows, a, outer_class_at(call, turn, begin));
            a += call->classes * gmm_class_stride(call->k, call->classes, rows);
        }
    }
}

/* Sixteen elements from k on of each row, transposed; `whole`, a compile-time constant, says that there are so many. */
static inline __attribute__((always_inline)) void pack_16(const gmm_pack *call, int64_t k, bool whole)
{
    int64_t elements = call->k - k, step = call->classes == 1 ? call->stride : call->class_stride;
    float *to = call->to + k / call->classes * call->stride;
    vf32 block[16];

#pragma GCC unroll 16
    for (int r = 0; r < 16; r++)
        block[r] = r >= call->rows ? vf32_zero()
                   : whole         ? vf32_load(call->from[r] + k)
                                   : vf32_load_first(elements, call->from[r] + k);
    vf32_transpose(block);
#pragma GCC unroll 16
    for (int c = 0; c < 16; c++)
        if (whole || c < elements)
            vf32_store(to + c * step, block[c]);
}

static void pack_f32(const gmm_pack *call)
{
    int64_t k = 0;

    for (; k + 16 <= call->k; k += 16)
        pack_16(call, k, true);
    if (k < call->k)
        pack_16(call, k, false);
}
