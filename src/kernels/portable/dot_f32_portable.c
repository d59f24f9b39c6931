/* dot_f32_portable.c - 2 x 2 f32 tiles. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/kernel.h"
#include "kernels/portable/vec_portable.h"

#define DOT_MR 2
#define DOT_NR 2
#include "kernels/bodies/dot_f32_body.h"

extern const gmm_kernel gmm_dot_f32_portable;
const gmm_kernel gmm_dot_f32_portable = {
    .name = "dot_f32_portable",
    .body = "dot",
    .reads = "f32",
    .needs = 0,
    .mr = DOT_MR,
    .nr = DOT_NR,
    .dot = dot_f32,
};
