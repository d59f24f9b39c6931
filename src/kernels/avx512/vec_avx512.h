/* vec_avx512.h - the vector vocabulary of the shared bodies on AVX-512: sixteen f32 lanes in one register. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_VEC_AVX512_H
#define GMM_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>

typedef __m512 vf32;

static inline vf32 vf32_zero(void)
{
    return _mm512_setzero_ps();
}

static inline vf32 vf32_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

/* Sixteen bf16 or f16 numbers. */
static inline vf32 vf32_load_bf16(const uint16_t *p)
{
    __m256i halves = _mm256_loadu_si256((const __m256i *)(const void *)p);

    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

static inline vf32 vf32_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline void vf32_store(float *p, vf32 v)
{
    _mm512_storeu_ps(p, v);
}

static inline vf32 vf32_all(float x)
{
    return _mm512_set1_ps(x);
}

static inline vf32 vf32_add(vf32 a, vf32 b)
{
    return _mm512_add_ps(a, b);
}

/* a * b + c, rounded once. */
static inline vf32 vf32_fma(vf32 a, vf32 b, vf32 c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* The first `count` elements, 0 in the other lanes. */
static inline vf32 vf32_load_first(int64_t count, const float *p)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
}

/* Stores the first `count` lanes. */
static inline void vf32_store_first(int64_t count, float *p, vf32 v)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), v);
}

/* m[i] lane j = m[j] lane i. */
static inline __attribute__((always_inline)) void vf32_transpose(vf32 m[16])
{
    vf32 t[16];

#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(m[i], m[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(m[i], m[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            __m512d a = _mm512_castps_pd(t[i + j]), b = _mm512_castps_pd(t[i + j + 2]);
            m[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            m[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
        /* Now m[4 q + j] holds, in its 128-bit lane p, column 4 p + j of rows 4 q to 4 q + 3: transpose the lanes. */
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        vf32 low = _mm512_shuffle_f32x4(m[j], m[4 + j], 0x44), high = _mm512_shuffle_f32x4(m[j], m[4 + j], 0xee);
        vf32 low2 = _mm512_shuffle_f32x4(m[8 + j], m[12 + j], 0x44),
             high2 = _mm512_shuffle_f32x4(m[8 + j], m[12 + j], 0xee);
        t[j] = _mm512_shuffle_f32x4(low, low2, 0x88);
        t[4 + j] = _mm512_shuffle_f32x4(low, low2, 0xdd);
        t[8 + j] = _mm512_shuffle_f32x4(high, high2, 0x88);
        t[12 + j] = _mm512_shuffle_f32x4(high, high2, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        m[i] = t[i];
}

/* Sixteen integers of 32 bits. */
typedef __m512i vi32;

static inline vi32 vf32_bits(vf32 v)
{
    return _mm512_castps_si512(v);
}

static inline vi32 vi32_all(int32_t i)
{
    return _mm512_set1_epi32(i);
}

static inline vi32 vi32_or(vi32 a, vi32 b)
{
    return _mm512_or_si512(a, b);
}

/* Zeros come in; by 0 to 32 places, those of each lane. */
static inline vi32 vi32_shift_right(vi32 v, vi32 places)
{
    return _mm512_srlv_epi32(v, places);
}

static inline vi32 vi32_shift_left(vi32 v, vi32 places)
{
    return _mm512_sllv_epi32(v, places);
}

/* Pairwise sums of the halves (128-bit lanes 0 1 and 2 3) of a, then of b. */
static inline vf32 halves(vf32 a, vf32 b)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}

/* Lane i: the sum of v[i * 16] to v[i * 16 + 15], in the tree +8, +4, +2, +1. Sixteen trees share their shuffles. */
static inline vf32 vf32_trees(const float *v)
{
    vf32 four[4];

#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        vf32 a = halves(vf32_load(v + i * 16), vf32_load(v + (i + 4) * 16));
        vf32 b = halves(vf32_load(v + (i + 8) * 16), vf32_load(v + (i + 12) * 16));
        four[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    }
    vf32 a = _mm512_add_ps(_mm512_shuffle_ps(four[0], four[1], 0x44), _mm512_shuffle_ps(four[0], four[1], 0xee));
    vf32 b = _mm512_add_ps(_mm512_shuffle_ps(four[2], four[3], 0x44), _mm512_shuffle_ps(four[2], four[3], 0xee));
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}

/* As vf32_fma in the first `count` lanes, with a from memory; c in the others. */
static inline vf32 vf32_fma_first(int64_t count, const float *a, vf32 b, vf32 c)
{
    __mmask16 mask = (__mmask16)((1u << count) - 1);

    return _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(mask, a), b, c, mask);
}

#endif
