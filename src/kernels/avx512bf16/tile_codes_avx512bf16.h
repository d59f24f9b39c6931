/* tile_codes_avx512bf16.h - codes as pairs of bf16 numbers, and rows of scales, lanes along N.
 * SPDX-License-Identifier: MIT */
#ifndef GMM_TILE_CODES_AVX512BF16_H
#define GMM_TILE_CODES_AVX512BF16_H

#include "kernels/avx512bf16/tile_avx512bf16.h"

/* Halves of 16 bits, number `i` of the first half of a unit and the same of the second, side by side. */
static inline __attribute__((always_inline)) __m512i halves_of_unit(int bits, const vf32 *words, int i)
{
    const int number = gmm_tile_apart(bits) * bits / 16; /* of halves of half a unit: it is odd */
    const __m512i first = _mm512_castps_si512(words[i / 2]), second = _mm512_castps_si512(words[(i + number) / 2]);

    if (number == 1)
        return first;
    return i % 2 == 0 ? _mm512_mask_blend_epi16(0xaaaaaaaa, first, second) : _mm512_shrdi_epi32(first, second, 16);
}

/* Of pairs of halves, the bits from `shift` on of the first and the second. The instruction takes a constant. */
static inline __attribute__((always_inline)) __m512i across_halves(__m512i first, __m512i second, int shift)
{
    switch (shift) {
    case 12:
        return _mm512_shrdi_epi16(first, second, 12);
    case 13:
        return _mm512_shrdi_epi16(first, second, 13);
    case 14:
        return _mm512_shrdi_epi16(first, second, 14);
    default:
        return _mm512_shrdi_epi16(first, second, 15);
    }
}

/* Codes i of both halves of a unit, in the lowest bits of 16, with other bits above them. */
static inline __attribute__((always_inline)) __m512i codes_of_unit(int bits, const vf32 *words, int i)
{
    const int half = bits * i / 16, shift = bits * i % 16;

    if (shift + bits <= 16)
        return _mm512_srli_epi16(halves_of_unit(bits, words, half), (unsigned)shift);
    return across_halves(halves_of_unit(bits, words, half), halves_of_unit(bits, words, half + 1), shift);
}

/* Likewise as bf16 numbers of a table: its permutation takes five bits, so it repeats itself for fewer. */
static inline __attribute__((always_inline)) __m512bh pair_of_words(int bits, const vf32 *words, int i, __m512i table)
{
    return (__m512bh)_mm512_permutexvar_epi16(codes_of_unit(bits, words, i), table);
}

/* Numbers i and i + 2 of four, of which the upper and the lower bytes are there. */
static inline __attribute__((always_inline)) __m512bh pair_of_bytes(__m512i upper, __m512i lower, int i)
{
    /* a | (b & c): the upper bytes of both halves beside the lower ones. */
    return i == 0
               ? (__m512bh)_mm512_ternarylogic_epi32(_mm512_slli_epi16(upper, 8), lower, _mm512_set1_epi16(0xff), 0xf8)
               : (__m512bh)_mm512_ternarylogic_epi32(_mm512_srli_epi16(lower, 8), upper,
                                                     _mm512_set1_epi16((short)0xff00), 0xf8);
}

/* Some groups of K of 16 columns, whose scales are to be decoded: [count][stride], 16 of each group. There is room for
 * a count that is rounded up to a multiple of 4. */
typedef struct {
    int64_t column, there; /* columns that are not missing, from `column` on: any number, and maybe none */
    int64_t first, count;  /* groups */
    int64_t stride;
} group_block;

/* 16 words of each row from a byte of theirs on, transposed: word after word, lanes along N. Zeros for what is
 * missing. */
static inline void group_words(const void *rows, int64_t row_bytes, const group_block *at, int64_t begin, int64_t end,
                               vf32 words[GMM_TILE])
{
    const char *from = (const char *)rows + at->column * row_bytes + begin;
    const __mmask64 bytes = ~(__mmask64)0 >> (64 - (end - begin < 64 ? end - begin : 64));

    for (int64_t c = 0; c < GMM_TILE; c++)
        words[c] =
            c < at->there ? _mm512_castsi512_ps(_mm512_maskz_loadu_epi8(bytes, from + c * row_bytes)) : vf32_zero();
    vf32_transpose(words);
}

#endif
