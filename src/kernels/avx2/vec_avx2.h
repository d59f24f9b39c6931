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

static inline __m256 fma_first_8(int64_t count, const float *a, const float *b, __m256 c)
{
    __m256i mask = first_lanes(count);
    __m256 sum = _mm256_fmadd_ps(_mm256_maskload_ps(a, mask), _mm256_maskload_ps(b, mask), c);

    return _mm256_blendv_ps(c, sum, _mm256_castsi256_ps(mask));
}

/* As vf32_fma in the first `count` lanes, from count elements of memory each; c in the others. */
static inline vf32 vf32_fma_first(int64_t count, const float *a, const float *b, vf32 c)
{
    return (vf32){fma_first_8(count, a, b, c.low), fma_first_8(count - 8, a + 8, b + 8, c.high)};
}

#endif
