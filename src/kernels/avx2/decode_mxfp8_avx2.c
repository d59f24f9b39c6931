/* decode_mxfp8_avx2.c - E4M3 codes with an E8M0 scale for 32, eight at a time. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "formats/packed.h"
#include "kernels/avx2/codes_avx2.h"
#include "kernels/kernel.h"

/* As gmm_e4m3_to_f32: shifted into f32's place and rebiased; subnormals get the smallest normal exponent and lose the
 * leading 1 by a subtraction. */
static inline __m256 e4m3_values(__m256i codes)
{
    __m256i magnitude = _mm256_and_si256(codes, _mm256_set1_epi32(0x7f));
    __m256i sign = _mm256_slli_epi32(_mm256_xor_si256(codes, magnitude), 24);
    __m256i subnormal = _mm256_cmpgt_epi32(_mm256_set1_epi32(8), magnitude);
    __m256i nan =
        _mm256_and_si256(_mm256_cmpeq_epi32(magnitude, _mm256_set1_epi32(0x7f)), _mm256_set1_epi32(0x7fc00000));
    __m256i leading_1 = _mm256_and_si256(subnormal, _mm256_set1_epi32(0x3c800000)); /* 2^-6 */
    __m256i one_more = _mm256_and_si256(subnormal, _mm256_set1_epi32(0x00800000));
    __m256i biased = _mm256_add_epi32(_mm256_slli_epi32(magnitude, 20), _mm256_set1_epi32(0x3c000000));
    __m256 value =
        _mm256_sub_ps(_mm256_castsi256_ps(_mm256_add_epi32(biased, one_more)), _mm256_castsi256_ps(leading_1));

    return _mm256_or_ps(value, _mm256_castsi256_ps(_mm256_or_si256(sign, nan)));
}

static void decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    const char *codes = (const char *)row.codes + begin;

    for (int64_t i = 0; i < count; i += 32) {
        __m256 scale = _mm256_set1_ps(gmm_e8m0_to_f32(gmm_scale_code(weights, row, (begin + i) / 32)));
        uint64_t words[4];
        memcpy(words, codes + i, sizeof words);
        for (int w = 0; w < 4; w++)
            _mm256_storeu_ps(out + i + 8 * w, _mm256_mul_ps(e4m3_values(spread(words[w], 8)), scale));
    }
}

extern const gmm_kernel gmm_decode_mxfp8_avx2;
const gmm_kernel gmm_decode_mxfp8_avx2 = {
    .name = "decode_mxfp8_avx2",
    .body = "decode",
    .reads = "mxfp8",
    .needs = GMM_CPU_AVX2,
    .mr = 1,
    .nr = 8,
    .decode = decode,
};
