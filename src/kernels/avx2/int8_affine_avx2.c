/* int8_affine_avx2.c - int8 sums of affine codes of any number of bits, by vpmaddubsw. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx2/codes_avx2.h"
#include "kernels/int8.h"

/* Codes 16 to 31 lie in the upper half of the register: 4 * bits bytes are read twice, or their ends, where they are
 * more than a half has, or than eight. Returns the byte with which code 16 begins in the upper half. */
static inline __attribute__((always_inline)) int load_halves(int bits, const uint8_t *from, __m256i *halves)
{
    const int all = 4 * bits, load = all > 16 ? 16 : 8, second = all > load ? all - load : 0;

    if (load == 16)
        *halves = _mm256_inserti128_si256(_mm256_castsi128_si256(load_16_bytes(from)), load_16_bytes(from + second), 1);
    else
        *halves = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadl_epi64((const void *)from)),
                                          _mm_loadl_epi64((const void *)(from + second)), 1);
    return 2 * bits - second;
}

/* 2, 3, 5 or 6 bits: two codes lie in the 16 bits that begin with the byte of the first, and a product with a power of
 * two, AVX2's way to shift them differently, takes them to the upper end. */
static inline __attribute__((always_inline)) __m256i codes_of_bits(int bits, const uint8_t *from)
{
#define FROM(i) (2 * bits * (i) / 8)
#define UP(i) (short)(1 << (16 - 2 * bits - 2 * bits * (i) % 8))
#define PAIR(i, skip) (char)(FROM(i) + (skip)), (char)(FROM(i) + (skip) + 1)
#define PAIRS(skip)                                                                                                    \
    PAIR(0, skip), PAIR(1, skip), PAIR(2, skip), PAIR(3, skip), PAIR(4, skip), PAIR(5, skip), PAIR(6, skip),           \
        PAIR(7, skip)
    const __m128i ups = _mm_setr_epi16(UP(0), UP(1), UP(2), UP(3), UP(4), UP(5), UP(6), UP(7));
    const __m256i first = _mm256_set1_epi16((short)((1 << bits) - 1));
    __m256i halves;
    const int skip = load_halves(bits, from, &halves);
    __m256i pairs =
        _mm256_mullo_epi16(_mm256_shuffle_epi8(halves, _mm256_setr_epi8(PAIRS(0), PAIRS(skip))), twice(ups));

    return _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(pairs, 16 - 2 * bits), first),
                           _mm256_and_si256(_mm256_srli_epi16(pairs, 8 - bits), _mm256_slli_epi16(first, 8)));
#undef FROM
#undef UP
#undef PAIR
#undef PAIRS
}

/* Those of eight bits less 128. */
static inline __attribute__((always_inline)) __m256i codes_32(int bits, const uint8_t *from)
{
    return bits == 8 ? _mm256_xor_si256(load_32_bytes(from), _mm256_set1_epi8(-128)) : codes_of_bits(bits, from);
}

static inline __m256i from_nibbles(__m256i nibbles)
{
    return nibbles;
}

static inline void group_scales(const gmm_weights *weights, gmm_row row, int64_t first, int64_t count, float *scales,
                                float *biases)
{
    load_floats(weights->scales_dtype, row.scales, first, count, scales);
    load_floats(weights->biases_dtype, row.biases, first, count, biases);
}

static inline int largest_code(int bits)
{
    return (1 << bits) - 1;
}

static inline int zero_code(int bits)
{
    return bits == 8 ? -128 : 0;
}

#define INT8_BIASES true
#include "kernels/avx2/int8_avx2_body.h"
#include "kernels/bodies/int8_affine_variants_body.h"

/* What differs is how many sums fit 16 bits. */
static void outer(const gmm_int8_outer *call)
{
    switch (call->panel->weights->bits) {
    case 8:
        outer_variant(call, 8);
        break;
    case 6:
        outer_variant(call, 6);
        break;
    case 5:
        outer_variant(call, 5);
        break;
    default:
        outer_variant(call, 4);
    }
}

extern const gmm_kernel gmm_int8_affine_avx2;
const gmm_kernel gmm_int8_affine_avx2 = {
    .name = "int8_affine_avx2",
    .body = "int8",
    .reads = "affine",
    .needs = GMM_CPU_AVX2,
    .mr = INT8_MR,
    .nr = 16,
    .int8 = &(const gmm_int8){.quantize = quantize,
                              .pack = pack,
                              .dot = dot,
                              .fill = fill,
                              .outer = outer,
                              .dot_rows = GMM_INT8_MOST_DOT_ROWS},
};
