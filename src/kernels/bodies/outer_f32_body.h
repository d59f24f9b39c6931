/* outer_f32_body.h - outer-product tiles of many f32 rows and a packed f32 panel, lanes along N.
 * SPDX-License-Identifier: MIT
 *
 * Include after a vec_<isa>.h. Parameters:
 *   OUTER_MR         rows whose sums stay in registers together, 1 to GMM_MAX_MR.
 *   OUTER_NV         vectors of 16 columns likewise, 1 or 2: OUTER_MR * OUTER_NV sums and OUTER_NV weights must fit.
 *   OUTER_ROW_STEPS  the row counts to compile for, rising, OUTER_MR last, as initialisers: 1, 2, 4, 8, 14.
 *   OUTER_CASES      the same as calls: OUTER_CASE(1) OUTER_CASE(2) ...
 * One class of K at a time: a class of a block is one run through the packed operands. The unroll pragmas matter:
 * without them gcc 12 keeps the sums in memory. */

static const uint8_t outer_row_steps[] = {OUTER_ROW_STEPS};

/* One class, rows x 16 * OUTER_NV columns; `rows` is a compile-time constant at every call. */
static inline __attribute__((always_inline)) void outer_class(int rows, int64_t length, bool first, const float *a,
                                                              const float *b, float *sums)
{
    vf32 sum[OUTER_MR][OUTER_NV];

#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < OUTER_NV; v++)
            sum[r][v] = first ? vf32_zero() : vf32_load(sums + r * GMM_PANEL + v * 16);
    for (int64_t i = 0; i < length; i++, a += rows, b += GMM_PANEL) {
        vf32 weight[OUTER_NV];
#pragma GCC unroll 2
        for (int v = 0; v < OUTER_NV; v++)
            weight[v] = vf32_load(b + v * 16);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
            for (int v = 0; v < OUTER_NV; v++)
                sum[r][v] = vf32_fma(vf32_all(a[r]), weight[v], sum[r][v]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < OUTER_NV; v++)
            vf32_store(sums + r * GMM_PANEL + v * 16, sum[r][v]);
}

static inline __attribute__((always_inline)) void outer_rows(const gmm_outer *call, int rows)
{
    for (int64_t c = 0; c < call->classes; c++) {
        int64_t length = gmm_class_length(call->k, call->classes, c);
        const float *a = call->a + gmm_class_offset(call->k, call->classes, rows, c);
        const float *b = call->b + gmm_class_offset(call->k, call->classes, GMM_PANEL, c);
        for (int column = 0; column < GMM_PANEL; column += 16 * OUTER_NV)
            outer_class(rows, length, call->first, a, b + column, call->sums + c * OUTER_MR * GMM_PANEL + column);
    }
}

/* Where element k + c goes, k a multiple of 16. */
static inline float *packed_place(const gmm_pack *call, int64_t k, int64_t c)
{
    if (call->classes == 1)
        return call->to + (k + c) * call->stride;
    return call->to + gmm_class_offset(call->k, GMM_CLASSES, call->stride, c) + k / GMM_CLASSES * call->stride;
}

static void pack_f32(const gmm_pack *call)
{
    vf32 block[16];

    for (int64_t k = 0; k < call->k; k += 16) {
        int64_t elements = call->k - k < 16 ? call->k - k : 16;
        for (int r = 0; r < 16; r++)
            block[r] = r >= call->rows  ? vf32_zero()
                       : elements == 16 ? vf32_load(call->from[r] + k)
                                        : vf32_load_first(elements, call->from[r] + k);
        vf32_transpose(block);
        for (int64_t c = 0; c < elements; c++)
            vf32_store_first(call->width, packed_place(call, k, c), block[c]);
    }
}

/* The classes of 16 columns of one row, in the tree +8, +4, +2, +1 (nothing to add for one class). */
static inline vf32 tree_of_classes(const float *sums, int64_t classes)
{
    vf32 sum[GMM_CLASSES];

    if (classes == 1)
        return vf32_load(sums);
#pragma GCC unroll 16
    for (int c = 0; c < GMM_CLASSES; c++)
        sum[c] = vf32_load(sums + c * OUTER_MR * GMM_PANEL);
#pragma GCC unroll 4
    for (int half = 8; half; half /= 2)
#pragma GCC unroll 8
        for (int c = 0; c < half; c++)
            sum[c] = vf32_add(sum[c], sum[c + half]);
    return sum[0];
}

static void outer_f32(const gmm_outer *call)
{
    int steps = 0;

    while (outer_row_steps[steps] < call->rows)
        steps++;
    switch (outer_row_steps[steps]) {
#define OUTER_CASE(rows)                                                                                               \
    case rows:                                                                                                         \
        outer_rows(call, rows);                                                                                        \
        break;
        OUTER_CASES
#undef OUTER_CASE
    }
    if (!call->last)
        return;
    for (int64_t r = 0; r < call->rows; r++)
        for (int64_t column = 0; column < GMM_PANEL; column += 16)
            vf32_store(call->out + r * GMM_PANEL + column,
                       tree_of_classes(call->sums + r * GMM_PANEL + column, call->classes));
}
