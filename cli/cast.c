/* cast.c - see cast.h. The library converts inside its calls and has no public call for it. */
/* SPDX-License-Identifier: MIT */
#include "cast.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

bool is_floating(gmm_dtype dtype)
{
    return dtype == GMM_F32 || dtype == GMM_F16 || dtype == GMM_BF16;
}

static float from_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t to_bits(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 0x3FF;

    if (exponent == 31)
        return from_bits(sign | 0x7F800000u | fraction << 13);
    if (exponent == 0) /* 2^-24 is the weight of a subnormal's last bit */
        return from_bits(sign | to_bits((float)fraction * 0x1p-24f));
    return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static uint16_t to_f16(float value)
{
    uint32_t bits = to_bits(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;

    if (magnitude > 0x7F800000u) /* NaN: keep the upper payload bits, quiet */
        return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x3FF));
    if (magnitude >= 0x477FF000u) /* 65520, the middle between the largest f16 and the next power */
        return (uint16_t)(sign | 0x7C00);
    if (magnitude < 0x38800000u) /* below 2^-14: adding 0.5 rounds at the last bit of a subnormal, 2^-24 */
        return (uint16_t)(sign | (to_bits(from_bits(magnitude) + 0.5f) - to_bits(0.5f)));
    return (uint16_t)(sign | ((magnitude - (112u << 23) + 0xFFF + (magnitude >> 13 & 1)) >> 13));
}

static uint16_t to_bf16(float value)
{
    uint32_t bits = to_bits(value);

    if ((bits & 0x7FFFFFFF) > 0x7F800000u)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static float load(const char *from, gmm_dtype dtype)
{
    uint16_t half;
    float value;

    if (dtype == GMM_F32) {
        memcpy(&value, from, sizeof value);
        return value;
    }
    memcpy(&half, from, sizeof half);
    return dtype == GMM_F16 ? from_f16(half) : from_bits((uint32_t)half << 16);
}

size_t cast_elements(const void *from, gmm_dtype from_dtype, void *to, gmm_dtype to_dtype, size_t count)
{
    size_t from_bytes = (size_t)gmm_dtype_bits(from_dtype) / 8, to_bytes = (size_t)gmm_dtype_bits(to_dtype) / 8;
    size_t overflows = 0;

    for (size_t i = 0; i < count; i++) {
        float value = load((const char *)from + i * from_bytes, from_dtype);
        if (to_dtype == GMM_F32) {
            memcpy((char *)to + i * to_bytes, &value, sizeof value);
            continue;
        }
        uint16_t half = to_dtype == GMM_F16 ? to_f16(value) : to_bf16(value);
        overflows += isfinite(value) && (half & 0x7FFF) == (to_dtype == GMM_F16 ? 0x7C00 : 0x7F80);
        memcpy((char *)to + i * to_bytes, &half, sizeof half);
    }
    return overflows;
}
