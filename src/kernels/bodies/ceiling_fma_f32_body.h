/* ceiling_fma_f32_body.h - f32 multiply-adds on registers, and nothing else.
 * SPDX-License-Identifier: MIT
 *
 * Include after a vec_<isa>.h and this parameter:
 *   FMA_SUMS  chains of sixteen f32 at a time, 1 to 12: twelve registers' worth. Eight hide the latency of an fma (4
 *             cycles, two a cycle), twelve that of a multiplication and an addition. */
#include <stdint.h>

enum {
    FMA_STEP_OPERATIONS = FMA_SUMS * 16 * 2
};

/* Each sum goes to 2 and stays there: no subnormal, no infinity. Neither factor nor summand is a product of constants,
 * which a compiler would compute once where multiplication and addition are apart; and no two lanes begin alike, or
 * the registers of one sum, where it has several, could be computed as one. */
static float ceiling_fma_f32(const char *bytes, int64_t steps)
{
    vf32 sums[FMA_SUMS], half = vf32_all(0.5f), one = vf32_all(1), all = vf32_zero();
    float start[FMA_SUMS * 16], lanes[16], total = 0;

    (void)bytes;
    for (int i = 0; i < FMA_SUMS * 16; i++)
        start[i] = (float)i;
#pragma GCC unroll 12
    for (int i = 0; i < FMA_SUMS; i++)
        sums[i] = vf32_load(start + i * 16);
    for (; steps > 0; steps--)
#pragma GCC unroll 12
        for (int i = 0; i < FMA_SUMS; i++)
            sums[i] = vf32_fma(sums[i], half, one);
#pragma GCC unroll 12
    for (int i = 0; i < FMA_SUMS; i++)
        all = vf32_add(all, sums[i]);
    vf32_store(lanes, all);
    for (int i = 0; i < 16; i++) /* a lane that is not used need not be computed */
        total += lanes[i];
    return total;
}
