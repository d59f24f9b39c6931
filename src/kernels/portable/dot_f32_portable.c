/* dot_f32_portable.c - 2 x 2 f32 tiles. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/kernel.h"
#include "kernels/portable/vec_portable.h"

static inline vf32 dense_weights(const void *from)
{
    return vf32_load(from);
}

static inline vf32 dense_first(int64_t count, const void *from)
{
    return vf32_load_first(count, from);
}

#define DOT_MR 2
#define DOT_NR(variant, rows) 2
#define DENSE_BYTES 4
#include "kernels/bodies/dot_dense_body.h"

extern const gmm_kernel gmm_dot_f32_portable;
const gmm_kernel gmm_dot_f32_portable = {
    .name = "dot_f32_portable",
    .body = "dot",
    .reads = "f32",
    .needs = 0,
    .mr = DOT_MR,
    .nr = DOT_NR(0, DOT_MR),
    .dot = dot_dense,
};
