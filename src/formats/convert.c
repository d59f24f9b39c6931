/* convert.c - see convert.h. */
/* SPDX-License-Identifier: MIT */
#include "formats/convert.h"

#include <string.h>

#include "base/array.h"
#include "formats/numbers.h"

/* Elements lie at any address: files align tensors to no more than a byte. The runs with stride 1 are written out so
 * that compilers make vector loops of them. */

static void load_f32(const char *data, int64_t stride, int64_t count, float *out)
{
    if (stride == 1) {
        memcpy(out, data, (size_t)count * 4);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        memcpy(&out[i], data + i * stride * 4, 4);
}

static inline uint16_t load_16(const char *data)
{
    uint16_t bits;
    memcpy(&bits, data, 2);
    return bits;
}

static void load_f16(const char *data, int64_t stride, int64_t count, float *out)
{
    if (stride == 1)
        for (int64_t i = 0; i < count; i++)
            out[i] = gmm_f16_to_f32(load_16(data + i * 2));
    else
        for (int64_t i = 0; i < count; i++)
            out[i] = gmm_f16_to_f32(load_16(data + i * stride * 2));
}

static void load_bf16(const char *data, int64_t stride, int64_t count, float *out)
{
    if (stride == 1)
        for (int64_t i = 0; i < count; i++)
            out[i] = gmm_bf16_to_f32(load_16(data + i * 2));
    else
        for (int64_t i = 0; i < count; i++)
            out[i] = gmm_bf16_to_f32(load_16(data + i * stride * 2));
}

/* An f32 that rounds to `cast` as the integer itself does. For f32 the conversion is that rounding; for the narrower
 * types the bits beyond f32's 24 are first squeezed into the last one, so that there is no second rounding to go wrong.
 */
static float integer_to_f32(uint64_t magnitude, bool negative, gmm_dtype cast)
{
    float value;

    if (cast != GMM_F32) {
        uint64_t lost = 0;
        int shift = 0;
        while (magnitude >> shift >= 1u << 24)
            shift++;
        lost = magnitude & ((UINT64_C(1) << shift) - 1);
        magnitude = (magnitude >> shift | (lost != 0)) << shift;
    }
    value = (float)magnitude;
    return negative ? -value : value;
}

static float load_integer(gmm_dtype dtype, gmm_dtype cast, const char *data)
{
    uint64_t bits = 0;
    int size_bits = gmm_dtype_bits(dtype);
    bool negative;

    switch (size_bits) {
    case 8:
        bits = (uint8_t)*data;
        break;
    case 16:
        bits = load_16(data);
        break;
    case 32: {
        uint32_t word;
        memcpy(&word, data, 4);
        bits = word;
        break;
    }
    default:
        memcpy(&bits, data, 8);
    }
    if (dtype == GMM_BOOL)
        return bits ? 1.0f : 0.0f;
    negative =
        (dtype == GMM_I8 || dtype == GMM_I16 || dtype == GMM_I32 || dtype == GMM_I64) && bits >> (size_bits - 1) != 0;
    if (negative) /* extend the sign, then negate, both modulo 2^64 */
        bits = -(size_bits < 64 ? bits | UINT64_MAX << size_bits : bits);
    return integer_to_f32(bits, negative, cast);
}

static void round_run(gmm_dtype cast, float *values, int64_t count)
{
    if (cast == GMM_F16)
        for (int64_t i = 0; i < count; i++)
            values[i] = gmm_f16_to_f32(gmm_f16_from_f32(values[i]));
    else if (cast == GMM_BF16)
        for (int64_t i = 0; i < count; i++)
            values[i] = gmm_bf16_to_f32(gmm_bf16_from_f32(values[i]));
}

void gmm_load_run(gmm_dtype dtype, gmm_dtype cast, const void *data, int64_t stride, int64_t count, float *out)
{
    int64_t element_bytes = gmm_dtype_bits(dtype) / 8;

    switch (dtype) {
    case GMM_F32:
        load_f32(data, stride, count, out);
        break;
    case GMM_F16:
        load_f16(data, stride, count, out);
        break;
    case GMM_BF16:
        load_bf16(data, stride, count, out);
        break;
    default:
        for (int64_t i = 0; i < count; i++)
            out[i] = load_integer(dtype, cast, (const char *)data + i * stride * element_bytes);
    }
    if (cast != dtype)
        round_run(cast, out, count);
}

/* One quiet NaN stands for all: which operand's NaN an instruction hands on depends on how a compiler orders operands,
 * and two ways to one sum must give the same bits. */
static inline float one_nan(float value)
{
    return value == value ? value : gmm_f32_from_bits(0x7fc00000);
}

static inline void store_f32(float value, char *data)
{
    value = one_nan(value);
    memcpy(data, &value, 4);
}

static inline void store_f16(float value, char *data)
{
    uint16_t bits = gmm_f16_from_f32(one_nan(value));
    memcpy(data, &bits, 2);
}

static inline void store_bf16(float value, char *data)
{
    uint16_t bits = gmm_bf16_from_f32(one_nan(value));
    memcpy(data, &bits, 2);
}

void gmm_store_run(gmm_dtype dtype, const float *in, int64_t count, void *data, int64_t stride)
{
    char *to = data;

    if (dtype == GMM_F32 && stride == 1)
        for (int64_t i = 0; i < count; i++)
            store_f32(in[i], to + i * 4);
    else if (dtype == GMM_F32)
        for (int64_t i = 0; i < count; i++)
            store_f32(in[i], to + i * stride * 4);
    else if (dtype == GMM_F16)
        for (int64_t i = 0; i < count; i++)
            store_f16(in[i], to + i * stride * 2);
    else if (stride == 1)
        for (int64_t i = 0; i < count; i++)
            store_bf16(in[i], to + i * 2);
    else
        for (int64_t i = 0; i < count; i++)
            store_bf16(in[i], to + i * stride * 2);
}

gmm_dtype gmm_promote(gmm_dtype a, gmm_dtype b)
{
    bool a_whole = gmm_is_integer(a) || a == GMM_BOOL, b_whole = gmm_is_integer(b) || b == GMM_BOOL;

    if (gmm_is_float(a) && (a == b || b_whole))
        return a;
    if (gmm_is_float(b) && a_whole)
        return b;
    return gmm_is_float(a) && gmm_is_float(b) ? GMM_F32 : 0;
}
