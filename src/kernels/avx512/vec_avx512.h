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

/* As vf32_fma in the first `count` lanes, from count elements of memory each; c in the others. */
static inline vf32 vf32_fma_first(int64_t count, const float *a, const float *b, vf32 c)
{
    __mmask16 mask = (__mmask16)((1u << count) - 1);

    return _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(mask, a), _mm512_maskz_loadu_ps(mask, b), c, mask);
}

#endif
