/* outer_f32_portable.c - 2 x 16 f32 tile: 8 quads of sums, 4 of weights in the 16 registers of SSE2. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/kernel.h"
#include "kernels/portable/vec_portable.h"

#define OUTER_MR 2
#define OUTER_NV 1
#define OUTER_TOGETHER 1
#include "kernels/bodies/outer_f32_body.h"
#define SWEEP_SUMS 3
#include "kernels/bodies/sweep_f32_body.h"

extern const gmm_kernel gmm_outer_f32_portable;
const gmm_kernel gmm_outer_f32_portable = {
    .name = "outer_f32_portable",
    .body = "outer",
    .reads = "f32",
    .needs = 0,
    .mr = OUTER_MR,
    .nr = 16 * OUTER_NV,
    .outer = outer_f32,
    .pack = pack_f32,
    .sweep = sweep_f32,
};
