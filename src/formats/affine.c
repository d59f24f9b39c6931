/* affine.c - MLX's affine codes: groups of 32, 64 or 128 codes of 2, 3, 4, 5, 6 or 8 bits with a scale and a bias. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "formats/numbers.h"
#include "formats/packed.h"

static int exponent(float value)
{
    return (int)(gmm_f32_bits(value) >> 23 & 255);
}

/* out[i] = fma(scale, codes[i], bias) in f32, with one rounding. The product is exact in double. If the exponents of
 * scale and bias are at most 19 apart (or one of them is 0) so is the sum, and the conversion is the one rounding: that
 * needs no fma, which CPUs without the instruction take a hundred times longer for. */
static void values_of(const int32_t *codes, int count, float scale, float bias, float *out)
{
    int apart = exponent(scale) - exponent(bias);

    if ((apart >= -19 && apart <= 19) || scale == 0.0f || bias == 0.0f)
        for (int i = 0; i < count; i++)
            out[i] = (float)((double)scale * codes[i] + (double)bias);
    else
        for (int i = 0; i < count; i++)
            out[i] = fmaf(scale, (float)codes[i], bias);
}

/* 32 values of a group. For few bits they come from the group's table; for more, a table would be larger than what it
 * serves. `bits` is a constant, for the compiler to unroll with. */
static inline void decode_32(const uint32_t *words, int bits, const float *table, float scale, float bias, float *out)
{
    int32_t codes[32];

    if (bits <= 4) {
        gmm_look_up(words, bits, 32, table, out);
        return;
    }
    gmm_unpack_32(words, bits, codes);
    values_of(codes, 32, scale, bias, out);
}

/* Elements [begin, end) of a row, all in one group. */
static void decode_group(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t end, float *out)
{
    static const int32_t all_codes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    int64_t group = begin / weights->group_size;
    float scale = gmm_load_float(weights->scales_dtype, row.scales, group * weights->scale_stride);
    float bias = gmm_load_float(weights->biases_dtype, row.biases, group * weights->bias_stride);
    uint32_t words[9];
    float table[16];

    if (weights->bits <= 4)
        values_of(all_codes, 16, scale, bias, table);
    words[weights->bits] = 0;
    for (int64_t i = begin; i < end; i += 32, out += 32) {
        gmm_load_words(weights, row, i / 32 * weights->bits, weights->bits, words);
        switch (weights->bits) {
        case 2:
            decode_32(words, 2, table, scale, bias, out);
            break;
        case 3:
            decode_32(words, 3, table, scale, bias, out);
            break;
        case 4:
            decode_32(words, 4, table, scale, bias, out);
            break;
        case 5:
            decode_32(words, 5, table, scale, bias, out);
            break;
        case 6:
            decode_32(words, 6, table, scale, bias, out);
            break;
        default:
            decode_32(words, 8, table, scale, bias, out);
        }
    }
}

static void decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    int64_t end = begin + count;

    for (int64_t i = begin; i < end;) {
        int64_t group_end = (i / weights->group_size + 1) * weights->group_size;
        int64_t stop = group_end < end ? group_end : end;
        decode_group(weights, row, i, stop, out + (i - begin));
        i = stop;
    }
}

static uint32_t stored(gmm_dtype dtype, float value)
{
    switch (dtype) {
    case GMM_F16:
        return gmm_f16_from_f32(value);
    case GMM_BF16:
        return gmm_bf16_from_f32(value);
    default:
        return gmm_f32_bits(value);
    }
}

/* The float behind the bits of a quiet NaN. Arithmetic would give it the CPU's default sign: minus on x86, plus on ARM.
 */
static float quiet_nan(void)
{
    return gmm_f32_from_bits(0x7fc00000);
}

/* Smallest and largest value; false if a value is NaN or infinite. */
static bool range(const float *values, int32_t count, float *smallest, float *largest)
{
    bool finite = true;

    *smallest = INFINITY;
    *largest = -INFINITY;
    for (int32_t i = 0; i < count; i++) {
        *smallest = values[i] < *smallest ? values[i] : *smallest;
        *largest = values[i] > *largest ? values[i] : *largest;
        finite &= isfinite(values[i]) != 0;
    }
    return finite;
}

/* Every line is a separate operation in f32, in MLX's order: the codes depend on each rounding. */
static void quantize(const gmm_quantizer *quantizer, const float *values, gmm_group *group)
{
    float top = (float)((1 << quantizer->bits) - 1);
    float smallest, largest;
    bool finite = range(values, quantizer->group_size, &smallest, &largest);
    float scale = (largest - smallest) / top;
    float edge, first_code, bias = 0.0f;

    scale = scale > 1e-7f ? scale : 1e-7f;
    if (fabsf(smallest) > fabsf(largest)) {
        edge = smallest;
    } else {
        edge = largest;
        scale = -scale;
    }
    first_code = rintf(edge / scale);
    if (first_code != 0.0f) {
        scale = edge / first_code;
        bias = edge;
    }
    for (int32_t i = 0; i < quantizer->group_size; i++) {
        float code = rintf((values[i] - bias) / scale);
        code = code < top ? code : top;
        group->codes[i] = (uint8_t)(finite && code > 0.0f ? code : 0.0f);
    }
    group->scale = stored(quantizer->dtype, finite ? scale : quiet_nan());
    group->bias = stored(quantizer->dtype, finite ? bias : quiet_nan());
}

const gmm_format gmm_format_affine = {
    .name = "affine",
    .quantized = true,
    .has_biases = true,
    .group_sizes = (const int32_t[]){64, 32, 128, 0},
    .bits = (const int32_t[]){4, 2, 3, 5, 6, 8, 0},
    .decode = decode,
    .quantize = quantize,
};
