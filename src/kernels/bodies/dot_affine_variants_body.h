/* dot_affine_variants_body.h - a descriptor's functions for affine codes: the variant is the number of bits.
 * SPDX-License-Identifier: MIT
 *
 * Include after class_codes_body.h and a definition of mix(), the order of lanes in which 4-bit codes are decoded. */
#include "kernels/bodies/affine_bits.h"

static void dot(const gmm_dot *call)
{
    AFFINE_BITS(call->weights->bits, dot_variant(call, bits))
}

static void decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    AFFINE_BITS(weights->bits, decode_variant(weights, bits, row, begin, count, out))
}

static void class_fill(const gmm_class_codes *codes)
{
    AFFINE_BITS(codes->weights->bits, class_fill_variant(codes, bits))
}

static void class_decode(const gmm_class_codes *codes, int64_t c, float *to)
{
    AFFINE_BITS(codes->weights->bits, class_decode_variant(codes, bits, c, to))
}

static const float *arrange(const gmm_weights *weights, const float *x, int64_t k, float *buffer)
{
    return weights->bits == 4 ? arrange_variant(mix, x, k, buffer) : x;
}
