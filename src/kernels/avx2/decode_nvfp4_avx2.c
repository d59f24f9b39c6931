/* decode_nvfp4_avx2.c - E2M1 codes with an E4M3 scale for 16, eight at a time by a permuted table. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "formats/packed.h"
#include "kernels/avx2/codes_avx2.h"
#include "kernels/kernel.h"

static void decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    const char *codes = (const char *)row.codes + begin / 2;
    __m256 global = _mm256_set1_ps(weights->global);

    for (int64_t i = 0; i < count; i += 16) {
        __m256 scale = _mm256_set1_ps(gmm_e4m3_to_f32(gmm_scale_code(weights, row, (begin + i) / 16)));
        __m256 magnitudes = _mm256_mul_ps(_mm256_mul_ps(e2m1_magnitudes(), scale), global); /* the first is exact */
        uint32_t words[2];
        memcpy(words, codes + i / 2, sizeof words);
        for (int w = 0; w < 2; w++)
            _mm256_storeu_ps(out + i + 8 * w, e2m1_values(words[w], magnitudes));
    }
}

extern const gmm_kernel gmm_decode_nvfp4_avx2;
const gmm_kernel gmm_decode_nvfp4_avx2 = {
    .name = "decode_nvfp4_avx2",
    .body = "decode",
    .reads = "nvfp4",
    .needs = GMM_CPU_AVX2,
    .mr = 1,
    .nr = 8,
    .decode = decode,
};
