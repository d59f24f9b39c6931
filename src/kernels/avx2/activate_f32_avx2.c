/* activate_f32_avx2.c - the activations, eight at a time. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/bodies/activate_f32_body.h"

extern const gmm_kernel gmm_activate_f32_avx2;
const gmm_kernel gmm_activate_f32_avx2 = {
    .name = "activate_f32_avx2",
    .body = "activate",
    .reads = "f32",
    .needs = GMM_CPU_AVX2,
    .mr = 1,
    .nr = 8,
    .activate = activate_f32,
};
