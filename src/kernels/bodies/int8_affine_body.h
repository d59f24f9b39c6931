/* int8_affine_body.h - int8 sums of affine codes of any number of bits in C: int8_body.h with its parameters.
 * SPDX-License-Identifier: MIT */
#include "formats/packed.h"
#include "kernels/int8.h"

/* 32 codes at a time; `bits` is a constant, for the compiler to unroll with. */
static inline void unpack_bits(gmm_row row, int64_t begin, int64_t count, int bits, uint8_t *codes)
{
    for (int64_t i = 0; i < count; i += 32) {
        uint32_t words[9];
        int32_t wide[32];
        words[bits] = 0;
        memcpy(words, (const char *)row.codes + (begin + i) / 8 * bits, (size_t)bits * 4);
        gmm_unpack_32(words, bits, wide);
        for (int c = 0; c < 32; c++)
            codes[i + c] = (uint8_t)wide[c];
    }
}

static void unpack(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, uint8_t *codes)
{
    switch (weights->bits) {
    case 2:
        unpack_bits(row, begin, count, 2, codes);
        break;
    case 3:
        unpack_bits(row, begin, count, 3, codes);
        break;
    case 4:
        unpack_bits(row, begin, count, 4, codes);
        break;
    case 5:
        unpack_bits(row, begin, count, 5, codes);
        break;
    case 6:
        unpack_bits(row, begin, count, 6, codes);
        break;
    default:
        memcpy(codes, (const char *)row.codes + begin, (size_t)count);
    }
}

static inline float group_scale(const gmm_weights *weights, gmm_row row, int64_t group)
{
    return gmm_load_float(weights->scales_dtype, row.scales, group);
}

static inline float group_bias(const gmm_weights *weights, gmm_row row, int64_t group)
{
    return gmm_load_float(weights->biases_dtype, row.biases, group);
}

#define INT8_BIASES true
#define INT8_ZERO 0
#include "kernels/bodies/int8_body.h"
