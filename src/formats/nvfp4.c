/* nvfp4.c - NVIDIA FP4: E2M1 elements, groups of 16 with an E4M3 scale, and a global scale if wanted. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "formats/mx.h"
#include "formats/numbers.h"
#include "formats/packed.h"

static void decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i += 16) {
        int64_t group = (begin + i) / 16;
        float scale = gmm_e4m3_to_f32(gmm_scale_code(weights, row, group));
        uint32_t words[3];
        float table[16];

        /* The first product is exact (6 significant bits), so this rounds once. */
        for (uint32_t code = 0; code < 16; code++)
            table[code] = gmm_e2m1_to_f32(code) * scale * weights->global;
        words[2] = 0;
        gmm_load_words(weights, row, group * 2, 2, words);
        gmm_look_up(words, 4, 16, table, out + i);
    }
}

/* value / scale in the units of the encoder. The GPU rule multiplies by a reciprocal, the CPU rule divides, and rounds.
 */
static float element(const gmm_quantizer *quantizer, float value, float scale, float encode_scale)
{
    if (quantizer->tie_rule == GMM_TIES_EVEN)
        return value * (encode_scale / scale);
    return gmm_step(quantizer, value / scale) * encode_scale;
}

static void quantize(const gmm_quantizer *quantizer, const float *values, gmm_group *group)
{
    float encode_scale = quantizer->has_global ? GMM_NVFP4_MAX / quantizer->global_scale : 1.0f;
    float ratio = gmm_step(quantizer, gmm_group_magnitude(values, 16) / GMM_E2M1_MAX);
    uint8_t scale_code = isfinite(ratio) ? gmm_e4m3_from_f32(ratio * encode_scale) : GMM_E4M3_NAN;
    float scale = gmm_e4m3_to_f32(scale_code);

    group->scale = scale_code;
    memset(group->codes, 0, 16);
    if (scale == 0.0f || scale_code == GMM_E4M3_NAN)
        return;
    for (int i = 0; i < 16; i++)
        group->codes[i] = gmm_e2m1_from_f32(quantizer, element(quantizer, values[i], scale, encode_scale));
}

const gmm_format gmm_format_nvfp4 = {
    .name = "nvfp4",
    .quantized = true,
    .has_global_scale = true,
    .group_sizes = (const int32_t[]){16, 0},
    .bits = (const int32_t[]){4, 0},
    .decode = decode,
    .quantize = quantize,
};
