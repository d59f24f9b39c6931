/* tile_affine_avx512bf16_body.h - tile sums of affine codes with vdpbf16ps.
 * SPDX-License-Identifier: MIT
 *
 * A weight is middle + scale * (code - center): the center is the mean of the least code and the greatest one, so that
 * codes less the center are odd numbers of halves, and bf16 numbers; the middle of a group is its bias + center *
 * scale. Groups are taken apart into groups of 32 with the same numbers: one body does for all, and few rows have more
 * chains of additions side by side.
 *
 * Before it is included:
 *   CODE_BITS  the number of bits of a code
 *   MULTIPLY   the name of the function that it defines
 *
 * Each number of bits has a file of its own: compilers unroll loops before they know in which of several functions
 * these bodies end up, and clang 14 took a minute, with sanitizers many, for all of them in one. */
#include "cpu/cpu.h"
#include "kernels/avx512bf16/tile_codes_avx512bf16.h"

#define TILE_GROUP GMM_TILE_BLOCK

/* ---- codes less the center ---- */

/* bf16 numbers of up to 6 bits from `first` on, less the center, again and again. In registers, and not in memory, from
 * which gcc would load them for each pair. */
static inline __attribute__((always_inline)) __m512i centered_codes(int bits, int first)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i last = _mm512_set1_epi32((1 << bits) - 1);
    const vf32 center = vf32_all((float)((1 << bits) - 1) / 2);
    vf32 numbers[2];

    for (int i = 0; i < 2; i++) {
        const __m512i codes = _mm512_and_si512(_mm512_add_epi32(lanes, _mm512_set1_epi32(first + i * 16)), last);
        numbers[i] = _mm512_sub_ps(_mm512_cvtepi32_ps(codes), center);
    }
    return (__m512i)_mm512_cvtne2ps_pbh(numbers[1], numbers[0]);
}

/* Bytes of those of 8 bits that are above it: code 128 + i is i + 1/2, half of an odd number. */
#define BITS(odd) ((157 - __builtin_clz(odd)) << 7 | ((odd) << (__builtin_clz(odd) - 24) & 0x7f))
#define UPPER(i) BITS(2 * (i) + 1) >> 8
#define LOWER(i) BITS(2 * (i) + 1) & 0xff
#define FOUR(of, i) of(i), of((i) + 1), of((i) + 2), of((i) + 3)
#define SIXTEEN(of, i) FOUR(of, i), FOUR(of, (i) + 4), FOUR(of, (i) + 8), FOUR(of, (i) + 12)
#define SIXTY_FOUR(of, i) SIXTEEN(of, i), SIXTEEN(of, (i) + 16), SIXTEEN(of, (i) + 32), SIXTEEN(of, (i) + 48)
static const uint8_t centered_upper[] __attribute__((aligned(64))) = {SIXTY_FOUR(UPPER, 0), SIXTY_FOUR(UPPER, 64)};
static const uint8_t centered_lower[] __attribute__((aligned(64))) = {SIXTY_FOUR(LOWER, 0), SIXTY_FOUR(LOWER, 64)};

/* A code below the center is as far from it as the one of which all bits are the others; of both, and so of the one
 * above it, the magnitude is that of seven bits. */
static inline __attribute__((always_inline)) __m512bh centered_pair_of_bytes(__m512i codes, int i)
{
    const __m512i *upper = (const __m512i *)(const void *)centered_upper;
    const __m512i *lower = (const __m512i *)(const void *)centered_lower;
    const __m512i sign = _mm512_set1_epi8((char)0x80);
    /* A matrix of bits: each of the seven lowest, exclusive or the highest, exclusive or 1. */
    const __m512i above = _mm512_gf2p8affine_epi64_epi8(codes, _mm512_set1_epi64((long long)0x8182848890a0c000), 0x7f);
    const __m512i magnitude = _mm512_permutex2var_epi8(upper[0], above, upper[1]);

    /* magnitude | (~codes & sign) */
    return pair_of_bytes(_mm512_ternarylogic_epi32(magnitude, codes, sign, 0xf2),
                         _mm512_permutex2var_epi8(lower[0], above, lower[1]), i);
}

