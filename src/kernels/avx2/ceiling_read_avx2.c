/* ceiling_read_avx2.c - the streaming read by 32-byte loads. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx2/vec_avx2.h"
#include "kernels/ceiling.h"

#define READ_SUMS 4
#include "kernels/bodies/ceiling_read_body.h"

extern const gmm_ceiling gmm_ceiling_read_avx2;
const gmm_ceiling gmm_ceiling_read_avx2 = {
    .name = "ceiling_read_avx2",
    .what = "read",
    .needs = GMM_CPU_AVX2,
    .step_work = READ_STEP_BYTES,
    .run = ceiling_read,
};
