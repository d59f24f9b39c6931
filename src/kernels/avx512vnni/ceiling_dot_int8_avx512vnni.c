/* ceiling_dot_int8_avx512vnni.c - vpdpbusd on registers: 64 multiply-adds of u8 by i8 into 16 i32 sums. */
/* SPDX-License-Identifier: MIT */
#include <immintrin.h>

#include "cpu/cpu.h"
#include "kernels/ceiling.h"

enum {
    SUMS = 12, /* more than its latency (5 cycles, two a cycle at most) asks for */
    STEP_OPERATIONS = SUMS * 64 * 2
};

static float run(const char *bytes, int64_t steps)
{
    __m512i sums[SUMS], all = _mm512_setzero_si512();
    const __m512i ones = _mm512_set1_epi8(1);

    (void)bytes;
#pragma GCC unroll 12
    for (int i = 0; i < SUMS; i++)
        sums[i] = _mm512_set1_epi32(i);
    for (; steps > 0; steps--)
#pragma GCC unroll 12
        for (int i = 0; i < SUMS; i++)
            sums[i] = _mm512_dpbusd_epi32(sums[i], ones, ones);
#pragma GCC unroll 12
    for (int i = 0; i < SUMS; i++)
        all = _mm512_xor_si512(all, sums[i]);
    return (float)_mm_cvtsi128_si32(_mm512_castsi512_si128(all));
}

extern const gmm_ceiling gmm_ceiling_dot_int8_avx512vnni;
const gmm_ceiling gmm_ceiling_dot_int8_avx512vnni = {
    .name = "ceiling_dot_int8_avx512vnni",
    .what = "dot_int8",
    .needs = GMM_CPU_AVX512VNNI,
    .step_work = STEP_OPERATIONS,
    .run = run,
};
