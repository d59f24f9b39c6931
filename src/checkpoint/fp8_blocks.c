/* fp8_blocks.c - see fp8_blocks.h. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/fp8_blocks.h"

#include "formats/numbers.h"

static float scale_at(const void *scales, gmm_dtype dtype, int64_t i)
{
    const unsigned char *bytes = scales;
    uint16_t half;
    float value;

    if (dtype == GMM_F32) {
        memcpy(&value, bytes + 4 * i, sizeof value);
        return value;
    }
    memcpy(&half, bytes + 2 * i, sizeof half);
    return dtype == GMM_BF16 ? gmm_bf16_to_f32(half) : gmm_f16_to_f32(half);
}

void gmm_fp8_blocks_decode(const unsigned char *codes, const void *scales, gmm_dtype scales_dtype, int64_t rows,
                           int64_t cols, const int64_t block[2], gmm_dtype dtype, void *out)
{
    int64_t blocks = (cols + block[1] - 1) / block[1];

    for (int64_t r = 0; r < rows; r++)
        for (int64_t b = 0; b < blocks; b++) {
            float scale = scale_at(scales, scales_dtype, r / block[0] * blocks + b);
            int64_t begin = r * cols + b * block[1], left = cols - b * block[1];
            int64_t count = left < block[1] ? left : block[1];
            const unsigned char *in = codes + begin;
            if (dtype == GMM_F32)
                for (int64_t i = 0; i < count; i++)
                    ((float *)out)[begin + i] = gmm_e4m3_to_f32(in[i]) * scale;
            else
                for (int64_t i = 0; i < count; i++)
                    ((uint16_t *)out)[begin + i] = gmm_bf16_from_f32(gmm_e4m3_to_f32(in[i]) * scale);
        }
}
