/* outer_f32_avx2.c - 6 x 16 f32 tile: 12 sums, 2 weights, 1 broadcast in 16 registers. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx2/vec_avx2.h"
#include "kernels/kernel.h"

#define OUTER_MR 6
#define OUTER_NV 1
#define OUTER_TOGETHER 1
#include "kernels/bodies/outer_f32_body.h"
#define SWEEP_SUMS 6
#include "kernels/bodies/sweep_f32_body.h"

extern const gmm_kernel gmm_outer_f32_avx2;
const gmm_kernel gmm_outer_f32_avx2 = {
    .name = "outer_f32_avx2",
    .body = "outer",
    .reads = "f32",
    .needs = GMM_CPU_AVX2,
    .mr = OUTER_MR,
    .nr = 16 * OUTER_NV,
    .outer = outer_f32,
    .pack = pack_f32,
    .sweep = sweep_f32,
};
