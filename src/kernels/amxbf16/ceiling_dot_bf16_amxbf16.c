/* ceiling_dot_bf16_amxbf16.c - tdpbf16ps: 16 x 16 x 32 multiply-adds of bf16 numbers into f32 sums. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/ceiling.h"

#define TILE_PRODUCT _tile_dpbf16ps
#include "kernels/amx/ceiling_tile_body.h"

extern const gmm_ceiling gmm_ceiling_dot_bf16_amxbf16;
const gmm_ceiling gmm_ceiling_dot_bf16_amxbf16 = {
    .name = "ceiling_dot_bf16_amxbf16",
    .what = "dot_bf16",
    .needs = GMM_CPU_AMXBF16,
    .step_work = 4 * 16 * 16 * 32 * 2,
    .run = run,
};
