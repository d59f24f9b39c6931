/* dot_mxfp8_variants_body.h - a descriptor's functions for E4M3 codes: variant 0 has a factor of 2^8 in its scales.
 * SPDX-License-Identifier: MIT
 *
 * Include after class_codes_body.h and a definition of all_fit(): may those of some groups have it? */

static void dot(const gmm_dot *call)
{
    bool fit = true;

    for (int64_t c = 0; c < call->columns; c++)
        fit &= all_fit(gmm_row_at(&call->w, c), 0, call->k / 32);
    if (fit)
        dot_variant(call, 0);
    else
        dot_variant(call, 1);
}

static void decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    if (all_fit(row, begin / 32, count / 32))
        decode_variant(weights, 0, row, begin, count, out);
    else
        decode_variant(weights, 1, row, begin, count, out);
}

/* Variant 1: whole scales, not 2^8 times them. */
static void class_fill(const gmm_class_codes *codes)
{
    class_fill_variant(codes, 1);
}

static void class_decode(const gmm_class_codes *codes, int64_t c, float *to)
{
    class_decode_variant(codes, 1, c, to);
}
