/* dot_grouped_body.h - dot products of f32 rows with quantized weight rows, decoded in registers; and decode.
 * SPDX-License-Identifier: MIT
 *
 * Include after a vec_<isa>.h. Parameters: those of dot_body.h, and
 *   GROUP_STEP  codes that are decoded together: 32, or 16 for groups of 16.
 *   GROUP_SIZE(const gmm_weights *)  codes of a group; a constant where the format has one size only.
 *   GROUP_TOGETHER  false where registers are few: a column's weights are used before the next column's are decoded.
 *       Else, or if not defined, all columns' weights are, so that x is loaded once for them.
 *   group  a type: what a group's codes are decoded with, in registers.
 *   group group_begin(int variant, float scale, float bias);
 *   void group_weights(int variant, const group *of, const uint8_t *codes, vf32 *weights);
 *       GROUP_STEP codes into GROUP_STEP / 16 vectors. It reads nothing but these codes.
 *   vf32 group_order(int variant, vf32 lanes);
 *       Lanes as group_weights() gives them into the order of K.
 *   void group_scales(int variant, const gmm_weights *weights, gmm_row row, int64_t first, int64_t count,
 *                     float *scales, float *biases);
 *       Of groups first, first + 1, ... as f32, with room for a multiple of 16; biases may be left alone.
 *   int64_t group_bits(int variant);
 *       The size of a code.
 *
 * `variant` is a compile-time constant at every call: formats use it for the number of bits and the like. */
#include "kernels/bodies/dot_body.h"

#ifndef GROUP_TOGETHER
#define GROUP_TOGETHER true
#endif

enum {
    GROUPS_AHEAD = 64, /* groups whose scales are converted together */
    GROUPS_FAR = 16384 /* bytes */
};

static inline __attribute__((always_inline)) void dot_tile(const gmm_dot *call, int variant, const float *const *x,
                                                           int rows, int64_t column, int64_t step, float *sums)
{
    const int nr = DOT_NR(variant, rows);
    const int64_t size = GROUP_SIZE(call->weights), step_bytes = GROUP_STEP * group_bits(variant) / 8;
    const int64_t stride = step * call->w.code_bytes;
    const uint8_t *codes = (const uint8_t *)gmm_row_at(&call->w, column).codes;
    uintptr_t next = call->far ? (uintptr_t)codes + GROUPS_FAR : dot_next_tile(call, column, nr);
    int64_t groups = call->k / size, k = 0;
    float scales[DOT_MAX_NR][GROUPS_AHEAD], biases[DOT_MAX_NR][GROUPS_AHEAD];
    vf32 sum[DOT_MR][DOT_MAX_NR];

#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < nr; c++)
            sum[r][c] = vf32_zero();
    for (int64_t first = 0; first < groups; first += GROUPS_AHEAD) {
        int64_t count = groups - first < GROUPS_AHEAD ? groups - first : GROUPS_AHEAD;
        for (int c = 0; c < nr; c++)
            group_scales(variant, call->weights, gmm_row_at(&call->w, column + c * step), first, count, scales[c],
                         biases[c]);
#pragma GCC unroll 2
        for (int64_t g = 0; g < count; g++) {
            group group_of[DOT_MAX_NR];
#pragma GCC unroll 4
            for (int c = 0; c < nr; c++)
                group_of[c] = group_begin(variant, scales[c][g], biases[c][g]);
            for (int64_t end = k + size; k < end; k += GROUP_STEP, codes += step_bytes) {
                vf32 weight[DOT_MAX_NR][GROUP_STEP / 16];
                /* Rows lie one after the other, so what comes is one stream, nr times as fast. */
                for (int64_t line = 0; line < nr * step_bytes; line += 64)
                    if (call->far)
                        __builtin_prefetch((const void *)(next + (uintptr_t)line), 0, 2);
                    else
                        __builtin_prefetch((const void *)(next + (uintptr_t)line));
                next += (uintptr_t)(nr * step_bytes);
#pragma GCC unroll 4
                for (int c = 0; c < nr; c++) {
                    group_weights(variant, &group_of[c], codes + c * stride, weight[c]);
#pragma GCC unroll 8
                    for (int r = 0; r < rows && !GROUP_TOGETHER; r++)
#pragma GCC unroll 2
                        for (int v = 0; v < GROUP_STEP / 16; v++)
                            sum[r][c] = vf32_fma(vf32_load(x[r] + k + v * 16), weight[c][v], sum[r][c]);
                    /* Else gcc mixes the columns, keeps x for all of them, and spills the sums. */
                    if (!GROUP_TOGETHER && c + 1 < nr)
                        __asm__ volatile("" ::: "memory");
                }
#pragma GCC unroll 8
                for (int r = 0; r < rows && GROUP_TOGETHER; r++)
#pragma GCC unroll 2
                    for (int v = 0; v < GROUP_STEP / 16; v++) {
                        vf32 element = vf32_load(x[r] + k + v * 16);
#pragma GCC unroll 4
                        for (int c = 0; c < nr; c++)
                            sum[r][c] = vf32_fma(element, weight[c][v], sum[r][c]);
                    }
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int c = 0; c < nr; c++)
            vf32_store(sums + r * DOT_SUMS + c * GMM_CLASSES, group_order(variant, sum[r][c]));
}

static inline __attribute__((always_inline)) void decode_variant(const gmm_weights *weights, int variant, gmm_row row,
                                                                 int64_t begin, int64_t count, float *out)
{
    int64_t size = GROUP_SIZE(weights), bits = group_bits(variant), end = begin + count;
    const uint8_t *codes = (const uint8_t *)row.codes + begin / 8 * bits;
    float scales[GROUPS_AHEAD], biases[GROUPS_AHEAD];

    for (int64_t i = begin; i < end;) {
        int64_t first = i / size, groups = (end - 1) / size + 1 - first;
        groups = groups < GROUPS_AHEAD ? groups : GROUPS_AHEAD;
        group_scales(variant, weights, row, first, groups, scales, biases);
        for (int64_t g = 0; g < groups; g++) {
            int64_t group_end = (first + g + 1) * size < end ? (first + g + 1) * size : end;
            group of = group_begin(variant, scales[g], biases[g]);
            for (; i < group_end; i += GROUP_STEP, codes += GROUP_STEP / 8 * bits, out += GROUP_STEP) {
                vf32 weight[GROUP_STEP / 16];
                group_weights(variant, &of, codes, weight);
#pragma GCC unroll 2
                for (int v = 0; v < GROUP_STEP / 16; v++)
                    vf32_store(out + v * 16, group_order(variant, weight[v]));
            }
        }
    }
}

/* x in the order in which group_weights has its lanes. */
static inline __attribute__((always_inline)) const float *arrange_variant(vf32 (*order)(vf32), const float *x,
                                                                          int64_t k, float *buffer)
{
    for (int64_t i = 0; i < k; i += 16)
        vf32_store(buffer + i, order(vf32_load(x + i)));
    return buffer;
}
