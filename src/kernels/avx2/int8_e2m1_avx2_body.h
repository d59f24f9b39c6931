/* int8_e2m1_avx2_body.h - int8 sums of E2M1 codes: int8_avx2_body.h with its parameters but for group_scales.
 * SPDX-License-Identifier: MIT
 *
 * Include after kernels/avx2/codes_avx2.h and kernels/int8.h. Parameters: group_scales, and
 *   E2M1_GROUP  the size of a group. */

/* Twice the values, and 12. */
static inline __m256i from_nibbles(__m256i nibbles)
{
    return _mm256_shuffle_epi8(twice(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0)),
                               nibbles);
}

/* Never called: there are no codes of other sizes. */
static inline __m256i codes_32(int bits, const uint8_t *from)
{
    (void)bits;
    (void)from;
    return _mm256_setzero_si256();
}

static inline int largest_code(int bits)
{
    (void)bits;
    return 24;
}

static inline int zero_code(int bits)
{
    (void)bits;
    return GMM_INT8_E2M1_ZERO;
}

#define INT8_BIASES false
#include "kernels/avx2/int8_avx2_body.h"

static void dot(const gmm_int8_dot *call)
{
    dot_variant(call, 4, E2M1_GROUP);
}

static void fill(const gmm_int8_panel *panel)
{
    fill_variant(panel, 4);
}

static void outer(const gmm_int8_outer *call)
{
    outer_variant(call, 4);
}

static const gmm_int8 int8_sums = {
    .quantize = quantize, .pack = pack, .dot = dot, .fill = fill, .outer = outer, .dot_rows = GMM_INT8_MOST_DOT_ROWS};
