/* dot_f32_avx512.c - 6 x 4 f32 tiles: 24 sums, 4 weights, 1 element in 32 registers. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx512/vec_avx512.h"
#include "kernels/kernel.h"

static inline vf32 dense_weights(const void *from)
{
    return vf32_load(from);
}

static inline vf32 dense_first(int64_t count, const void *from)
{
    return vf32_load_first(count, from);
}

#define DOT_MR 6
#define DOT_NR(variant, rows) 4
#define DENSE_BYTES 4
#include "kernels/bodies/dot_dense_body.h"

extern const gmm_kernel gmm_dot_f32_avx512;
const gmm_kernel gmm_dot_f32_avx512 = {
    .name = "dot_f32_avx512",
    .body = "dot",
    .reads = "f32",
    .needs = GMM_CPU_AVX512,
    .mr = DOT_MR,
    .nr = DOT_NR(0, DOT_MR),
    .dot = dot_dense,
};
