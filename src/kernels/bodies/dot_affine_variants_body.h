/* dot_affine_variants_body.h - a descriptor's functions for affine codes: the variant is the number of bits.
 * SPDX-License-Identifier: MIT
 *
 * Include after class_codes_body.h and a definition of mix(), the order of lanes in which 4-bit codes are decoded. */

#define AFFINE_VARIANTS AFFINE(2) AFFINE(3) AFFINE(4) AFFINE(5) AFFINE(6) AFFINE(8)

static void dot(const gmm_dot *call)
{
    switch (call->weights->bits) {
#define AFFINE(bits)                                                                                                   \
    case bits:                                                                                                         \
        dot_variant(call, bits);                                                                                       \
        break;
        AFFINE_VARIANTS
#undef AFFINE
    }
}

static void decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    switch (weights->bits) {
#define AFFINE(bits)                                                                                                   \
    case bits:                                                                                                         \
        decode_variant(weights, bits, row, begin, count, out);                                                         \
        break;
        AFFINE_VARIANTS
#undef AFFINE
    }
}

static void class_fill(const gmm_class_codes *codes)
{
    switch (codes->weights->bits) {
#define AFFINE(bits)                                                                                                   \
    case bits:                                                                                                         \
        class_fill_variant(codes, bits);                                                                               \
        break;
        AFFINE_VARIANTS
#undef AFFINE
    }
}

static void class_decode(const gmm_class_codes *codes, int64_t c, float *to)
{
    switch (codes->weights->bits) {
#define AFFINE(bits)                                                                                                   \
    case bits:                                                                                                         \
        class_decode_variant(codes, bits, c, to);                                                                      \
        break;
        AFFINE_VARIANTS
#undef AFFINE
    }
}

static const float *arrange(const gmm_weights *weights, const float *x, int64_t k, float *buffer)
{
    return weights->bits == 4 ? arrange_variant(mix, x, k, buffer) : x;
}
