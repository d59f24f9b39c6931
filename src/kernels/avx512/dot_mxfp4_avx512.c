/* dot_mxfp4_avx512.c - E2M1 codes with an E8M0 scale for 32: 4 x 4 tiles of f32 rows and weight rows. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx512/codes_avx512.h"
#include "kernels/kernel.h"

/* A group's sixteen weights. */
typedef struct {
    vf32 table;
} group;

static inline group group_begin(int variant, float scale, float bias)
{
    (void)variant;
    (void)bias;
    return (group){_mm512_mul_ps(e2m1_table(), _mm512_set1_ps(scale))};
}

static inline void group_weights(int variant, const group *of, const uint8_t *codes, vf32 *weights)
{
    (void)variant;
    weights[0] = _mm512_permutexvar_ps(sixteen_4_bit_mixed(codes), of->table);
    weights[1] = _mm512_permutexvar_ps(sixteen_4_bit_mixed(codes + 8), of->table);
}

static inline vf32 group_order(int variant, vf32 lanes)
{
    (void)variant;
    return unmix(lanes);
}

static inline int64_t group_bits(int variant)
{
    (void)variant;
    return 4;
}

static inline void group_scales(int variant, const gmm_weights *weights, gmm_row row, int64_t first, int64_t count,
                                float *scales, float *biases)
{
    (void)variant;
    (void)weights;
    (void)biases;
    load_e8m0(row.scales, first, count, 0, scales);
}

#define DOT_MR 4
#define DOT_NR(variant, rows) 4
#define GROUP_STEP 32
#define GROUP_SIZE(weights) 32
#include "kernels/bodies/dot_grouped_body.h"

static inline __attribute__((always_inline)) vf32 column_weights(int variant, vi32 codes, vf32 scales, vf32 biases)
{
    (void)variant;
    (void)biases;
    return _mm512_mul_ps(_mm512_permutexvar_ps(codes, e2m1_table()), scales);
}

#include "kernels/bodies/class_codes_body.h"
#include "kernels/bodies/dot_mxfp4_variants_body.h"

extern const gmm_kernel gmm_dot_mxfp4_avx512;
const gmm_kernel gmm_dot_mxfp4_avx512 = {
    .name = "dot_mxfp4_avx512",
    .body = "dot",
    .reads = "mxfp4",
    .needs = GMM_CPU_AVX512,
    .mr = DOT_MR,
    .nr = DOT_NR(0, DOT_MR),
    .dot = dot,
    .arrange = arrange,
    .decode = decode,
    .class_bytes = class_bytes,
    .class_fill = class_fill,
    .class_decode = class_decode,
};
