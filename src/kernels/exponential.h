/* exponential.h - the exponential and the logistic function in f32, as a few multiplications: the same bits everywhere.
 * SPDX-License-Identifier: MIT
 *
 * Compilers make vector loops of these. Each operation is rounded on its own (no contraction), so an element's bits
 * depend neither on the instruction set nor on whether it fell into a vector or into what was left over. */
#ifndef GMM_EXPONENTIAL_H
#define GMM_EXPONENTIAL_H

#include "formats/numbers.h"

/*
 * exp(x) for x <= 1; 0 below -104, where it is less than half the smallest subnormal number. NaN gives NaN.
 *
 * x = n ln 2 + r with |r| <= 0.35, and exp(r) by a polynomial (Cephes, S. Moshier). At most 2 units in the last place
 * from exp(x) where that is a normal number, and 2^-149 besides where it is subnormal; test_moe_activation tries all x.
 */
static inline float gmm_exp_negative(float x)
{
    const float magic = 0x1.8p23f; /* the last bit of a sum with it is worth 1 */
    float clamped = x < -104.0f ? -104.0f : x;
    float shifted = clamped * 1.44269504088896341f + magic, n = shifted - magic;
    float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f; /* the first product is exact */
    float p = 1.9875691500e-4f;

    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    /* 2^n as a product of two normal numbers, the second multiplication rounds where the result is subnormal. */
    uint32_t biased = gmm_f32_bits(shifted) - gmm_f32_bits(magic) + 152, half = biased >> 1;
    return p * gmm_f32_from_bits((half + 51) << 23) * gmm_f32_from_bits((biased - half + 51) << 23);
}

/* 1 / (1 + exp(-z)), with a small relative error for z of either sign. */
static inline float gmm_logistic(float z)
{
    float e = gmm_exp_negative(-(z < 0 ? -z : z));

    return (z < 0 ? e : 1.0f) / (1.0f + e);
}

#endif
