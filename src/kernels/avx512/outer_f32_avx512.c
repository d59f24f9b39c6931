/* outer_f32_avx512.c - 14 x 32 f32 tile: 28 sums, 2 weights, 1 broadcast in 32 registers. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx512/vec_avx512.h"
#include "kernels/kernel.h"

#define OUTER_MR 14
#define OUTER_NV 2
#define OUTER_TOGETHER GMM_CLASSES
#include "kernels/bodies/outer_f32_body.h"
#define SWEEP_SUMS 24
#include "kernels/bodies/sweep_f32_body.h"

extern const gmm_kernel gmm_outer_f32_avx512;
const gmm_kernel gmm_outer_f32_avx512 = {
    .name = "outer_f32_avx512",
    .body = "outer",
    .reads = "f32",
    .needs = GMM_CPU_AVX512,
    .mr = OUTER_MR,
    .nr = 16 * OUTER_NV,
    .outer = outer_f32,
    .pack = pack_f32,
    .sweep = sweep_f32,
};
