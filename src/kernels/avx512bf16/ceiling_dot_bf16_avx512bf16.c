/* ceiling_dot_bf16_avx512bf16.c - vdpbf16ps on registers: 32 bf16 multiply-adds into 16 f32 sums. */
/* SPDX-License-Identifier: MIT */
#include <immintrin.h>

#include "cpu/cpu.h"
#include "kernels/ceiling.h"

enum {
    SUMS = 12, /* more than its latency (6 cycles on Zen 4, two a cycle at most) asks for */
    STEP_OPERATIONS = SUMS * 32 * 2
};

/* Ones times ones: the sums grow until 1 is less than their last bit, and stay there. */
static float run(const char *bytes, int64_t steps)
{
    __m512 sums[SUMS], all = _mm512_setzero_ps();
    const __m512bh ones = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1), _mm512_set1_ps(1));

    (void)bytes;
#pragma GCC unroll 12
    for (int i = 0; i < SUMS; i++)
        sums[i] = _mm512_set1_ps((float)i);
    for (; steps > 0; steps--)
#pragma GCC unroll 12
        for (int i = 0; i < SUMS; i++)
            sums[i] = _mm512_dpbf16_ps(sums[i], ones, ones);
#pragma GCC unroll 12
    for (int i = 0; i < SUMS; i++)
        all = _mm512_add_ps(all, sums[i]);
    return _mm512_cvtss_f32(all);
}

extern const gmm_ceiling gmm_ceiling_dot_bf16_avx512bf16;
const gmm_ceiling gmm_ceiling_dot_bf16_avx512bf16 = {
    .name = "ceiling_dot_bf16_avx512bf16",
    .what = "dot_bf16",
    .needs = GMM_CPU_AVX512BF16 | GMM_CPU_AVX512VBMI,
    .step_work = STEP_OPERATIONS,
    .run = run,
};
