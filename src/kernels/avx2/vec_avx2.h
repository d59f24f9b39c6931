/* vec_avx2.h - the vector vocabulary of the shared bodies on AVX2 with FMA: sixteen f32 lanes in two registers. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_VEC_AVX2_H
#define GMM_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>

typedef struct {
    __m256 low, high;
} vf32;

static inline vf32 vf32_zero(void)
{
    return (vf32){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

static inline vf32 vf32_load(const float *p)
{
    return (vf32){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static inline __m256 load_8_bf16(const uint16_t *p)
{
    __m128i halves = _mm_loadu_si128((const __m128i *)(const void *)p);

    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

static inline __m256 load_8_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

/* Sixteen bf16 or f16 numbers. */
static inline vf32 vf32_load_bf16(const uint16_t *p)
{
    return (vf32){load_8_bf16(p), load_8_bf16(p + 8)};
}

static inline vf32 vf32_load_f16(const uint16_t *p)
{
    return (vf32){load_8_f16(p), load_8_f16(p + 8)};
}

static inline void vf32_store(float *p, vf32 v)
{
    _mm256_storeu_ps(p, v.low);
    _mm256_storeu_ps(p + 8, v.high);
}

static inline vf32 vf32_all(float x)
{
    return (vf32){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

static inline vf32 vf32_add(vf32 a, vf32 b)
{
    return (vf32){_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}

static inline vf32 vf32_mul(vf32 a, vf32 b)
{
    return (vf32){_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}

/* a * b + c, rounded once. */
static inline vf32 vf32_fma(vf32 a, vf32 b, vf32 c)
{
    return (vf32){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}

/* All bits set in the first `count` of 8 lanes; count may be negative or large. */
static inline __m256i first_lanes(int64_t count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The first `count` elements, 0 in the other lanes. */
static inline vf32 vf32_load_first(int64_t count, const float *p)
{
    return (vf32){_mm256_maskload_ps(p, first_lanes(count)), _mm256_maskload_ps(p + 8, first_lanes(count - 8))};
}

/* Stores the first `count` lanes. */
static inline void vf32_store_first(int64_t count, float *p, vf32 v)
{
    _mm256_maskstore_ps(p, first_lanes(count), v.low);
    _mm256_maskstore_ps(p + 8, first_lanes(count - 8), v.high);
}

/* m[i] lane j = m[j] lane i, for 8 x 8. */
static inline void transpose_8(__m256 m[8])
{
    __m256 t[8];

#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(m[i], m[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(m[i], m[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            m[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            m[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0xee);
        }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        t[j] = _mm256_permute2f128_ps(m[j], m[4 + j], 0x20);
        t[4 + j] = _mm256_permute2f128_ps(m[j], m[4 + j], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        m[i] = t[i];
}

/* m[i] lane j = m[j] lane i. */
static inline void vf32_transpose(vf32 m[16])
{
    __m256 quarter[4][8]; /* upper left, upper right, lower left, lower right */

    for (int i = 0; i < 8; i++) {
        quarter[0][i] = m[i].low;
        quarter[1][i] = m[i].high;
        quarter[2][i] = m[8 + i].low;
        quarter[3][i] = m[8 + i].high;
    }
    for (int q = 0; q < 4; q++)
        transpose_8(quarter[q]);
    for (int i = 0; i < 8; i++) {
        m[i] = (vf32){quarter[0][i], quarter[2][i]};
        m[8 + i] = (vf32){quarter[1][i], quarter[3][i]};
    }
}

/* Sixteen integers of 32 bits. */
typedef struct {
    __m256i low, high;
} vi32;

static inline vi32 vf32_bits(vf32 v)
{
    return (vi32){_mm256_castps_si256(v.low), _mm256_castps_si256(v.high)};
}

static inline vi32 vi32_all(int32_t i)
{
    return (vi32){_mm256_set1_epi32(i), _mm256_set1_epi32(i)};
}

static inline vi32 vi32_and(vi32 a, vi32 b)
{
    return (vi32){_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}

static inline vi32 vi32_or(vi32 a, vi32 b)
{
    return (vi32){_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}

/* Zeros come in; by 0 to 32 places, those of each lane. */
static inline vi32 vi32_shift_right(vi32 v, vi32 places)
{
    return (vi32){_mm256_srlv_epi32(v.low, places.low), _mm256_srlv_epi32(v.high, places.high)};
}

static inline vi32 vi32_shift_left(vi32 v, vi32 places)
{
    return (vi32){_mm256_sllv_epi32(v.low, places.low), _mm256_sllv_epi32(v.high, places.high)};
}

/* Eight trees of sixteen lanes each, at v[i * 16]. */
static inline __m256 trees_8(const float *v)
{
    __m256 eight[8], four[4];

#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        eight[i] = _mm256_add_ps(_mm256_loadu_ps(v + i * 16), _mm256_loadu_ps(v + i * 16 + 8));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        four[i] = _mm256_add_ps(_mm256_permute2f128_ps(eight[i], eight[i + 4], 0x20),
                                _mm256_permute2f128_ps(eight[i], eight[i + 4], 0x31));
    __m256 a = _mm256_add_ps(_mm256_shuffle_ps(four[0], four[1], 0x44), _mm256_shuffle_ps(four[0], four[1], 0xee));
    __m256 b = _mm256_add_ps(_mm256_shuffle_ps(four[2], four[3], 0x44), _mm256_shuffle_ps(four[2], four[3], 0xee));
    return _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xdd));
}

/* Lane i: the sum of v[i * 16] to v[i * 16 + 15], in the tree +8, +4, +2, +1. */
static inline vf32 vf32_trees(const float *v)
{
    return (vf32){trees_8(v), trees_8(v + 8 * 16)};
}

static inline __m256 fma_first_8(int64_t count, const float *a, __m256 b, __m256 c)
{
    __m256i mask = first_lanes(count);
    __m256 sum = _mm256_fmadd_ps(_mm256_maskload_ps(a, mask), b, c);

    return _mm256_blendv_ps(c, sum, _mm256_castsi256_ps(mask));
}

/* As vf32_fma in the first `count` lanes, with a from memory; c in the others. */
static inline vf32 vf32_fma_first(int64_t count, const float *a, vf32 b, vf32 c)
{
    return (vf32){fma_first_8(count, a, b.low, c.low), fma_first_8(count - 8, a + 8, b.high, c.high)};
}

#endif
