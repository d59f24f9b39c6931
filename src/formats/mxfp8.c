/* mxfp8.c - OCP microscaling FP8: E4M3 elements, groups of 32 with an E8M0 scale. */
/* SPDX-License-Identifier: MIT */
#include "formats/mx.h"
#include "formats/numbers.h"
#include "formats/packed.h"

static void decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i += 32) {
        int64_t group = (begin + i) / 32;
        float scale = gmm_e8m0_to_f32(gmm_scale_code(weights, row, group));
        uint32_t words[9];
        int32_t codes[32];

        words[8] = 0;
        gmm_load_words(weights, row, group * 8, 8, words);
        gmm_unpack_32(words, 8, codes);
        for (int e = 0; e < 32; e++)
            out[i + e] = gmm_e4m3_to_f32((uint32_t)codes[e]) * scale;
    }
}

static void quantize(const gmm_quantizer *quantizer, const float *values, gmm_group *group)
{
    float inverse;

    if (!gmm_scale_group(quantizer, values, GMM_E4M3_MAX, group, &inverse))
        return;
    for (int i = 0; i < 32; i++)
        group->codes[i] = gmm_e4m3_from_f32(values[i] * inverse);
}

const gmm_format gmm_format_mxfp8 = {
    .name = "mxfp8",
    .quantized = true,
    .group_sizes = (const int32_t[]){32, 0},
    .bits = (const int32_t[]){8, 0},
    .decode = decode,
    .quantize = quantize,
};
