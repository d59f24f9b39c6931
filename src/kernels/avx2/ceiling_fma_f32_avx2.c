/* ceiling_fma_f32_avx2.c - f32 multiply-adds on 32-byte registers. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx2/vec_avx2.h"
#include "kernels/ceiling.h"

#define FMA_SUMS 6
#include "kernels/bodies/ceiling_fma_f32_body.h"

extern const gmm_ceiling gmm_ceiling_fma_f32_avx2;
const gmm_ceiling gmm_ceiling_fma_f32_avx2 = {
    .name = "ceiling_fma_f32_avx2",
    .what = "fma_f32",
    .needs = GMM_CPU_AVX2,
    .step_work = FMA_STEP_OPERATIONS,
    .run = ceiling_fma_f32,
};
