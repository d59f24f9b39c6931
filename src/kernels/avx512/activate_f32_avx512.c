/* activate_f32_avx512.c - the activations, sixteen at a time. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/bodies/activate_f32_body.h"

extern const gmm_kernel gmm_activate_f32_avx512;
const gmm_kernel gmm_activate_f32_avx512 = {
    .name = "activate_f32_avx512",
    .body = "activate",
    .reads = "f32",
    .needs = GMM_CPU_AVX512,
    .mr = 1,
    .nr = 16,
    .activate = activate_f32,
};
