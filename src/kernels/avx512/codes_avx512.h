/* codes_avx512.h - sixteen packed codes in sixteen lanes, and scales as f32. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CODES_AVX512_H
#define GMM_CODES_AVX512_H

#include <string.h>

#include "formats/format.h"
#include "kernels/avx512/vec_avx512.h"

/* ---- sixteen codes. The bits above a code are not cleared: table permutations look at the lowest bits alone. ---- */

static inline __m512i sixteen_2_bit(const uint8_t *codes)
{
    uint32_t all;

    memcpy(&all, codes, 4);
    return _mm512_srlv_epi32(_mm512_set1_epi32((int)all),
                             _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
}

/* A broadcast of 64 bits has codes 0 to 7 in even lanes and 8 to 15 in odd ones. Putting them in order would cost as
 * much as decoding them, so lanes stay like this: lane 2 i is code i, lane 2 i + 1 code i + 8. */
static inline __m512i sixteen_4_bit_mixed(const uint8_t *codes)
{
    uint64_t all;

    memcpy(&all, codes, 8);
    return _mm512_srlv_epi32(_mm512_set1_epi64((int64_t)all),
                             _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28));
}

/* Lanes in the order of K as sixteen_4_bit_mixed has them, and back. */
static inline vf32 mix(vf32 v)
{
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15), v);
}

static inline vf32 unmix(vf32 v)
{
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15), v);
}

/* Eight codes of 3 bits fit into the 32 bits that begin at their own byte; the second eight begin at bit `second` of
 * theirs. */
static inline __attribute__((always_inline)) __m512i sixteen_3_bit(const uint8_t *first_eight,
                                                                   const uint8_t *second_eight, int second)
{
    uint32_t low, high;

    memcpy(&low, first_eight, 4);
    memcpy(&high, second_eight, 4);
    return _mm512_srlv_epi32(_mm512_mask_set1_epi32(_mm512_set1_epi32((int)low), 0xff00, (int)high),
                             _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21, second, second + 3, second + 6, second + 9,
                                               second + 12, second + 15, second + 18, second + 21));
}

/* Two bytes that hold code i, from byte `skip` + bits * i / 8 of 16 bytes, shifted down; bits is 5 or 6 and a constant,
 * as `skip` is. */
static inline __attribute__((always_inline)) __m512i sixteen_of_bytes(const uint8_t *from, int bits, int skip)
{
#define PAIR(i) (0x8080u << 16 | (unsigned)(skip + bits * (i) / 8 + 1) << 8 | (unsigned)(skip + bits * (i) / 8))
#define LANES(of)                                                                                                      \
    _mm512_setr_epi32((int)of(0), (int)of(1), (int)of(2), (int)of(3), (int)of(4), (int)of(5), (int)of(6), (int)of(7),  \
                      (int)of(8), (int)of(9), (int)of(10), (int)of(11), (int)of(12), (int)of(13), (int)of(14),         \
                      (int)of(15))
#define SHIFT(i) (bits * (i) % 8)
    __m512i bytes = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)from));

    return _mm512_srlv_epi32(_mm512_shuffle_epi8(bytes, LANES(PAIR)), LANES(SHIFT));
#undef PAIR
#undef SHIFT
#undef LANES
}

static inline __m128i load_16_bytes(const uint8_t *from)
{
    return _mm_loadu_si128((const __m128i *)(const void *)from);
}

/* ---- scales ---- */

static inline __mmask16 first_16(int64_t count)
{
    return (__mmask16)(count < 16 ? (1u << count) - 1 : 0xffff);
}

/* Whole vectors without masks: masked loads and their masks cost as much again. */
static inline __m256i load_halves(const char *from, int64_t count)
{
    return count >= 16 ? _mm256_loadu_si256((const __m256i *)(const void *)from)
                       : _mm256_maskz_loadu_epi16(first_16(count), from);
}

