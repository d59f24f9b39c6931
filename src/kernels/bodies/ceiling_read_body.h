/* ceiling_read_body.h - the streaming read: every byte loaded once, in order.
 * SPDX-License-Identifier: MIT
 *
 * Include after a vec_<isa>.h and this parameter:
 *   READ_SUMS  running sums of sixteen f32, 2 to 8: enough that the additions (4 cycles each) do not wait for one
 * another and the loads bind. A power of two.
 *
 * Neither software prefetch nor several streams at once read faster than this on a quiet Emerald Rapids (16.4 to 16.8
 * GB/s, one thread). Beside other guests four streams, each fetched 1 KB ahead, may read a seventh faster. */
#include <stdint.h>

enum {
    READ_STEP_BYTES = READ_SUMS * 16 * (int)sizeof(float)
};

static float ceiling_read(const char *bytes, int64_t steps)
{
    vf32 sums[READ_SUMS], all = vf32_zero();
    float lanes[16], total = 0;

#pragma GCC unroll 8
    for (int i = 0; i < READ_SUMS; i++)
        sums[i] = vf32_zero();
    for (const char *end = bytes + steps * READ_STEP_BYTES; bytes < end; bytes += READ_STEP_BYTES)
#pragma GCC unroll 8
        for (int i = 0; i < READ_SUMS; i++)
            sums[i] = vf32_add(sums[i], vf32_load((const float *)(const void *)bytes + 16 * i));
#pragma GCC unroll 8
    for (int i = 0; i < READ_SUMS; i++)
        all = vf32_add(all, sums[i]);
    vf32_store(lanes, all);
    for (int i = 0; i < 16; i++) /* a lane that is not used need not be computed */
        total += lanes[i];
    return total;
}
