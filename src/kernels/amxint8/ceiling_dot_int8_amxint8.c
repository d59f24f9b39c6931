/* ceiling_dot_int8_amxint8.c - tdpbusd: 16 x 16 x 64 multiply-adds of u8 by i8 into i32 sums. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/ceiling.h"

#define TILE_PRODUCT _tile_dpbusd
#include "kernels/amx/ceiling_tile_body.h"

extern const gmm_ceiling gmm_ceiling_dot_int8_amxint8;
const gmm_ceiling gmm_ceiling_dot_int8_amxint8 = {
    .name = "ceiling_dot_int8_amxint8",
    .what = "dot_int8",
    .needs = GMM_CPU_AMXINT8,
    .step_work = 4 * 16 * 16 * 64 * 2,
    .run = run,
};
