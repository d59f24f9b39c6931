/* tile_mx_avx512bf16.h - E2M1 and E4M3 codes as pairs of bf16 numbers, and their groups' scales of a byte.
 * SPDX-License-Identifier: MIT */
#ifndef GMM_TILE_MX_AVX512BF16_H
#define GMM_TILE_MX_AVX512BF16_H

#include "kernels/avx512bf16/tile_codes_avx512bf16.h"

/* ---- codes ---- */

/* Codes i and i + 4 of eight. */
static inline __attribute__((always_inline)) __m512bh e2m1_pair(vf32 words, int i)
{
    const __m256i values =
        _mm256_setr_epi16(0, 0x3f00, 0x3f80, 0x3fc0, 0x4000, 0x4040, 0x4080, 0x40c0, (short)0x8000, (short)0xbf00,
                          (short)0xbf80, (short)0xbfc0, (short)0xc000, (short)0xc040, (short)0xc080, (short)0xc0c0);

    return pair_of_words(4, &words, i, _mm512_broadcast_i64x4(values));
}

/* E4M3 magnitudes times 2^9, so that none is less than 1 but zero, as bf16 numbers: their upper and lower bytes. */
static const uint8_t e4m3_upper[128] __attribute__((aligned(64))) = {
    0x00, 0x3f, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0x41,
    0x41, 0x41, 0x41, 0x41, 0x41, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42, 0x42,
    0x42, 0x42, 0x43, 0x43, 0x43, 0x43, 0x43, 0x43, 0x43, 0x43, 0x43, 0x43, 0x43, 0x43, 0x43, 0x43, 0x43, 0x43, 0x44,
    0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x44, 0x45, 0x45, 0x45, 0x45,
    0x45, 0x45, 0x45, 0x45, 0x45, 0x45, 0x45, 0x45, 0x45, 0x45, 0x45, 0x45, 0x46, 0x46, 0x46, 0x46, 0x46, 0x46, 0x46,
    0x46, 0x46, 0x46, 0x46, 0x46, 0x46, 0x46, 0x46, 0x46, 0x47, 0x47, 0x47, 0x47, 0x47, 0x47, 0x47, 0x47, 0x47, 0x47,
    0x47, 0x47, 0x47, 0x47, 0x47, 0x47, 0x48, 0x48, 0x48, 0x48, 0x48, 0x48, 0x48, 0x7f};
static const uint8_t e4m3_lower[128] __attribute__((aligned(64))) = {
    0x00, 0x80, 0x00, 0x40, 0x80, 0xa0, 0xc0, 0xe0, 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xa0,
    0xb0, 0xc0, 0xd0, 0xe0, 0xf0, 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xa0, 0xb0, 0xc0, 0xd0,
    0xe0, 0xf0, 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xa0, 0xb0, 0xc0, 0xd0, 0xe0, 0xf0, 0x00,
    0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xa0, 0xb0, 0xc0, 0xd0, 0xe0, 0xf0, 0x00, 0x10, 0x20, 0x30,
    0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xa0, 0xb0, 0xc0, 0xd0, 0xe0, 0xf0, 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60,
    0x70, 0x80, 0x90, 0xa0, 0xb0, 0xc0, 0xd0, 0xe0, 0xf0, 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90,
    0xa0, 0xb0, 0xc0, 0xd0, 0xe0, 0xf0, 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0xc0};

/* Codes i and i + 2 of four, times 2^9. The permutations take seven bits of a code; the eighth is its sign. */
static inline __attribute__((always_inline)) __m512bh e4m3_pair(vf32 words, int i)
{
    const __m512i *upper = (const __m512i *)(const void *)e4m3_upper,
                  *lower = (const __m512i *)(const void *)e4m3_lower;
    const __m512i codes = _mm512_castps_si512(words);
    const __m512i below = _mm512_permutex2var_epi8(lower[0], codes, lower[1]);
    const __m512i magnitude = _mm512_permutex2var_epi8(upper[0], codes, upper[1]);
    /* magnitude | (codes & 0x80) */
    const __m512i above = _mm512_ternarylogic_epi32(magnitude, codes, _mm512_set1_epi8((char)0x80), 0xf8);

    return pair_of_bytes(above, below, i);
}

/* ---- scales ---- */

/* Four bytes of each column, one after the other, as 16 of each group. */
static inline __m512i by_group(vf32 word)
{
    const __m512i columns =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60));
    const __m512i group =
        _mm512_setr_epi32(0, 0, 0, 0, 0x01010101, 0x01010101, 0x01010101, 0x01010101, 0x02020202, 0x02020202,
                          0x02020202, 0x02020202, 0x03030303, 0x03030303, 0x03030303, 0x03030303);

    return _mm512_permutexvar_epi8(_mm512_add_epi8(columns, group), _mm512_castps_si512(word));
}

/* E8M0 scales of four groups, times `times`. 2^-127, of code 0, has the bits of the greater number; code 255 becomes
 * infinite, and so does the sum, instead of NaN: whoever calls computes it again. */
static inline void e8m0_scales(__m512i bytes, float times, vf32 scales[4])
{
    const __m128i groups[] = {_mm512_castsi512_si128(bytes), _mm512_extracti32x4_epi32(bytes, 1),
                              _mm512_extracti32x4_epi32(bytes, 2), _mm512_extracti32x4_epi32(bytes, 3)};

#pragma GCC unroll 4
    for (int g = 0; g < 4; g++) {
        const __m512i bits = _mm512_slli_epi32(_mm512_cvtepu8_epi32(groups[g]), 23);
        scales[g] =
            _mm512_mul_ps(_mm512_castsi512_ps(_mm512_max_epu32(bits, _mm512_set1_epi32(0x00400000))), vf32_all(times));
    }
}

/* E4M3 scales of four groups. */
static inline void e4m3_scales(__m512i bytes, vf32 scales[4])
{
    e4m3_over_256(_mm512_castsi512_si256(bytes), scales);
    e4m3_over_256(_mm512_extracti64x4_epi64(bytes, 1), scales + 2);
#pragma GCC unroll 4
    for (int g = 0; g < 4; g++)
        scales[g] = _mm512_mul_ps(scales[g], vf32_all(256));
}

/* The scales of groups, a byte each: E4M3 if `times` is 0, else E8M0 times that. */
static inline void byte_scales(const gmm_tile_call *call, const group_block *at, float times, float *scales)
{
    for (int64_t i = 0; i < at->count; i += 4 * GMM_TILE) {
        const int64_t here = at->count - i < 4 * GMM_TILE ? at->count - i : 4 * GMM_TILE;
        vf32 words[GMM_TILE];
        group_words(call->w.first.scales, call->w.scale_bytes, at, at->first + i, at->first + at->count, words);
        for (int64_t g = 0; g < here; g += 4) {
            const __m512i bytes = by_group(words[g / 4]);
            vf32 four[4];
            if (times > 0)
                e8m0_scales(bytes, times, four);
            else
                e4m3_scales(bytes, four);
            for (int64_t j = 0; j < 4; j++)
                vf32_store(scales + (i + g + j) * at->stride, four[j]);
        }
    }
}

#endif
