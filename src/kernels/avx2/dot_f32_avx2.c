/* dot_f32_avx2.c - 2 x 2 f32 tiles of two registers a vector: 8 for sums, 4 for weights, 2 for an element, of 16. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx2/vec_avx2.h"
#include "kernels/kernel.h"

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

extern const gmm_kernel gmm_dot_f32_avx2;
const gmm_kernel gmm_dot_f32_avx2 = {
    .name = "dot_f32_avx2",
    .body = "dot",
    .reads = "f32",
    .needs = GMM_CPU_AVX2,
    .mr = DOT_MR,
    .nr = DOT_NR(0, DOT_MR),
    .dot = dot_dense,
};
