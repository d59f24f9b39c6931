/* dot_f32_avx512.c - f32 dot products, 8 rows at a time. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx512/vec_avx512.h"
#include "kernels/kernel.h"

#define DOT_MR 8
#include "kernels/bodies/dot_f32_body.h"

extern const gmm_kernel gmm_dot_f32_avx512;
const gmm_kernel gmm_dot_f32_avx512 = {
    .name = "dot_f32_avx512",
    .body = "dot",
    .reads = "f32",
    .needs = GMM_CPU_AVX512,
    .mr = DOT_MR,
    .nr = 1,
    .dot = dot_f32,
};
