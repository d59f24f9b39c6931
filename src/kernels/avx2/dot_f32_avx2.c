/* dot_f32_avx2.c - f32 dot products, 4 rows at a time. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx2/vec_avx2.h"
#include "kernels/kernel.h"

#define DOT_MR 4
#include "kernels/bodies/dot_f32_body.h"

extern const gmm_kernel gmm_dot_f32_avx2;
const gmm_kernel gmm_dot_f32_avx2 = {
    .name = "dot_f32_avx2",
    .body = "dot",
    .reads = "f32",
    .needs = GMM_CPU_AVX2,
    .mr = DOT_MR,
    .nr = 1,
    .dot = dot_f32,
};
