/* oracle_numbers.c - see oracle_numbers.h. */
/* SPDX-License-Identifier: MIT */
#include "oracle_numbers.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* A binary floating-point type with a sign bit, as IEEE 754 lays it out. */
typedef struct float_type {
    int exponent_bits, fraction_bits;
} float_type;

static float_type type_of(gmm_dtype dtype)
{
    if (dtype == GMM_F16)
        return (float_type){5, 10};
    return (float_type){8, dtype == GMM_BF16 ? 7 : 23};
}

static int bias_of(float_type type)
{
    return (1 << (type.exponent_bits - 1)) - 1;
}

/* Exponent of the smallest positive number. */
static int lowest_exponent(float_type type)
{
    return 1 - bias_of(type) - type.fraction_bits;
}

double gmm_oracle_power(int exponent)
{
    uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double power;

    memcpy(&power, &bits, sizeof power);
    return power;
}

static double decode_float(float_type type, uint64_t bits)
{
    int exponent = (int)(bits >> type.fraction_bits & ((1u << type.exponent_bits) - 1));
    uint64_t fraction = bits & ((1u << type.fraction_bits) - 1);
    double magnitude;

    if (exponent == (1 << type.exponent_bits) - 1)
        magnitude = fraction ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        magnitude = (double)fraction * gmm_oracle_power(lowest_exponent(type));
    else
        magnitude =
            (double)(fraction | 1u << type.fraction_bits) * gmm_oracle_power(lowest_exponent(type) + exponent - 1);
    return bits >> (type.exponent_bits + type.fraction_bits) & 1 ? -magnitude : magnitude;
}

/* The top 53 bits with the rest or'ed into the lowest: no rounding to 24 bits or fewer can tell the difference. */
static double decode_unsigned(uint64_t value)
{
    if (value >> 53 == 0)
        return (double)value;
    return (double)(value >> 11 | ((value & 0x7FF) != 0)) * 2048;
}

static double decode_signed(int64_t value)
{
    return value < 0 ? -decode_unsigned(0 - (uint64_t)value) : decode_unsigned((uint64_t)value);
}

double gmm_oracle_decode(gmm_dtype dtype, uint64_t bits)
{
    switch (dtype) {
    case GMM_F16:
    case GMM_BF16:
    case GMM_F32:
        return decode_float(type_of(dtype), bits);
    case GMM_I8:
        return (double)(int8_t)bits;
    case GMM_I16:
        return (double)(int16_t)bits;
    case GMM_I32:
        return (double)(int32_t)bits;
    case GMM_I64:
        return decode_signed((int64_t)bits);
    default:
        return decode_unsigned(bits);
    }
}

double gmm_oracle_round(gmm_dtype dtype, double x)
{
    float_type type = type_of(dtype);
    int exponent;
    double step, rounded;

    if (isnan(x) || isinf(x) || x == 0)
        return x;
    frexp(x, &exponent);
    exponent -= type.fraction_bits + 1;
    if (exponent < lowest_exponent(type))
        exponent = lowest_exponent(type);
    if (exponent > 900)
        return copysign((double)INFINITY, x);
    step = gmm_oracle_power(exponent);
    rounded = nearbyint(x / step) * step;
    return fabs(rounded) >= gmm_oracle_power(bias_of(type) + 1) ? copysign((double)INFINITY, x) : rounded;
}

static uint64_t encode_float(float_type type, double x)
{
    uint64_t sign = (uint64_t)(signbit(x) != 0) << (type.exponent_bits + type.fraction_bits);
    uint64_t infinity = (uint64_t)((1 << type.exponent_bits) - 1) << type.fraction_bits;
    int exponent;

    if (isnan(x))
        return infinity | (uint64_t)1 << (type.fraction_bits - 1);
    if (isinf(x))
        return sign | infinity;
    frexp(x, &exponent);
    exponent += bias_of(type) - 1;
    if (x == 0 || exponent <= 0)
        return sign | (uint64_t)(fabs(x) / gmm_oracle_power(lowest_exponent(type)));
    return sign | ((uint64_t)(fabs(x) / gmm_oracle_power(lowest_exponent(type) + exponent - 1)) +
                   ((uint64_t)(exponent - 1) << type.fraction_bits));
}

uint64_t gmm_oracle_encode(gmm_dtype dtype, double x)
{
    if (dtype == GMM_F16 || dtype == GMM_BF16 || dtype == GMM_F32)
        return encode_float(type_of(dtype), x);
    return x < 0 ? (uint64_t)(int64_t)x : (uint64_t)x;
}

double gmm_oracle_e2m1(unsigned code)
{
    unsigned exponent = code >> 1 & 3, fraction = code & 1;
    double magnitude = exponent == 0 ? fraction * 0.5 : (1 + fraction * 0.5) * gmm_oracle_power((int)exponent - 1);

    return code & 8 ? -magnitude : magnitude;
}

double gmm_oracle_e4m3(unsigned code)
{
    unsigned exponent = code >> 3 & 15, fraction = code & 7;
    double magnitude = (1 + fraction / 8.0) * gmm_oracle_power((int)exponent - 7);

    if (exponent == 0)
        magnitude = fraction * gmm_oracle_power(-9);
    if (exponent == 15 && fraction == 7)
        magnitude = (double)NAN;
    return code & 0x80 ? -magnitude : magnitude;
}

double gmm_oracle_e8m0(unsigned code)
{
    return code == 255 ? (double)INFINITY : gmm_oracle_power((int)code - 127);
}

static bool is_float(gmm_dtype dtype)
{
    return dtype == GMM_F32 || dtype == GMM_F16 || dtype == GMM_BF16;
}

gmm_dtype gmm_oracle_promote(gmm_dtype a, gmm_dtype b)
{
    bool a_counts = a >= GMM_BOOL && a <= GMM_I64, b_counts = b >= GMM_BOOL && b <= GMM_I64;

    if (is_float(a) && is_float(b))
        return a == b ? a : GMM_F32;
    if (is_float(a) && b_counts)
        return a;
    return is_float(b) && a_counts ? b : 0;
}
