/* codes_avx512vnni.h - 64 packed codes in 64 bytes, in the order of K. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CODES_AVX512VNNI_H
#define GMM_CODES_AVX512VNNI_H

#include "kernels/avx512/codes_avx512.h"

static inline __mmask64 first_64(int64_t count)
{
    return count >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << count) - 1;
}

/* In all of these `count` is 16 to 64, and codes past it are 0, or those of 0. */

static inline __attribute__((always_inline)) __m512i codes_8_bit(const uint8_t *from, int64_t count)
{
    return count == 64 ? _mm512_loadu_si512(from) : _mm512_maskz_loadu_epi8(first_64(count), from);
}

static inline __attribute__((always_inline)) __m512i codes_4_bit(const uint8_t *from, int64_t count)
{
    __m256i bytes = count == 64 ? _mm256_loadu_si256((const __m256i *)(const void *)from)
                                : _mm256_maskz_loadu_epi8((__mmask32)first_64(count / 2), from);
    __m512i words = _mm512_cvtepu8_epi16(bytes);

    return _mm512_and_si512(_mm512_or_si512(words, _mm512_slli_epi16(words, 4)), _mm512_set1_epi8(15));
}

/* 2, 3, 5 or 6 bits: two codes lie in the 16 bits that begin with the byte of the first. Words that hold 16 codes go to
 * each quarter, from there two bytes to each 16 bits, and two shifts put both codes in their places. */
static inline __attribute__((always_inline)) __m512i codes_of_bits(int bits, const uint8_t *from, int64_t count)
{
#define WORD(i) ((unsigned)((i) / 4 * bits + (i) % 4 * 2) | (unsigned)((i) / 4 * bits + (i) % 4 * 2 + 1) << 16)
#define BYTES(i) ((unsigned)(2 * bits * (i) / 8) | (unsigned)(2 * bits * (i) / 8 + 1) << 8)
#define PAIRS(i) (BYTES((i) % 4 * 2) | BYTES((i) % 4 * 2 + 1) << 16)
#define SHIFTS(i) ((unsigned)(2 * bits * ((i) % 4 * 2) % 8) | (unsigned)(2 * bits * ((i) % 4 * 2 + 1) % 8) << 16)
#define LANES(of)                                                                                                      \
    _mm512_setr_epi32((int)of(0), (int)of(1), (int)of(2), (int)of(3), (int)of(4), (int)of(5), (int)of(6), (int)of(7),  \
                      (int)of(8), (int)of(9), (int)of(10), (int)of(11), (int)of(12), (int)of(13), (int)of(14),         \
                      (int)of(15))
    const __m512i mask = _mm512_set1_epi16((short)((1 << bits) - 1));
    __m512i bytes = _mm512_maskz_loadu_epi8(first_64(count * bits / 8), from);
    __m512i pairs = _mm512_shuffle_epi8(_mm512_permutexvar_epi16(LANES(WORD), bytes), LANES(PAIRS));

    pairs = _mm512_srlv_epi16(pairs, LANES(SHIFTS));
    return _mm512_or_si512(
        _mm512_and_si512(pairs, mask),
        _mm512_and_si512(_mm512_slli_epi16(pairs, (unsigned)(8 - bits)), _mm512_slli_epi16(mask, 8)));
#undef WORD
#undef BYTES
#undef PAIRS
#undef SHIFTS
#undef LANES
}

/* Twice the values of E2M1 codes, and 12. */
static inline __attribute__((always_inline)) __m512i codes_e2m1(const uint8_t *from, int64_t count)
{
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);

    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), codes_4_bit(from, count));
}

#endif
