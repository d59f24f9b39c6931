/* dot_mxfp8_avx512.c - E4M3 codes with an E8M0 scale for 32: 4 x 4 tiles of f32 rows and weight rows. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "cpu/cpu.h"
#include "kernels/avx512/codes_avx512.h"
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
    return (group){_mm512_set1_ps(scale)};
}

static inline __attribute__((always_inline)) void group_weights(int variant, const group *of, const uint8_t *codes,
                                                                vf32 *weights)
{
    e4m3_over_256(_mm256_loadu_si256((const __m256i *)(const void *)codes), weights);
    for (int v = 0; v < 2; v++) {
        if (variant)
            weights[v] = _mm512_mul_ps(weights[v], _mm512_set1_ps(256));
        weights[v] = _mm512_mul_ps(weights[v], of->scale);
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
#define DOT_NR(variant, rows) ((rows) == 1 ? 2 : 4) /* memory brings two streams faster than four */
#define GROUP_STEP 32
#define GROUP_SIZE(weights) 32
#include "kernels/bodies/dot_grouped_body.h"

static bool all_fit(gmm_row row, int64_t first, int64_t count)
{
    const char *codes = (const char *)row.scales + first;
    __mmask64 beyond = 0;

    for (int64_t i = 0; i < count; i += 64) {
        __mmask64 mask = count - i < 64 ? (UINT64_C(1) << (count - i)) - 1 : UINT64_MAX;
        beyond |=
            _mm512_cmpgt_epu8_mask(_mm512_maskz_loadu_epi8(mask, codes + i), _mm512_set1_epi8((char)LARGEST_FITTING));
    }
    return beyond == 0;
}

/* As gmm_e4m3_to_f32, and scaled; anything above the eight bits. */
static inline __attribute__((always_inline)) vf32 column_weights(int variant, vi32 codes, vf32 scales, vf32 biases)
{
    __m512i magnitude = _mm512_and_si512(codes, _mm512_set1_epi32(0x7f));
    __mmask16 subnormal = _mm512_cmplt_epi32_mask(magnitude, _mm512_set1_epi32(8));
    __mmask16 nan = _mm512_cmpeq_epi32_mask(magnitude, _mm512_set1_epi32(0x7f));
    __m512i bits = _mm512_add_epi32(_mm512_slli_epi32(magnitude, 20), _mm512_set1_epi32(0x3c000000));

    (void)variant;
    (void)biases;
    bits = _mm512_mask_add_epi32(bits, subnormal, bits, _mm512_set1_epi32(0x00800000));
    __m512 value = _mm512_castsi512_ps(bits);
    value = _mm512_mask_sub_ps(value, subnormal, value, _mm512_set1_ps(0x1p-6f));
    value = _mm512_mask_mov_ps(value, nan, _mm512_set1_ps(NAN));
    /* value | codes << 24 & the sign bit */
    bits = _mm512_ternarylogic_epi32(_mm512_castps_si512(value), _mm512_slli_epi32(codes, 24),
                                     _mm512_set1_epi32((int)0x80000000), 0xf8);
    return _mm512_mul_ps(_mm512_castsi512_ps(bits), scales);
}

#include "kernels/bodies/class_codes_body.h"
#include "kernels/bodies/dot_mxfp8_variants_body.h"

extern const gmm_kernel gmm_dot_mxfp8_avx512;
const gmm_kernel gmm_dot_mxfp8_avx512 = {
    .name = "dot_mxfp8_avx512",
    .body = "dot",
    .reads = "mxfp8",
    .needs = GMM_CPU_AVX512,
    .mr = DOT_MR,
    .nr = DOT_NR(0, DOT_MR),
    .dot = dot,
    .decode = decode,
    .class_bytes = class_bytes,
    .class_fill = class_fill,
    .class_decode = class_decode,
};
