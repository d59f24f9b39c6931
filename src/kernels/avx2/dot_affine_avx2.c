/* dot_affine_avx2.c - affine codes of any number of bits: 4 x 1 or 1 x 2 tiles of f32 rows and weight rows. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx2/codes_avx2.h"
#include "kernels/kernel.h"

/* The variant is the number of bits. With 2 and 3 a group's weights are a table; above, its scale and bias in all
 * lanes. */
typedef struct {
    __m256 a, b;
} group;

static inline __attribute__((always_inline)) group group_begin(int bits, float scale, float bias)
{
    __m256 a = _mm256_set1_ps(scale), b = _mm256_set1_ps(bias);

    switch (bits) {
    case 2:
        return (group){.a = _mm256_fmadd_ps(a, _mm256_setr_ps(0, 1, 2, 3, 0, 1, 2, 3), b)};
    case 3:
        return (group){.a = _mm256_fmadd_ps(a, _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), b)};
    default:
        return (group){.a = a, .b = b};
    }
}

static inline vf32 scaled(const group *of, vf32 codes)
{
    return (vf32){_mm256_fmadd_ps(of->a, codes.low, of->b), _mm256_fmadd_ps(of->a, codes.high, of->b)};
}

static inline vf32 scaled_integers(const group *of, __m256i low, __m256i high)
{
    return scaled(of, (vf32){_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)});
}

static inline __attribute__((always_inline)) void group_weights(int bits, const group *of, const uint8_t *codes,
                                                                vf32 *weights)
{
    switch (bits) {
    case 2:
        for (int v = 0; v < 2; v++)
            weights[v] = (vf32){_mm256_permutevar_ps(of->a, eight_of_4_bytes(codes + v * 4, 2, 0)),
                                _mm256_permutevar_ps(of->a, eight_of_4_bytes(codes + v * 4, 2, 16))};
        break;
    case 3: /* the last four bytes begin with a code's end */
        weights[0] = (vf32){_mm256_permutevar8x32_ps(of->a, eight_of_4_bytes(codes, 3, 0)),
                            _mm256_permutevar8x32_ps(of->a, eight_of_4_bytes(codes + 3, 3, 0))};
        weights[1] = (vf32){_mm256_permutevar8x32_ps(of->a, eight_of_4_bytes(codes + 6, 3, 0)),
                            _mm256_permutevar8x32_ps(of->a, eight_of_4_bytes(codes + 8, 3, 8))};
        break;
    case 4:
        thirty_two_4_bit_mixed(number_tables(), codes, weights);
        weights[0] = scaled(of, weights[0]);
        weights[1] = scaled(of, weights[1]);
        break;
    case 5: {
        __m256i first = twice(load_16_bytes(codes)), last = twice(load_16_bytes(codes + 4));
        weights[0] = scaled_integers(of, eight_of_16_bytes(first, 5, 0), eight_of_16_bytes(first, 5, 5));
        weights[1] = scaled_integers(of, eight_of_16_bytes(last, 5, 6), eight_of_16_bytes(last, 5, 11));
        break;
    }
    case 6: {
        __m256i first = twice(load_16_bytes(codes)), last = twice(load_16_bytes(codes + 8));
        weights[0] = scaled_integers(of, eight_of_16_bytes(first, 6, 0), eight_of_16_bytes(first, 6, 6));
        weights[1] = scaled_integers(of, eight_of_16_bytes(last, 6, 4), eight_of_16_bytes(last, 6, 10));
        break;
    }
    default:
        weights[0] = scaled_integers(of, eight_bytes(codes), eight_bytes(codes + 8));
        weights[1] = scaled_integers(of, eight_bytes(codes + 16), eight_bytes(codes + 24));
    }
}

static inline __attribute__((always_inline)) vf32 group_order(int bits, vf32 lanes)
{
    return bits == 4 ? unmix(lanes) : lanes;
}

static inline __attribute__((always_inline)) int64_t group_bits(int bits)
{
    return bits;
}

/* Not inline: it runs once for 64 groups, and would be in every tile. */
static __attribute__((noinline)) void group_scales(int variant, const gmm_weights *weights, gmm_row row, int64_t first,
                                                   int64_t count, float *scales, float *biases)
{
    (void)variant;
    load_floats(weights->scales_dtype, row.scales, first, count, scales);
    load_floats(weights->biases_dtype, row.biases, first, count, biases);
}

#define DOT_MR 4
#define DOT_NR(variant, rows) ((rows) == 1 ? 2 : 1)
#define GROUP_STEP 32
#define GROUP_SIZE(weights) ((weights)->group_size)
#define GROUP_TOGETHER false
#include "kernels/bodies/dot_grouped_body.h"

static inline __attribute__((always_inline)) vf32 column_weights(int bits, vi32 codes, vf32 scales, vf32 biases)
{
    const __m256i mask = _mm256_set1_epi32((1 << bits) - 1);

    return (vf32){
        _mm256_fmadd_ps(scales.low, _mm256_cvtepi32_ps(_mm256_and_si256(codes.low, mask)), biases.low),
        _mm256_fmadd_ps(scales.high, _mm256_cvtepi32_ps(_mm256_and_si256(codes.high, mask)), biases.high),
    };
}

#include "kernels/bodies/class_codes_body.h"
#include "kernels/bodies/dot_affine_variants_body.h"

extern const gmm_kernel gmm_dot_affine_avx2;
const gmm_kernel gmm_dot_affine_avx2 = {
    .name = "dot_affine_avx2",
    .body = "dot",
    .reads = "affine",
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
