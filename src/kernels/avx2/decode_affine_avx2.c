/* decode_affine_avx2.c - affine codes of any number of bits, eight at a time. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "formats/packed.h"
#include "kernels/avx2/codes_avx2.h"
#include "kernels/kernel.h"

static inline __attribute__((always_inline)) void decode_bits(const gmm_weights *weights, gmm_row row, int64_t begin,
                                                              int64_t count, float *out, int bits)
{
    const uint8_t *codes = (const uint8_t *)row.codes + begin / 8 * bits;
    int64_t left = count / 8 * bits, groups = weights->group_size;

    for (int64_t i = 0; i < count;) {
        int64_t group = (begin + i) / groups, end = (group + 1) * groups - begin;
        __m256 scale = _mm256_set1_ps(gmm_load_float(weights->scales_dtype, row.scales, group));
        __m256 bias = _mm256_set1_ps(gmm_load_float(weights->biases_dtype, row.biases, group));
        for (end = end < count ? end : count; i < end; i += 8, codes += bits, left -= bits) {
            __m256 q = _mm256_cvtepi32_ps(spread(eight_codes(codes, left, bits), bits));
            _mm256_storeu_ps(out + i, _mm256_fmadd_ps(scale, q, bias));
        }
    }
}

static void decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    switch (weights->bits) {
    case 2:
        decode_bits(weights, row, begin, count, out, 2);
        break;
    case 3:
        decode_bits(weights, row, begin, count, out, 3);
        break;
    case 4:
        decode_bits(weights, row, begin, count, out, 4);
        break;
    case 5:
        decode_bits(weights, row, begin, count, out, 5);
        break;
    case 6:
        decode_bits(weights, row, begin, count, out, 6);
        break;
    default:
        decode_bits(weights, row, begin, count, out, 8);
    }
}

extern const gmm_kernel gmm_decode_affine_avx2;
const gmm_kernel gmm_decode_affine_avx2 = {
    .name = "decode_affine_avx2",
    .body = "decode",
    .reads = "affine",
    .needs = GMM_CPU_AVX2,
    .mr = 1,
    .nr = 8,
    .decode = decode,
};
