/* ceiling_read_avx512.c - the streaming read by 64-byte loads. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx512/vec_avx512.h"
#include "kernels/ceiling.h"

#define READ_SUMS 8
#include "kernels/bodies/ceiling_read_body.h"

extern const gmm_ceiling gmm_ceiling_read_avx512;
const gmm_ceiling gmm_ceiling_read_avx512 = {
    .name = "ceiling_read_avx512",
    .what = "read",
    .needs = GMM_CPU_AVX512,
    .step_work = READ_STEP_BYTES,
    .run = ceiling_read,
};
