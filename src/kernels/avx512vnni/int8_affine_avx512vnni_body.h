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
#include "kernels/bodies/int8_affine_variants_body.h"

static void few(const gmm_int8_few *call)
{
    few_variant(call);
}
