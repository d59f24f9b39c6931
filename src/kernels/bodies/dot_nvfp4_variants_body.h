/* dot_nvfp4_variants_body.h - a descriptor's functions for E2M1 codes with a scale for 16: variant 1 has a global one.
 * SPDX-License-Identifier: MIT
 *
 * Include after class_codes_body.h and a definition of mix(), the order of lanes in which codes are decoded. */

static void dot(const gmm_dot *call)
{
    if (call->weights->global == 1.0f)
        dot_variant(call, 0);
    else
        dot_variant(call, 1);
}

static void decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    decode_variant(weights, 1, row, begin, count, out);
}

static void class_fill(const gmm_class_codes *codes)
{
    class_fill_variant(codes, 1);
}

static void class_decode(const gmm_class_codes *codes, int64_t c, float *to)
{
    if (codes->weights->global == 1.0f)
        class_decode_variant(codes, 0, c, to);
    else
        class_decode_variant(codes, 1, c, to);
}

static const float *arrange(const gmm_weights *weights, const float *x, int64_t k, float *buffer)
{
    (void)weights;
    return arrange_variant(mix, x, k, buffer);
}
