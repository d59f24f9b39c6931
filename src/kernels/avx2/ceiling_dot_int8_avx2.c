/* ceiling_dot_int8_avx2.c - vpmaddubsw on registers: 32 products of u8 by i8, added by twos in 16 bits. What else adds
 * them up has ports of its own. */
/* SPDX-License-Identifier: MIT */
#include <immintrin.h>

#include "cpu/cpu.h"
#include "kernels/ceiling.h"

enum {
    SUMS = 12, /* more than its latency (5 cycles, two a cycle at most) asks for */
    STEP_OPERATIONS = SUMS * 32 * 2
};

static float run(const char *bytes, int64_t steps)
{
    __m256i sums[SUMS], all = _mm256_setzero_si256();
    const __m256i codes = _mm256_set1_epi8(3);

    (void)bytes;
#pragma GCC unroll 12
    for (int i = 0; i < SUMS; i++)
        sums[i] = _mm256_set1_epi8((char)(i + 1));
    for (; steps > 0; steps--)
#pragma GCC unroll 12
        for (int i = 0; i < SUMS; i++) {
            sums[i] = _mm256_maddubs_epi16(codes, sums[i]);
            __asm__("" : "+x"(sums[i])); /* gcc 12 stores them in every step otherwise */
        }
#pragma GCC unroll 12
    for (int i = 0; i < SUMS; i++)
        all = _mm256_xor_si256(all, sums[i]);
    return (float)_mm_cvtsi128_si32(_mm256_castsi256_si128(all));
}

extern const gmm_ceiling gmm_ceiling_dot_int8_avx2;
const gmm_ceiling gmm_ceiling_dot_int8_avx2 = {
    .name = "ceiling_dot_int8_avx2",
    .what = "dot_int8",
    .needs = GMM_CPU_AVX2,
    .step_work = STEP_OPERATIONS,
    .run = run,
};
