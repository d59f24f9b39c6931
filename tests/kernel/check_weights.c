/* check_weights.c - every kind of weights that kernels read, and random ones: tame, and with all that is special. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/numbers.h"
#include "kernel_check.h"

enum {
    MANY = 18 /* affine: all bits and groups, with one type of scales and biases */
};

static const gmm_dtype types[] = {GMM_F32, GMM_F16, GMM_BF16};

static int list_length(const int32_t *list)
{
    int length = 0;

    while (list[length])
        length++;
    return length;
}

static const gmm_format *format_of(const gmm_kernel *kernel)
{
    for (size_t f = 0; gmm_formats[f]; f++)
        if (!strcmp(gmm_formats[f]->name, kernel->reads))
            return gmm_formats[f];
    check_fail("reads %s, which is no format", kernel->reads);
    return NULL;
}

bool check_weights_at(const gmm_kernel *kernel, int i, gmm_weights *weights)
{
    const gmm_format *format = format_of(kernel);

    *weights = (gmm_weights){.format = format, .global = 1, .code_stride = 1, .scale_stride = 1, .bias_stride = 1};
    if (!format->quantized) {
        weights->dtype = format->dtype;
        weights->cast = i ? format->dtype : GMM_F32;
        return i < (format->dtype == GMM_F32 ? 1 : 2);
    }
    int bits = list_length(format->bits), sizes = list_length(format->group_sizes);
    weights->bits = format->bits[i % bits];
    i /= bits;
    weights->group_size = format->group_sizes[i % sizes];
    i /= sizes;
    weights->scales_dtype = GMM_U8;
    if (format->has_biases) {
        weights->scales_dtype = types[i % 3];
        i /= 3;
        weights->biases_dtype = types[i % 3];
        i /= 3;
    }
    if (format->has_global_scale) {
        weights->global = i % 2 ? 0.37f : 1.0f;
        i /= 2;
    }
    return i == 0;
}

bool check_weights_wanted(gmm_random *random, int i)
{
    return gmm_test_wanted(random) && (i < MANY || gmm_random_chance(random, 25));
}

const char *check_weights_text(const gmm_weights *weights, char *text, size_t text_size)
{
    const gmm_format *format = weights->format;
    int used = snprintf(text, text_size, "%s", format->name);

    if (format->has_biases)
        snprintf(text + used, text_size - (size_t)used, ", %d bits, groups of %d, scales %s, biases %s",
                 (int)weights->bits, (int)weights->group_size, gmm_dtype_name(weights->scales_dtype),
                 gmm_dtype_name(weights->biases_dtype));
    else if (weights->global != 1.0f)
        snprintf(text + used, text_size - (size_t)used, ", global scale");
    return text;
}

int64_t check_weights_step(const gmm_weights *weights)
{
    return weights->format->quantized ? weights->group_size : 1;
}

int64_t check_code_bytes(const gmm_weights *weights, int64_t k)
{
    return k * (weights->format->quantized ? weights->bits : gmm_dtype_bits(weights->dtype)) / 8;
}

int64_t check_scale_bytes(const gmm_weights *weights, int64_t k)
{
    return weights->format->quantized ? k / weights->group_size * gmm_dtype_bits(weights->scales_dtype) / 8 : 0;
}

int64_t check_bias_bytes(const gmm_weights *weights, int64_t k)
{
    return weights->format->has_biases ? k / weights->group_size * gmm_dtype_bits(weights->biases_dtype) / 8 : 0;
}

static float random_float(gmm_random *random, check_values values)
{
    static const float special[] = {0.0f,        -0.0f,       INFINITY,    -INFINITY,       NAN,
                                    0x1p-149f,   -0x1p-130f,  0x1p-126f,   0x1.fffffep127f, -0x1.fffffep127f,
                                    0x1.8p-140f, 0x1.234p64f, -0x1.8p-64f, 0x1.fffffcp-127f};
    enum {
        SPECIALS = sizeof special / sizeof special[0]
    };

    if (values == CHECK_WILD && gmm_random_chance(random, 2))
        return special[gmm_random_between(random, 0, SPECIALS - 1)];
    return (float)gmm_random_unit(random);
}

void check_floats_fill(gmm_random *random, check_values values, int64_t count, float *to)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = values == CHECK_TINY ? -0x1p-149f : random_float(random, values);
}

const char *check_values_text(check_values values)
{
    return values == CHECK_TAME ? "tame" : values == CHECK_WILD ? "wild" : "tiny";
}

/* Float number i of a run of f32, f16 or bf16. Wild halves are any bits now and then: f16's own subnormals and NaN. */
static void put_float(gmm_random *random, check_values values, gmm_dtype dtype, void *run, int64_t i)
{
    float value = values == CHECK_TINY ? 0.25f : random_float(random, values);
    uint16_t half = dtype == GMM_F16 ? gmm_f16_from_f32(value) : gmm_bf16_from_f32(value);

    if (values == CHECK_WILD && gmm_random_chance(random, 2))
        half = (uint16_t)gmm_random_bits(random);
    if (dtype == GMM_F32)
        memcpy((char *)run + i * 4, &value, 4);
    else
        memcpy((char *)run + i * 2, &half, 2);
}

static bool is_e4m3_nan(uint8_t code)
{
    return (code & 0x7f) == GMM_E4M3_NAN;
}

/* A scale of a single byte: 2^-8 to 2^8, or for nvfp4 a number of E4M3; wild ones may be anything. */
static uint8_t random_scale(gmm_random *random, check_values values, bool e4m3)
{
    uint8_t any = (uint8_t)gmm_random_bits(random);

    if (values == CHECK_WILD && gmm_random_chance(random, 5))
        return gmm_random_chance(random, 50) ? any : gmm_random_chance(random, 50) ? 255 : 0;
    if (e4m3)
        return is_e4m3_nan(any) ? 0x38 : any;
    return (uint8_t)gmm_random_between(random, GMM_E8M0_BIAS - 8, GMM_E8M0_BIAS + 8);
}

void check_weights_fill(gmm_random *random, const gmm_weights *weights, check_values values, int64_t k, gmm_row row)
{
    const gmm_format *format = weights->format;
    uint8_t *codes = (uint8_t *)(uintptr_t)row.codes, *scales = (uint8_t *)(uintptr_t)row.scales;
    uint8_t *biases = (uint8_t *)(uintptr_t)row.biases;

    if (!format->quantized) {
        for (int64_t i = 0; i < k; i++)
            put_float(random, values, weights->dtype, codes, i);
        return;
    }
    const bool e4m3 = weights->bits == 8 && !format->has_biases;
    const bool normal = e4m3 && gmm_random_chance(random, 50); /* a decoder may have a shorter way for such a row */
    for (int64_t i = 0; i < check_code_bytes(weights, k); i++) {
        codes[i] = (uint8_t)gmm_random_bits(random);
        if (normal && !(codes[i] & 0x78))
            codes[i] |= 0x08;
        if (e4m3 && is_e4m3_nan(codes[i]) && !(values == CHECK_WILD && !normal && gmm_random_chance(random, 10)))
            codes[i]--;
    }
    for (int64_t g = 0; g < k / weights->group_size; g++)
        if (format->has_biases) {
            put_float(random, values, weights->scales_dtype, scales, g);
            put_float(random, values, weights->biases_dtype, biases, g);
        } else {
            scales[g] = random_scale(random, values, format->has_global_scale);
        }
}
