/* dot_nvfp4_avx2.c - E2M1 codes with an E4M3 scale for 16: 4 x 1 or 1 x 2 tiles of f32 rows and weight rows. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx2/codes_avx2.h"
#include "kernels/kernel.h"

/* A group's scale, in all lanes. The variant is 1 with a global scale, which is what group_scales() calls a bias. */
typedef struct {
    vf32 scale, global;
} group;

static inline group group_begin(int variant, float scale, float global)
{
    (void)variant;
    return (group){vf32_all(scale), vf32_all(global)};
}

static inline __attribute__((always_inline)) void group_weights(int variant, const group *of, const uint8_t *codes,
                                                                vf32 *weights)
{
    weights[0] = vf32_mul(sixteen_4_bit_mixed(e2m1_tables(), codes), of->scale);
    if (variant)
        weights[0] = vf32_mul(weights[0], of->global);
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

/* Not inline: it runs once for 64 groups, and would be in every tile. */
static __attribute__((noinline)) void group_scales(int variant, const gmm_weights *weights, gmm_row row, int64_t first,
                                                   int64_t count, float *scales, float *biases)
{
    (void)variant;
    load_e4m3(row.scales, first, count, scales);
    for (int64_t i = 0; i < count; i++)
        biases[i] = weights->global;
}

#define DOT_MR 4
#define DOT_NR(variant, rows) ((rows) == 1 ? 2 : 1)
#define GROUP_STEP 16
#define GROUP_SIZE(weights) 16
#define GROUP_TOGETHER false
#include "kernels/bodies/dot_grouped_body.h"

static inline __attribute__((always_inline)) vf32 column_weights(int variant, vi32 codes, vf32 scales, vf32 biases)
{
    vf32 weights = vf32_mul(e2m1_of_lanes(codes), scales);

    return variant ? vf32_mul(weights, biases) : weights;
}

#include "kernels/bodies/class_codes_body.h"
#include "kernels/bodies/dot_nvfp4_variants_body.h"

extern const gmm_kernel gmm_dot_nvfp4_avx2;
const gmm_kernel gmm_dot_nvfp4_avx2 = {
    .name = "dot_nvfp4_avx2",
    .body = "dot",
    .reads = "nvfp4",
    .needs = GMM_CPU_AVX2,
    .mr = DOT_MR,
    .nr = DOT_NR(0, DOT_MR),
    .dot = dot,
    .arrange = arrange,
    .decode = decode,
    .class_bytes = class_bytes,
    .class_fill = class_fill,
    .class_decode = class_decode,
};
