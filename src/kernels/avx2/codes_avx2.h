/* codes_avx2.h - eight codes of a bit stream in eight lanes, and E2M1 values of them. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CODES_AVX2_H
#define GMM_CODES_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/* The `bits` bytes that eight codes take, and whatever follows them, up to eight; reads nothing past `left` bytes. */
static inline uint64_t eight_codes(const uint8_t *at, int64_t left, int bits)
{
    uint64_t codes = 0;

    if (left >= 8)
        memcpy(&codes, at, 8);
    else
        memcpy(&codes, at, (size_t)bits);
    return codes;
}

/* Lane i: code i. `bits` is a compile-time constant at every call. */
static inline __m256i spread(uint64_t codes, int bits)
{
    const __m256i first_eight = _mm256_setr_epi32(0, bits, 2 * bits, 3 * bits, 4 * bits, 5 * bits, 6 * bits, 7 * bits);
    const __m256i mask = _mm256_set1_epi32((1 << bits) - 1);

    if (bits == 8)
        return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)codes));
    if (bits <= 4)
        return _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32((int)codes), first_eight), mask);
    /* 64-bit lanes: codes 0 to 3 and 4 to 7, then their lower halves side by side. */
    __m256i all = _mm256_set1_epi64x((int64_t)codes);
    __m256 low = _mm256_castsi256_ps(_mm256_srlv_epi64(all, _mm256_setr_epi64x(0, bits, 2 * bits, 3 * bits)));
    __m256 high =
        _mm256_castsi256_ps(_mm256_srlv_epi64(all, _mm256_setr_epi64x(4 * bits, 5 * bits, 6 * bits, 7 * bits)));
    __m256i both = _mm256_castps_si256(_mm256_shuffle_ps(low, high, 0x88));
    return _mm256_and_si256(_mm256_permute4x64_epi64(both, 0xd8), mask);
}

/* Magnitudes of E2M1 codes 0 to 7. */
static inline __m256 e2m1_magnitudes(void)
{
    return _mm256_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6);
}

/* Eight E2M1 codes as values; `magnitudes` are those of codes 0 to 7, times what a group is scaled by. */
static inline __m256 e2m1_values(uint32_t codes, __m256 magnitudes)
{
    __m256i shifted = _mm256_srlv_epi32(_mm256_set1_epi32((int)codes), _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    __m256i sign = _mm256_slli_epi32(_mm256_srli_epi32(shifted, 3), 31);

    /* The permutation looks at the lowest three bits alone. */
    return _mm256_xor_ps(_mm256_permutevar8x32_ps(magnitudes, shifted), _mm256_castsi256_ps(sign));
}

#endif
