/* dot_f32_portable.c - f32 dot products, 2 rows at a time. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/kernel.h"
#include "kernels/portable/vec_portable.h"

#define DOT_MR 2
#include "kernels/bodies/dot_f32_body.h"

extern const gmm_kernel gmm_dot_f32_portable;
const gmm_kernel gmm_dot_f32_portable = {
    .name = "dot_f32_portable",
    .body = "dot",
    .reads = "f32",
    .needs = 0,
    .mr = DOT_MR,
    .nr = 1,
    .dot = dot_f32,
};
