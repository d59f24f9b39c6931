/* dot_nvfp4_avx512.c - E2M1 codes with an E4M3 scale for 16: 4 x 4 tiles of f32 rows and weight rows. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx512/codes_avx512.h"
#include "kernels/kernel.h"

/* A group's sixteen weights. The variant is 1 with a global scale, which is what group_scales() calls a bias. */
typedef struct {
    vf32 table;
} group;

static inline __attribute__((always_inline)) group group_begin(int variant, float scale, float global)
{
    vf32 table = _mm512_mul_ps(e2m1_table(), _mm512_set1_ps(scale));

    return (group){variant ? _mm512_mul_ps(table, _mm512_set1_ps(global)) : table};
}

static inline void group_weights(int variant, const group *of, const uint8_t *codes, vf32 *weights)
{
    (void)variant;
    weights[0] = _mm512_permutexvar_ps(sixteen_4_bit_mixed(codes), of->table);
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
    load_e4m3(row.scales, first, count, scales);
    for (int64_t i = 0; i < count; i++)
        biases[i] = weights->global;
}

#define DOT_MR 4
#define DOT_NR(variant, rows) 4
#define GROUP_STEP 16
#define GROUP_SIZE(weights) 16
#include "kernels/bodies/dot_grouped_body.h"

static inline __attribute__((always_inline)) vf32 column_weights(int variant, vi32 codes, vf32 scales, vf32 biases)
{
    vf32 weights = _mm512_mul_ps(_mm512_permutexvar_ps(codes, e2m1_table()), scales);

    return variant ? _mm512_mul_ps(weights, biases) : weights;
}

#include "kernels/bodies/class_codes_body.h"
#include "kernels/bodies/dot_nvfp4_variants_body.h"

extern const gmm_kernel gmm_dot_nvfp4_avx512;
const gmm_kernel gmm_dot_nvfp4_avx512 = {
    .name = "dot_nvfp4_avx512",
    .body = "dot",
    .reads = "nvfp4",
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
