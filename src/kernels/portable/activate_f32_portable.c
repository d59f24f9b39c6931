/* activate_f32_portable.c - the activations, in portable C. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/bodies/activate_f32_body.h"

extern const gmm_kernel gmm_activate_f32_portable;
const gmm_kernel gmm_activate_f32_portable = {
    .name = "activate_f32_portable",
    .body = "activate",
    .reads = "f32",
    .needs = 0,
    .mr = 1,
    .nr = 4,
    .activate = activate_f32,
};
