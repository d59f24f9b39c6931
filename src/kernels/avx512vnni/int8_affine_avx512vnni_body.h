/* int8_affine_avx512vnni_body.h - int8 sums of affine codes of any number of bits: all but those of many rows.
 * SPDX-License-Identifier: MIT
 *
 * Include after codes_avx512vnni.h and kernels/int8.h. */

static inline __attribute__((always_inline)) __m512i codes_64(int bits, const uint8_t *from, int64_t count)
{
    return bits == 8   ? codes_8_bit(from, count)
           : bits == 4 ? codes_4_bit(from, count)
                       : codes_of_bits(bits, from, count);
}

static inline __m512i from_nibbles(__m512i nibbles, int zero)
{
    (void)zero;
    return nibbles;
}

static inline void group_scales(const gmm_weights *weights, gmm_row row, int64_t first, int64_t count, float *scales,
                                float *biases)
{
    load_floats(weights->scales_dtype, row.scales, first, count, scales);
    load_floats(weights->biases_dtype, row.biases, first, count, biases);
}

#define INT8_BIASES true
#define INT8_ZERO 0
#include "kernels/avx512vnni/int8_avx512vnni_body.h"

static inline __attribute__((always_inline)) void dot_bits(const gmm_int8_dot *call, int bits)
{
    switch (call->weights->group_size) {
    case 32:
        dot_variant(call, bits, 32);
        break;
    case 64:
        dot_variant(call, bits, 64);
        break;
    default:
        dot_variant(call, bits, 128);
    }
}

#define AFFINE_VARIANTS AFFINE(2) AFFINE(3) AFFINE(4) AFFINE(5) AFFINE(6) AFFINE(8)

static void dot(const gmm_int8_dot *call)
{
    switch (call->weights->bits) {
#define AFFINE(bits)                                                                                                   \
    case bits:                                                                                                         \
        dot_bits(call, bits);                                                                                          \
        break;
        AFFINE_VARIANTS
#undef AFFINE
    }
}

static void few(const gmm_int8_few *call)
{
    few_variant(call);
}

static void fill(const gmm_int8_panel *panel)
{
    switch (panel->weights->bits) {
#define AFFINE(bits)                                                                                                   \
    case bits:                                                                                                         \
        fill_variant(panel, bits);                                                                                     \
        break;
        AFFINE_VARIANTS
#undef AFFINE
    }
}
