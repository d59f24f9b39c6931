/* decode_bf16_avx2.c - bf16 weights, eight at a time. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "formats/convert.h"
#include "kernels/avx2/codes_avx2.h"
#include "kernels/kernel.h"

static void decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    const char *from = (const char *)row.codes + begin * 2;
    int64_t i = 0;

    for (; i + 8 <= count; i += 8) {
        __m128i half = _mm_loadu_si128((const __m128i *)(const void *)(from + i * 2));
        _mm256_storeu_ps(out + i, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16)));
    }
    gmm_load_run(weights->dtype, weights->cast, from + i * 2, 1, count - i, out + i);
}

extern const gmm_kernel gmm_decode_bf16_avx2;
const gmm_kernel gmm_decode_bf16_avx2 = {
    .name = "decode_bf16_avx2",
    .body = "decode",
    .reads = "bf16",
    .needs = GMM_CPU_AVX2,
    .mr = 1,
    .nr = 8,
    .decode = decode,
};
