/* dot_mxfp8_avx2.c - E4M3 codes with an E8M0 scale for 32: 4 x 1 or 1 x 2 tiles of f32 rows and weight rows. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx2/codes_avx2.h"
#include "kernels/kernel.h"

/* A group's scale, in all lanes. The factor of 2^8 that e4m3_over_256() leaves out is in it too, unless the product
 * could be beyond f32: then the variant is 1, and it is a multiplication of its own. */
typedef struct {
    vf32 scale;
} group;

static inline group group_begin(int variant, float scale, float bias)
{
    (void)variant;
    (void)bias;
    return (group){vf32_all(scale)};
}

static inline __attribute__((always_inline)) void group_weights(int variant, const group *of, const uint8_t *codes,
                                                                vf32 *weights)
{
    e4m3_over_256(load_32_bytes(codes), weights);
    for (int v = 0; v < 2; v++) {
        if (variant)
            weights[v] = vf32_mul(weights[v], vf32_all(256));
        weights[v] = vf32_mul(weights[v], of->scale);
    }
}

static inline vf32 group_order(int variant, vf32 lanes)
{
    (void)variant;
    return lanes;
}

static inline int64_t group_bits(int variant)
{
    (void)variant;
    return 8;
}

enum {
    LARGEST_FITTING = 246 /* the scale code whose scale times 2^8 is 2^127 */
};

static inline __attribute__((always_inline)) void group_scales(int variant, const gmm_weights *weights, gmm_row row,
                                                               int64_t first, int64_t count, float *scales,
                                                               float *biases)
{
    (void)weights;
    (void)biases;
    load_e8m0(row.scales, first, count, variant ? 0 : 8, scales);
}

#define DOT_MR 4
#define DOT_NR(variant, rows) ((rows) == 1 ? 2 : 1)
#define GROUP_STEP 32
#define GROUP_SIZE(weights) 32
#define GROUP_TOGETHER false
#include "kernels/bodies/dot_grouped_body.h"

static inline __attribute__((always_inline)) vf32 column_weights(int variant, vi32 codes, vf32 scales, vf32 biases)
{
    (void)variant;
    (void)biases;
    return vf32_mul(e4m3_of_lanes(codes), scales);
}

#include "kernels/bodies/class_codes_body.h"

static bool all_fit(gmm_row row, int64_t first, int64_t count)
{
    const uint8_t *codes = (const uint8_t *)row.scales + first;
    const __m256i most = _mm256_set1_epi8((char)LARGEST_FITTING);
    __m256i beyond = _mm256_setzero_si256();
    bool fit = true;
    int64_t i = 0;

    for (; i + 32 <= count; i += 32)
        beyond = _mm256_or_si256(beyond, _mm256_subs_epu8(load_32_bytes(codes + i), most));
    for (; i < count; i++)
        fit &= codes[i] <= LARGEST_FITTING;
    return fit && _mm256_testz_si256(beyond, beyond);
}

#include "kernels/bodies/dot_mxfp8_variants_body.h"

extern const gmm_kernel gmm_dot_mxfp8_avx2;
const gmm_kernel gmm_dot_mxfp8_avx2 = {
    .name = "dot_mxfp8_avx2",
    .body = "dot",
    .reads = "mxfp8",
    .needs = GMM_CPU_AVX2,
    .mr = DOT_MR,
    .nr = DOT_NR(0, DOT_MR),
    .dot = dot,
    .decode = decode,
    .class_bytes = class_bytes,
    .class_fill = class_fill,
    .class_decode = class_decode,
};
