/* numbers.h - the small number formats, as inline portable C: bf16, f16, E2M1, E4M3, E8M0 to and from f32. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_NUMBERS_H
#define GMM_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Bits only, no F16C or other conversion instructions: every CPU gives the same result, NaN payloads included. "From"
 * conversions are exact; "to" conversions round to nearest, ties to even. docs/formats.md has the layouts. */

#define GMM_E2M1_MAX 6.0f
#define GMM_E4M3_MAX 448.0f
#define GMM_NVFP4_MAX 2688.0f /* GMM_E2M1_MAX * GMM_E4M3_MAX: a global scale of this much is 1 */
#define GMM_E8M0_BIAS 127

static inline uint32_t gmm_f32_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float gmm_f32_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- bf16 ------------------------------------------------------------------------------------------------------- */

static inline float gmm_bf16_to_f32(uint16_t bits)
{
    return gmm_f32_from_bits((uint32_t)bits << 16);
}

/* A NaN keeps its sign and upper payload and becomes quiet. */
static inline uint16_t gmm_bf16_from_f32(float value)
{
    uint32_t bits = gmm_f32_bits(value);
    uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    bool is_nan = (bits & 0x7fffffff) > 0x7f800000;

    return (uint16_t)((is_nan ? bits | 0x00400000 : rounded) >> 16);
}

/* ---- f16 -------------------------------------------------------------------------------------------------------- */

/* The three small formats without a common exponent range are widened alike: shifted into f32's place and rebiased, a
 * subnormal gets the smallest normal exponent and loses the leading 1 by a subtraction. (Multiplying by a power of two
 * instead would meet subnormal operands, at 100 to 200 cycles each on Intel.) */
static inline float gmm_f16_to_f32(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, magnitude = bits & 0x7fff;
    bool subnormal = magnitude < 0x400;
    float finite = gmm_f32_from_bits((magnitude << 13) + ((112u + subnormal) << 23)) - (subnormal ? 0x1p-14f : 0.0f);
    uint32_t special = magnitude << 13 | 0x7f800000 | (magnitude > 0x7c00 ? 0x00400000 : 0);

    return gmm_f32_from_bits(sign | (magnitude >= 0x7c00 ? special : gmm_f32_bits(finite)));
}

/* A NaN keeps its sign and upper payload and becomes quiet. */
static inline uint16_t gmm_f16_from_f32(float value)
{
    uint32_t bits = gmm_f32_bits(value), magnitude = bits & 0x7fffffff;
    uint32_t result;

    if (magnitude > 0x7f800000) {
        result = 0x7e00 | (magnitude >> 13 & 0x01ff);
    } else if (magnitude >= 0x477ff000) { /* 65520, half-way to the first value out of range, and all above */
        result = 0x7c00;
    } else if (magnitude >= 0x38800000) { /* 2^-14, the smallest normal value */
        result = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
    } else { /* 2^-24 is the last bit of f32 0.5: the addition rounds to f16's subnormals, and to even */
        result = gmm_f32_bits(gmm_f32_from_bits(magnitude) + 0.5f) - 0x3f000000;
    }
    return (uint16_t)((bits >> 16 & 0x8000) | result);
}

/* ---- E2M1: s ee m, no infinities, no NaN ------------------------------------------------------------------------ */

static inline float gmm_e2m1_to_f32(uint32_t code)
{
    uint32_t magnitude = code & 7;
    bool subnormal = magnitude < 2;
    float value = gmm_f32_from_bits((magnitude << 22) + ((126u + subnormal) << 23)) - (subnormal ? 1.0f : 0.0f);

    return gmm_f32_from_bits((code & 8) << 28 | gmm_f32_bits(value));
}

/* ---- E4M3: s eeee mmm, no infinities ---------------------------------------------------------------------------- */

#define GMM_E4M3_NAN 0x7f /* with either sign */

/* Masks, not conditions: compilers make vector loops of it. */
static inline float gmm_e4m3_to_f32(uint32_t code)
{
    uint32_t magnitude = code & 0x7f;
    uint32_t subnormal = magnitude < 8 ? UINT32_MAX : 0, nan = magnitude == GMM_E4M3_NAN ? 0x7fc00000 : 0;
    float leading_1 = gmm_f32_from_bits(0x3c800000 & subnormal); /* 2^-6 or 0 */
    float value = gmm_f32_from_bits((magnitude << 20) + 0x3c000000 + (0x00800000 & subnormal)) - leading_1;

    return gmm_f32_from_bits((code & 0x80) << 24 | nan | gmm_f32_bits(value));
}

/* 448 and more, infinities and NaN give 0x7E with the sign: as MLX has it, no code 0x7F comes out. */
static inline uint8_t gmm_e4m3_from_f32(float value)
{
    uint32_t bits = gmm_f32_bits(value), magnitude = bits & 0x7fffffff;
    uint32_t result;

    if (magnitude >= 0x43e00000) /* 448 */
        result = 0x7e;
    else if (magnitude >= 0x3c800000) /* 2^-6, the smallest normal value */
        result = (magnitude - 0x3c000000 + 0x7ffff + (magnitude >> 20 & 1)) >> 20;
    else /* 2^-9 is the last bit of f32 2^14: the addition rounds to E4M3's subnormals, and to even */
        result = gmm_f32_bits(gmm_f32_from_bits(magnitude) + 0x1p14f) - 0x46800000;
    return (uint8_t)((bits >> 24 & 0x80) | result);
}

/* ---- E8M0: 2^(code - 127), 255 is +Inf -------------------------------------------------------------------------- */

#define GMM_E8M0_NOT_FINITE 255

static inline float gmm_e8m0_to_f32(uint32_t code)
{
    /* Code 0 is 2^-127, half the smallest normal number; code 255 is the bit pattern of +Inf as it stands. */
    return gmm_f32_from_bits(code == 0 ? 0x00400000 : code << 23);
}

#endif
