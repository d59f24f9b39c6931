/* ceiling_fma_f32_portable.c - f32 multiply-adds in portable C: a multiplication and an addition each. */
/* SPDX-License-Identifier: MIT */
#include "kernels/ceiling.h"
#include "kernels/portable/vec_portable.h"

#define FMA_SUMS 3
#include "kernels/bodies/ceiling_fma_f32_body.h"

extern const gmm_ceiling gmm_ceiling_fma_f32_portable;
const gmm_ceiling gmm_ceiling_fma_f32_portable = {
    .name = "ceiling_fma_f32_portable",
    .what = "fma_f32",
    .needs = 0,
    .step_work = FMA_STEP_OPERATIONS,
    .run = ceiling_fma_f32,
};
