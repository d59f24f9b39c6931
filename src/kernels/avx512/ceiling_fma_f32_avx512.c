/* ceiling_fma_f32_avx512.c - f32 multiply-adds on 64-byte registers. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx512/vec_avx512.h"
#include "kernels/ceiling.h"

#define FMA_SUMS 12
#include "kernels/bodies/ceiling_fma_f32_body.h"

extern const gmm_ceiling gmm_ceiling_fma_f32_avx512;
const gmm_ceiling gmm_ceiling_fma_f32_avx512 = {
    .name = "ceiling_fma_f32_avx512",
    .what = "fma_f32",
    .needs = GMM_CPU_AVX512,
    .step_work = FMA_STEP_OPERATIONS,
    .run = ceiling_fma_f32,
};
