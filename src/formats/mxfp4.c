/* mxfp4.c - OCP microscaling FP4: E2M1 elements, groups of 32 with an E8M0 scale. */
/* SPDX-License-Identifier: MIT */
#include "formats/mx.h"
#include "formats/numbers.h"
#include "formats/packed.h"

static void decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i += 32) {
        int64_t group = (begin + i) / 32;
        float scale = gmm_e8m0_to_f32(gmm_scale_code(weights, row, group));
        uint32_t words[5];
        float table[16];

        for (uint32_t code = 0; code < 16; code++)
            table[code] = gmm_e2m1_to_f32(code) * scale;
        words[4] = 0;
        gmm_load_words(weights, row, group * 4, 4, words);
        gmm_look_up(words, 4, 32, table, out + i);
    }
}

static void quantize(const gmm_quantizer *quantizer, const float *values, gmm_group *group)
{
    float inverse;

    if (!gmm_scale_group(quantizer, values, GMM_E2M1_MAX, group, &inverse))
        return;
    for (int i = 0; i < 32; i++)
        group->codes[i] = gmm_e2m1_from_f32(quantizer, values[i] * inverse);
}

const gmm_format gmm_format_mxfp4 = {
    .name = "mxfp4",
    .quantized = true,
    .group_sizes = (const int32_t[]){32, 0},
    .bits = (const int32_t[]){4, 0},
    .decode = decode,
    .quantize = quantize,
};