/* f32, f16 or bf16 as f32. */
static inline void load_floats(gmm_dtype dtype, const void *from, int64_t first, int64_t count, float *out)
{
    const char *at = (const char *)from + first * (dtype == GMM_F32 ? 4 : 2);

    if (dtype == GMM_BF16)
        for (int64_t i = 0; i < count; i += 16)
            _mm512_storeu_ps(out + i, _mm512_castsi512_ps(_mm512_slli_epi32(
                                          _mm512_cvtepu16_epi32(load_halves(at + i * 2, count - i)), 16)));
    else if (dtype == GMM_F16)
        for (int64_t i = 0; i < count; i += 16)
            _mm512_storeu_ps(out + i, _mm512_cvtph_ps(load_halves(at + i * 2, count - i)));
    else
        for (int64_t i = 0; i < count; i += 16)
            _mm512_storeu_ps(out + i, _mm512_maskz_loadu_ps(first_16(count - i), at + i * 4));
}

/* As gmm_e8m0_to_f32, times 2^up; the products with up > 0 must be finite. */
static inline __attribute__((always_inline)) void load_e8m0(const void *from, int64_t first, int64_t count, int up,
                                                            float *out)
{
    for (int64_t i = 0; i < count; i += 16) {
        __m128i bytes = _mm_maskz_loadu_epi8(first_16(count - i), (const char *)from + first + i);
        __m512i codes = _mm512_cvtepu8_epi32(bytes);
        __m512i bits = _mm512_slli_epi32(_mm512_add_epi32(codes, _mm512_set1_epi32(up)), 23);
        if (up == 0) /* code 0 is 2^-127, half the smallest normal number */
            bits = _mm512_mask_mov_epi32(bits, _mm512_testn_epi32_mask(codes, codes), _mm512_set1_epi32(0x00400000));
        _mm512_storeu_ps(out + i, _mm512_castsi512_ps(bits));
    }
}

/* 32 E4M3 values less a factor of 2^8: as f16 numbers they have the same bits, seven places up, subnormal ones too.
 * Widened with their sign, negative codes have it twice: bit 7, the second, has to go. Adding 1 sets bit 7 for them and
 * for the NaN 0x7f, whose bits become those of an f16 NaN when it is flipped; for 0xff, which has such bits already, it
 * clears it. */
static inline __attribute__((always_inline)) void e4m3_over_256(__m256i codes, vf32 *values)
{
    __m512i words = _mm512_cvtepi8_epi16(codes);
    __m512i next = _mm512_add_epi16(words, _mm512_set1_epi16(1));
    /* words ^ (next & 128) */
    __m512i halves = _mm512_slli_epi16(_mm512_ternarylogic_epi32(words, next, _mm512_set1_epi16(128), 0x78), 7);

    /* One half by way of memory, which spares the shuffle that would bring it down, and one not, which spares a store:
     * a tenth faster than both halves either way. */
    __m256i upper = _mm512_extracti64x4_epi64(halves, 1);
    __asm__("" : "+m"(upper));
    values[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
    values[1] = _mm512_cvtph_ps(upper);
}

/* As gmm_e4m3_to_f32. */
static inline void load_e4m3(const void *from, int64_t first, int64_t count, float *out)
{
    const char *codes = (const char *)from + first;

    for (int64_t i = 0; i < count; i += 32) {
        __mmask32 mask = (__mmask32)(count - i < 32 ? (UINT32_C(1) << (count - i)) - 1 : UINT32_MAX);
        vf32 values[2];
        e4m3_over_256(_mm256_maskz_loadu_epi8(mask, codes + i), values);
        _mm512_storeu_ps(out + i, _mm512_mul_ps(values[0], _mm512_set1_ps(256)));
        if (count - i > 16)
            _mm512_storeu_ps(out + i + 16, _mm512_mul_ps(values[1], _mm512_set1_ps(256)));
    }
}

/* E2M1 values of codes 0 to 15. */
static inline vf32 e2m1_table(void)
{
    return _mm512_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6);
}

#endif
