/* mx.c - see mx.h; docs/formats.md has the rules as formulas. */
/* SPDX-License-Identifier: MIT */
#include "formats/mx.h"

#include <math.h>
#include <string.h>

#include "formats/numbers.h"

float gmm_group_magnitude(const float *values, int32_t count)
{
    uint32_t largest = 0;

    /* Without its sign, a number's bits order as the number does, and a NaN's are above all. */
    for (int32_t i = 0; i < count; i++) {
        uint32_t bits = gmm_f32_bits(values[i]) & 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    return gmm_f32_from_bits(largest);
}

static float round_to(gmm_dtype dtype, float value)
{
    if (dtype == GMM_F16)
        return gmm_f16_to_f32(gmm_f16_from_f32(value));
    if (dtype == GMM_BF16)
        return gmm_bf16_to_f32(gmm_bf16_from_f32(value));
    return value;
}

float gmm_step(const gmm_quantizer *quantizer, float quotient)
{
    return quantizer->tie_rule == GMM_TIES_EVEN ? quotient : round_to(quantizer->dtype, quotient);
}

/* The smallest e with 2^e >= ratio. */
static int exponent_up(float ratio)
{
    int e;
    float fraction = frexpf(ratio, &e); /* in [0.5, 1) */

    return fraction == 0.5f ? e - 1 : e;
}

/* log2(ratio), rounded to f32, then as the tie rule has it, then to an integer. Any libm gives the same integer for f32
 * and f16: no ratio has a logarithm within 2e-9 of a point where one of these roundings turns, but for powers of two,
 * whose logarithm is exact. (MLX takes log2f, whose last bit is the library's affair; with glibc 2.36 on x86 all
 * exponents agree, those of every bf16 magnitude included.) */
static int exponent_nearest(const gmm_quantizer *quantizer, float ratio)
{
    float logarithm = gmm_step(quantizer, (float)log2((double)ratio));

    return (int)(quantizer->tie_rule == GMM_TIES_EVEN ? roundf(logarithm) : rintf(logarithm));
}

/* The E8M0 code of a group whose largest magnitude is `magnitude`; 255 when that is infinite or NaN. */
static uint8_t shared_exponent(const gmm_quantizer *quantizer, float magnitude, float element_max)
{
    float ratio = gmm_step(quantizer, magnitude / element_max);
    int e;

    if (!isfinite(ratio))
        return GMM_E8M0_NOT_FINITE;
    if (ratio == 0.0f)
        return quantizer->tie_rule == GMM_TIES_EVEN ? 0 : GMM_E8M0_BIAS;
    e = quantizer->exponent_rule == GMM_EXPONENT_NEAREST ? exponent_nearest(quantizer, ratio) : exponent_up(ratio);
    /* ratio is below 2^127, so only the lower end needs the clamp. */
    return (uint8_t)(e < -GMM_E8M0_BIAS ? 0 : e + GMM_E8M0_BIAS);
}

bool gmm_scale_group(const gmm_quantizer *quantizer, const float *values, float element_max, gmm_group *group,
                     float *inverse)
{
    uint8_t code = shared_exponent(quantizer, gmm_group_magnitude(values, 32), element_max);

    group->scale = code;
    memset(group->codes, 0, 32);
    if (code == GMM_E8M0_NOT_FINITE) /* decodes to 0 * Inf: NaN */
        return false;
    *inverse = gmm_e8m0_to_f32(254u - code);
    return true;
}

uint8_t gmm_e2m1_from_f32(const gmm_quantizer *quantizer, float value)
{
    float a = fabsf(value);
    int code, sign = signbit(value) ? 8 : 0;

    if (quantizer->tie_rule == GMM_TIES_EVEN) {
        if (isnan(value))
            return 7;
        code = (a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) + (a >= 3.5f) + (a > 5.0f);
        return (uint8_t)(code | sign);
    }
    code = (a > 0.25f) + (a > 0.75f) + (a > 1.25f) + (a > 1.75f) + (a > 2.5f) + (a > 3.5f) + (a > 5.0f);
    return (uint8_t)(code ? code | sign : 0);
}
