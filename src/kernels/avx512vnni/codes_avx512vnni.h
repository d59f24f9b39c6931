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
static inline __attribute__((always_inline)) __m512i doubled_e2m1(__m512i codes)
{
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);

    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), codes);
}

/* Twice the values. */
static inline __attribute__((always_inline)) __m512i signed_e2m1(__m512i codes)
{
    const __m128i table = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), codes);
}

static inline __attribute__((always_inline)) __m512i codes_e2m1(const uint8_t *from, int64_t count)
{
    return doubled_e2m1(codes_4_bit(from, count));
}

static inline __attribute__((always_inline)) __m256i load_32(const uint8_t *from, int64_t count)
{
    return count >= 32  ? _mm256_loadu_si256((const __m256i *)(const void *)from)
           : count <= 0 ? _mm256_setzero_si256()
                        : _mm256_maskz_loadu_epi8((__mmask32)first_64(count), from);
}

/* `count` bytes of one column and those of another. The load puts them together, which spares the port that shuffles.
 */
static inline __attribute__((always_inline)) __m512i two_halves(const uint8_t *first, const uint8_t *second,
                                                                int64_t count)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(load_32(first, count)), load_32(second, count), 1);
}

/* From v[h][c], 32 bytes of columns c / 4 * 8 + c % 4 and of the fourth one after it, for both h: lane c of to[8 h + i]
 * is bytes 4 i to 4 i + 3 of column c. */
static inline __attribute__((always_inline)) void turn_halves(__m512i (*v)[8], __m512i *to)
{
    __m512i t[8];

#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
#pragma GCC unroll 4
        for (int c = 0; c < 8; c += 2) {
            t[c] = _mm512_unpacklo_epi32(v[h][c], v[h][c + 1]);
            t[c + 1] = _mm512_unpackhi_epi32(v[h][c], v[h][c + 1]);
        }
#pragma GCC unroll 2
        for (int q = 0; q < 8; q += 4)
#pragma GCC unroll 2
            for (int j = 0; j < 2; j++) {
                v[h][q + 2 * j] = _mm512_unpacklo_epi64(t[q + j], t[q + j + 2]);
                v[h][q + 2 * j + 1] = _mm512_unpackhi_epi64(t[q + j], t[q + j + 2]);
            }
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            to[h * 8 + j] = _mm512_shuffle_i32x4(v[h][j], v[h][4 + j], 0x88);
            to[h * 8 + 4 + j] = _mm512_shuffle_i32x4(v[h][j], v[h][4 + j], 0xdd);
        }
    }
}

/* `count` bytes, up to 64, at `at` of each of 16 columns: lane c of to[i] is bytes 4 i to 4 i + 3 of column c. */
static inline __attribute__((always_inline)) void columns_turned(const uint8_t *const *from, int64_t at, int64_t count,
                                                                 __m512i *to)
{
    __m512i v[2][8];

#pragma GCC unroll 8
    for (int c = 0; c < 8; c++)
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++)
            v[h][c] = two_halves(from[c / 4 * 8 + c % 4] + at + h * 32, from[c / 4 * 8 + c % 4 + 4] + at + h * 32,
                                 count - h * 32);
    turn_halves(v, to);
}

#endif
