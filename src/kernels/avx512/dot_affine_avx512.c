/* dot_affine_avx512.c - affine codes of any number of bits: 4 x 4 tiles of f32 rows and weight rows. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx512/codes_avx512.h"
#include "kernels/kernel.h"

/* The variant is the number of bits. Up to 5 bits a group's weights are one or two tables of 16; above, its scale and
 * bias in all lanes. */
typedef struct {
    vf32 a, b;
} group;

static inline vf32 numbers_from(float first)
{
    return _mm512_add_ps(_mm512_set1_ps(first), _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/* 0 to period - 1, again and again: a table that does not look at the bits above a code. */
static inline vf32 numbers_repeating(int period)
{
    return period == 4 ? _mm512_setr_ps(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3)
                       : _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
}

static inline __attribute__((always_inline)) group group_begin(int bits, float scale, float bias)
{
    __m512 a = _mm512_set1_ps(scale), b = _mm512_set1_ps(bias);

    switch (bits) {
    case 2:
    case 3:
        return (group){.a = _mm512_fmadd_ps(a, numbers_repeating(1 << bits), b)};
    case 4:
        return (group){.a = _mm512_fmadd_ps(a, numbers_from(0), b)};
    case 5:
        return (group){.a = _mm512_fmadd_ps(a, numbers_from(0), b), .b = _mm512_fmadd_ps(a, numbers_from(16), b)};
    default:
        return (group){.a = a, .b = b};
    }
}

static inline __attribute__((always_inline)) void group_weights(int bits, const group *of, const uint8_t *codes,
                                                                vf32 *weights)
{
    const __m512i mask = _mm512_set1_epi32(63);

    switch (bits) {
    case 2:
        weights[0] = _mm512_permutexvar_ps(sixteen_2_bit(codes), of->a);
        weights[1] = _mm512_permutexvar_ps(sixteen_2_bit(codes + 4), of->a);
        break;
    case 3:
        weights[0] = _mm512_permutexvar_ps(sixteen_3_bit(codes, codes + 3, 0), of->a);
        weights[1] = _mm512_permutexvar_ps(sixteen_3_bit(codes + 6, codes + 8, 8), of->a);
        break;
    case 4:
        weights[0] = _mm512_permutexvar_ps(sixteen_4_bit_mixed(codes), of->a);
        weights[1] = _mm512_permutexvar_ps(sixteen_4_bit_mixed(codes + 8), of->a);
        break;
    case 5:
        weights[0] = _mm512_permutex2var_ps(of->a, sixteen_of_bytes(codes, 5, 0), of->b);
        weights[1] = _mm512_permutex2var_ps(of->a, sixteen_of_bytes(codes + 4, 5, 6), of->b);
        break;
    case 6: {
        __m512i low = _mm512_and_si512(sixteen_of_bytes(codes, 6, 0), mask);
        __m512i high = _mm512_and_si512(sixteen_of_bytes(codes + 8, 6, 4), mask);
        weights[0] = _mm512_fmadd_ps(of->a, _mm512_cvtepi32_ps(low), of->b);
        weights[1] = _mm512_fmadd_ps(of->a, _mm512_cvtepi32_ps(high), of->b);
        break;
    }
    default:
        weights[0] = _mm512_fmadd_ps(of->a, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load_16_bytes(codes))), of->b);
        weights[1] = _mm512_fmadd_ps(of->a, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load_16_bytes(codes + 16))), of->b);
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

static inline void group_scales(int variant, const gmm_weights *weights, gmm_row row, int64_t first, int64_t count,
                                float *scales, float *biases)
{
    (void)variant;
    load_floats(weights->scales_dtype, row.scales, first, count, scales);
    load_floats(weights->biases_dtype, row.biases, first, count, biases);
}

#define DOT_MR 4
/* One row of 8-bit codes is a matter of memory, which brings two streams faster than four. */
#define DOT_NR(bits, rows) ((rows) == 1 && (bits) == 8 ? 2 : 4)
#define GROUP_STEP 32
#define GROUP_SIZE(weights) ((weights)->group_size)
#include "kernels/bodies/dot_grouped_body.h"

static inline __attribute__((always_inline)) vf32 column_weights(int bits, vi32 codes, vf32 scales, vf32 biases)
{
    vf32 numbers;

    if (bits <= 3)
        numbers = _mm512_permutexvar_ps(codes, numbers_repeating(1 << bits));
    else if (bits == 4)
        numbers = _mm512_permutexvar_ps(codes, numbers_from(0));
    else if (bits == 5)
        numbers = _mm512_permutex2var_ps(numbers_from(0), codes, numbers_from(16));
    else
        numbers = _mm512_cvtepi32_ps(_mm512_and_si512(codes, _mm512_set1_epi32((1 << bits) - 1)));
    return _mm512_fmadd_ps(scales, numbers, biases);
}

#include "kernels/bodies/class_codes_body.h"
#include "kernels/bodies/dot_affine_variants_body.h"

extern const gmm_kernel gmm_dot_affine_avx512;
const gmm_kernel gmm_dot_affine_avx512 = {
    .name = "dot_affine_avx512",
    .body = "dot",
    .reads = "affine",
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