static inline __attribute__((always_inline)) __m512bh centered_pair(int bits, const vf32 *words, int i)
{
    if (bits == 8)
        return centered_pair_of_bytes(_mm512_castps_si512(*words), i);
    if (bits == 6)
        return (__m512bh)_mm512_permutex2var_epi16(centered_codes(bits, 0), codes_of_unit(bits, words, i),
                                                   centered_codes(bits, 32));
    return pair_of_words(bits, words, i, centered_codes(bits, 0));
}

/* ---- scales and biases ---- */

enum {
    TOGETHER = 32 /* groups whose numbers are transposed together */
};

/* Numbers of a group each, in rows of f32, f16 or bf16: those of `begin` and of what comes next. */
static inline void load_numbers(gmm_dtype dtype, const void *rows, int64_t row_bytes, const group_block *at,
                                int64_t begin, vf32 words[TOGETHER])
{
    const int64_t bytes = dtype == GMM_F32 ? 4 : 2;
    const int64_t from = (at->first + begin) * bytes, end = (at->first + at->count) * bytes;

    group_words(rows, row_bytes, at, from, end, words);
    if (dtype == GMM_F32 && from + 64 < end)
        group_words(rows, row_bytes, at, from + 64, end, words + GMM_TILE);
}

static inline vf32 number_at(gmm_dtype dtype, const vf32 *words, int64_t i)
{
    if (dtype == GMM_F32)
        return words[i];
    const __m512i word = _mm512_castps_si512(words[i / 2]), half = i % 2 ? _mm512_srli_epi32(word, 16) : word;
    return dtype == GMM_BF16 ? _mm512_castsi512_ps(_mm512_slli_epi32(half, 16))
                             : _mm512_cvtph_ps(_mm512_cvtepi32_epi16(half));
}

/* Weights that may overflow get the middle NaN, and so the sum: whoever calls computes it again from decoded ones. */
static void scales_and_middles(const gmm_tile_call *call, const group_block *at, float *scales, float *middles)
{
    const gmm_weights *weights = call->weights;
    const vf32 center = vf32_all((float)((1 << weights->bits) - 1) / 2), two = vf32_all(2);

    for (int64_t g = 0; g < at->count; g += TOGETHER) {
        vf32 scale_words[TOGETHER], bias_words[TOGETHER];
        load_numbers(weights->scales_dtype, call->w.first.scales, call->w.scale_bytes, at, g, scale_words);
        load_numbers(weights->biases_dtype, call->w.first.biases, call->w.bias_bytes, at, g, bias_words);
        for (int64_t i = 0; i < TOGETHER && g + i < at->count; i++) {
            const vf32 scale = number_at(weights->scales_dtype, scale_words, i);
            const vf32 middle = vf32_fma(center, scale, number_at(weights->biases_dtype, bias_words, i));
            const vf32 reach = vf32_add(_mm512_abs_ps(middle), _mm512_abs_ps(_mm512_mul_ps(center, scale)));
            vf32_store(scales + (g + i) * at->stride, scale);
            /* 0 times infinity is NaN. */
            vf32_store(middles + (g + i) * at->stride, vf32_fma(_mm512_mul_ps(two, reach), vf32_zero(), middle));
        }
    }
}

#define TILE_SHIFT(call) __builtin_ctz((unsigned)(call)->weights->group_size / TILE_GROUP)
#define TILE_MIDDLES 1
#define TILE_PAIR centered_pair
#define TILE_SCALES scales_and_middles
#include "kernels/avx512bf16/tile_pairs_body.h"

void MULTIPLY(const gmm_tile_call *call);
void MULTIPLY(const gmm_tile_call *call)
{
    tile_multiply(call, CODE_BITS);
}
