/* test_formats.c - every weight format: golden vectors, quantizing by its rules, decoding at every place and stride. */
/* SPDX-License-Identifier: MIT */
#include "formats/format.h"

#include <math.h>
#include <string.h>

#include "cmocka_test.h"
#include "gathermm/gathermm.h"
#include "oracle_numbers.h"
#include "random.h"

static gmm_random seeded;

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- golden vectors --------------------------------------------------------------------------------------------- */

/* One row of at most 32 elements, quantized. */
typedef struct golden {
    const char *mode;
    int32_t group_size, bits;
    gmm_exponent_rule exponent_rule;
    gmm_tie_rule tie_rule;
    float global_scale; /* 0: none */
    const float *values;
    double scales[2], biases[1];
    uint8_t bytes[32];
} golden;

static const float ramp[32] = {-1,    -.875f, -.75f, -.625f, -.5f,  -.375f, -.25f,  -.125f, 0,      .125f, .25f,
                               .375f, .5f,    .625f, .75f,   .875f, 1,      1.125f, 1.25f,  1.375f, 1.5f,  1.625f,
                               1.75f, 1.875f, 2,     2.125f, 2.25f, 2.375f, 2.5f,   2.625f, 2.75f,  2.875f};
static const float skew[32] = {-3,  1,   .5f, -.2f, 0,   2.9f, .1f, .1f, .1f, .1f, .1f, .1f, .1f, .1f, .1f, .1f,
                               .1f, .1f, .1f, .1f,  .1f, .1f,  .1f, .1f, .1f, .1f, .1f, .1f, .1f, .1f, .1f, .1f};
static const float negative[32] = {-5, -4, -3, -2, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                   -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
static const float nothing[32] = {1e-8f, -1e-8f};
static const float halves[32] = {0, .5f,  1, 1.5f, 2,  2.5f,  3,  3.5f,  4,  4.5f,  5,  5.5f,  6,  6.5f,  7,  7.5f,
                                 8, 8.5f, 9, 9.5f, 10, 10.5f, 11, 11.5f, 12, 12.5f, 13, 13.5f, 14, 14.5f, 15, 15};
static const float mixed[32] = {10,  -3.3f, .4f, 1.1f, -.6f, 2.2f, 5.1f, -7.9f, .3f, .3f, .3f, .3f, .3f, .3f, .3f, .3f,
                                .3f, .3f,   .3f, .3f,  .3f,  .3f,  .3f,  .3f,   .3f, .3f, .3f, .3f, .3f, .3f, .3f, .3f};
static const float two_groups[32] = {10,    -3.3f, .4f,   1.1f,  -.6f,  2.2f,  5.1f,  -7.9f, .3f,   .3f,   .3f,
                                     .3f,   .3f,   .3f,   .3f,   .3f,   .01f,  -.02f, .03f,  .004f, .004f, .004f,
                                     .004f, .004f, .004f, .004f, .004f, .004f, .004f, .004f, .004f, .004f};
static const float ties[32] = {6,      .25f,   .75f,  1.25f, 1.75f, 2.5f, 3.5f, 5, -.25f, -.75f,
                               -1.25f, -1.75f, -2.5f, -3.5f, -5,    -.1f, -0.f, 7, -7,    .26f};
/* The same within the range, so that rounding the exponent up leaves the scale at 1. */
static const float ties_in_range[32] = {6,     .25f,   .75f,   1.25f, 1.75f, 2.5f, 3.5f, 5,    -.25f,
                                        -.75f, -1.25f, -1.75f, -2.5f, -3.5f, -5,   -.1f, -0.f, .26f};
static const float below_border[32] = {8.4f}, above_border[32] = {8.6f}, six[32] = {6}, above_six[32] = {6.01f};
static const float zeros[32] = {0};
static const float smallest[32] = {1e-42f, -1e-42f};

static const golden goldens[] = {
    {"affine",
     32,
     4,
     0,
     0,
     0,
     ramp,
     {-0.261363626f},
     {2.875f},
     {239, 222, 205, 188, 187, 170, 153, 136, 119, 102, 85, 68, 51, 34, 17, 0}},
    {"affine", 32, 3, 0, 0, 0, ramp, {-0.574999988f}, {2.875f}, {191, 109, 183, 109, 73, 114, 219, 38, 73, 74, 18, 0}},
    {"affine", 32, 2, 0, 0, 0, skew, {1.5}, {-3}, {172, 174, 170, 170, 170, 170, 170, 170}},
    {"affine",
     32,
     4,
     0,
     0,
     0,
     negative,
     {0.263157904f},
     {-5},
     {64, 184, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}},
    {"affine", 32, 4, 0, 0, 0, nothing, {-1.00000001e-07f}, {0}, {0}},
    {"affine",
     32,
     4,
     0,
     0,
     0,
     halves,
     {-1},
     {15},
     {0xef, 0xee, 0xcd, 0xcc, 0xab, 0xaa, 0x89, 0x88, 0x67, 0x66, 0x45, 0x44, 0x23, 0x22, 0x01, 0x00}},

    {"mxfp4", 32, 4, 0, 0, 0, mixed, {128}, {0}, {182, 16, 41, 229}},
    {"mxfp8", 32, 8, 0, 0, 0, mixed, {122}, {0}, {122, 237, 85, 97, 218, 105, 114, 248, 82, 82, 82,
                                                  82,  82,  82, 82, 82,  82,  82,  82,  82, 82, 82,
                                                  82,  82,  82, 82, 82,  82,  82,  82,  82, 82}},
    {"nvfp4",
     16,
     4,
     0,
     0,
     0,
     two_groups,
     {61, 3},
     {0},
     {199, 16, 57, 229, 0, 0, 0, 0, 211, 23, 17, 17, 17, 17, 17, 17}},
    {"nvfp4",
     16,
     4,
     0,
     0,
     10,
     two_groups,
     {126, 59},
     {0},
     {199, 16, 57, 229, 0, 0, 0, 0, 228, 39, 34, 34, 34, 34, 34, 34}},
    {"mxfp4", 32, 4, GMM_EXPONENT_NEAREST, 0, 0, ties, {127}, {0}, {7, 33, 67, 101, 144, 186, 220, 14, 112, 31}},
    {"mxfp4", 32, 4, GMM_EXPONENT_UP, 0, 0, ties, {128}, {0}, {5, 17, 34, 67, 144, 169, 186, 12, 80, 13}},
    {"mxfp4", 32, 4, GMM_EXPONENT_UP, 0, 0, ties_in_range, {127}, {0}, {7, 33, 67, 101, 144, 186, 220, 14, 16}},
    {"mxfp4",
     32,
     4,
     GMM_EXPONENT_UP,
     GMM_TIES_EVEN,
     0,
     ties_in_range,
     {127},
     {0},
     {7, 0x22, 0x44, 0x66, 0xa8, 0xca, 0xec, 0x8e, 0x18}},
    {"mxfp4",
     32,
     4,
     GMM_EXPONENT_NEAREST,
     GMM_TIES_EVEN,
     0,
     ties,
     {127},
     {0},
     {7, 0x22, 0x44, 0x66, 0xa8, 0xca, 0xec, 0x8e, 0x78, 0x1f}},

    {"mxfp4", 32, 4, GMM_EXPONENT_NEAREST, 0, 0, below_border, {127}, {0}, {7}},
    {"mxfp4", 32, 4, GMM_EXPONENT_NEAREST, 0, 0, above_border, {128}, {0}, {6}},
    {"mxfp4", 32, 4, GMM_EXPONENT_UP, 0, 0, below_border, {128}, {0}, {6}},
    {"mxfp4", 32, 4, 0, 0, 0, six, {127}, {0}, {7}},
    {"mxfp4", 32, 4, 0, 0, 0, above_six, {128}, {0}, {5}},
    {"mxfp4", 32, 4, 0, 0, 0, zeros, {127}, {0}, {0}},
    {"mxfp8", 32, 8, 0, 0, 0, zeros, {127}, {0}, {0}},
    {"nvfp4", 16, 4, 0, 0, 0, zeros, {0, 0}, {0}, {0}},
    {"mxfp4", 32, 4, 0, GMM_TIES_EVEN, 0, zeros, {0}, {0}, {0}},
    {"mxfp8", 32, 8, GMM_EXPONENT_NEAREST, GMM_TIES_EVEN, 0, zeros, {0}, {0}, {0}},
    /* MLX wraps this exponent around to code 241. */
    {"mxfp4", 32, 4, GMM_EXPONENT_NEAREST, 0, 0, smallest, {0}, {0}, {0}},
};

static void check_golden(const golden *want)
{
    int32_t groups = 32 / want->group_size, words = want->bits;
    bool affine = strcmp(want->mode, "affine") == 0;
    uint32_t codes[8] = {0};
    uint8_t bytes[32] = {0}, scale_codes[2];
    float scale, bias, global_scale = want->global_scale, values[32];
    gmm_array global = {&global_scale, GMM_F32, 0, NULL, NULL, 0};
    memcpy(values, want->values, sizeof values);
    gmm_array w = {values, GMM_F32, 2, (int64_t[]){1, 32}, NULL, 0};
    gmm_array w_q = {codes, GMM_U32, 2, (int64_t[]){1, words}, NULL, 0};
    gmm_array scales = {
        affine ? (void *)&scale : scale_codes, affine ? GMM_F32 : GMM_U8, 2, (int64_t[]){1, groups}, NULL, 0};
    gmm_array biases = {&bias, GMM_F32, 2, (int64_t[]){1, 1}, NULL, 0};
    gmm_quantize_options options = {
        sizeof options,      want->mode,    want->group_size, want->bits, want->global_scale != 0 ? &global : NULL,
        want->exponent_rule, want->tie_rule};

    assert_int_equal(gmm_quantize(NULL, &w, &options, &w_q, &scales, affine ? &biases : NULL), GMM_OK);
    for (int i = 0; i < words * 4; i++)
        bytes[i] = (uint8_t)(codes[i / 4] >> i % 4 * 8);
    assert_memory_equal(bytes, want->bytes, sizeof bytes);
    if (affine)
        assert_true((double)scale == want->scales[0] && (double)bias == want->biases[0]);
    else
        for (int g = 0; g < groups; g++)
            assert_int_equal(scale_codes[g], want->scales[g]);
}

static void golden_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(goldens); i++) {
        print_message("golden vector %zu\n", i);
        check_golden(&goldens[i]);
    }
}

/* ---- decoding --------------------------------------------------------------------------------------------------- */

enum {
    ROW = 384,      /* elements */
    MAX_STRIDE = 3, /* of words and scales */
    MAX_WORDS = ROW / 4,
    MAX_GROUPS = ROW / 16
};

typedef struct row_memory {
    char words[1 + 4 * MAX_WORDS * MAX_STRIDE]; /* used from an odd address */
    char scales[1 + 4 * MAX_GROUPS * MAX_STRIDE];
    char biases[1 + 4 * MAX_GROUPS * MAX_STRIDE];
} row_memory;

static void fill_random(void *memory, size_t size_bytes)
{
    unsigned char *bytes = memory;

    for (size_t i = 0; i < size_bytes; i++)
        bytes[i] = (unsigned char)gmm_random_bits(&seeded);
}

static uint64_t element_bits(const char *data, int64_t at, int64_t stride, size_t bytes)
{
    uint64_t bits = 0;

    memcpy(&bits, data + at * stride * (int64_t)bytes, bytes);
    return bits;
}

/* Code i of a row, bit by bit, as the layout is defined. */
static unsigned code_of(const gmm_weights *weights, gmm_row row, int64_t i)
{
    unsigned code = 0;

    for (int b = 0; b < weights->bits; b++) {
        int64_t bit = i * weights->bits + b;
        uint64_t word = element_bits(row.codes, bit / 32, weights->code_stride, 4);
        code |= (unsigned)(word >> bit % 32 & 1) << b;
    }
    return code;
}

static float wanted(const gmm_weights *weights, gmm_row row, int64_t i)
{
    unsigned code = code_of(weights, row, i);
    int64_t group = i / weights->group_size;
    const char *name = weights->format->name;

    if (strcmp(name, "affine") == 0) {
        size_t bytes = (size_t)gmm_dtype_bits(weights->scales_dtype) / 8;
        double scale =
            gmm_oracle_decode(weights->scales_dtype, element_bits(row.scales, group, weights->scale_stride, bytes));
        double bias =
            gmm_oracle_decode(weights->biases_dtype, element_bits(row.biases, group, weights->bias_stride, bytes));
        return fmaf((float)scale, (float)code, (float)bias);
    }
    unsigned scale = (unsigned)element_bits(row.scales, group, weights->scale_stride, 1);
    if (strcmp(name, "mxfp4") == 0)
        return (float)(gmm_oracle_e2m1(code) * gmm_oracle_e8m0(scale));
    if (strcmp(name, "mxfp8") == 0)
        return (code & 0x7f) == 0x7f ? NAN : (float)(gmm_oracle_e4m3(code) * gmm_oracle_e8m0(scale));
    return (scale & 0x7f) == 0x7f ? NAN
                                  : (float)(gmm_oracle_e2m1(code) * gmm_oracle_e4m3(scale) * (double)weights->global);
}

static void check_decode(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count)
{
    float out[ROW + 1];

    out[count] = 12345.0f;
    weights->format->decode(weights, row, begin, count, out);
    assert_true(out[count] == 12345.0f);
    for (int64_t i = 0; i < count; i++) {
        float want = wanted(weights, row, begin + i);
        assert_true(isnan(want) ? isnan(out[i]) : memcmp(&out[i], &want, sizeof want) == 0);
    }
}

/* Every begin, every count that the format may be asked for. */
static void check_places(const gmm_weights *weights, gmm_row row, int64_t row_length)
{
    for (int64_t begin = 0; begin < row_length; begin += 32) {
        for (int64_t count = 32; begin + count < row_length; count += 32)
            check_decode(weights, row, begin, count);
        check_decode(weights, row, begin, row_length - begin);
    }
}

static void check_strides(gmm_weights *weights)
{
    static const int64_t strides[][3] = {{1, 1, 1},    {1, 0, 0},  {2, 3, 1}, {3, 1, 2},
                                         {-1, -1, -2}, {-2, 0, 1}, {0, 1, 0}};
    static row_memory memory;
    bool ragged = weights->group_size == 16;

    for (size_t s = 0; s < COUNT(strides); s++) {
        size_t scale_bytes = (size_t)gmm_dtype_bits(weights->scales_dtype) / 8;
        weights->code_stride = strides[s][0];
        weights->scale_stride = strides[s][1];
        weights->bias_stride = strides[s][2];
        fill_random(&memory, sizeof memory);
        int64_t words = ROW * weights->bits / 32, groups = ROW / weights->group_size;
        gmm_row row = {
            .codes = memory.words + 1 + (strides[s][0] < 0 ? (words - 1) * -strides[s][0] * 4 : 0),
            .scales =
                memory.scales + 1 + (strides[s][1] < 0 ? (groups - 1) * -strides[s][1] * (int64_t)scale_bytes : 0),
            .biases =
                memory.biases + 1 + (strides[s][2] < 0 ? (groups - 1) * -strides[s][2] * (int64_t)scale_bytes : 0),
        };
        check_places(weights, row, ROW);
        if (ragged)
            check_places(weights, row, ROW - 16);
    }
}

static void decode_everywhere(void **state)
{
    static const gmm_dtype types[] = {GMM_F32, GMM_F16, GMM_BF16};

    (void)state;
    for (size_t f = 0; gmm_formats[f]; f++) {
        const gmm_format *format = gmm_formats[f];
        for (int g = 0; format->quantized && format->group_sizes[g]; g++)
            for (int b = 0; format->bits[b]; b++)
                for (size_t t = 0; t < (format->has_biases ? COUNT(types) : 1); t++) {
                    gmm_weights weights = {.format = format,
                                           .scales_dtype = format->has_biases ? types[t] : GMM_U8,
                                           .biases_dtype = types[t],
                                           .group_size = format->group_sizes[g],
                                           .bits = format->bits[b],
                                           .global = format->has_global_scale ? 0.3f : 1.0f};
                    check_strides(&weights);
                }
    }
}

/* Scales and biases of every distance: the one rounding must not depend on how the sum is formed. */
static void affine_rounds_once(void **state)
{
    const gmm_format *format = gmm_format_find("affine");
    uint32_t words[8];
    float out[32];

    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint32_t bits[2] = {(uint32_t)gmm_random_bits(&seeded), (uint32_t)gmm_random_bits(&seeded)};
        float pair[2];
        if (gmm_random_chance(&seeded, 70)) /* near each other, with a sum that cancels */
            bits[1] = (bits[0] ^ 0x80000000) + (uint32_t)gmm_random_between(&seeded, -20, 28) * 0x00800000 +
                      (uint32_t)gmm_random_between(&seeded, -9, 9);
        memcpy(pair, bits, sizeof pair);
        fill_random(words, sizeof words);
        gmm_weights weights = {.format = format,
                               .scales_dtype = GMM_F32,
                               .biases_dtype = GMM_F32,
                               .group_size = 32,
                               .bits = i % 2 ? 8 : 4,
                               .code_stride = 1,
                               .scale_stride = 1,
                               .bias_stride = 1};
        gmm_row row = {words, &pair[0], &pair[1]};
        format->decode(&weights, row, 0, 32, out);
        for (int e = 0; e < 32; e++) {
            float want = fmaf(pair[0], (float)code_of(&weights, row, e), pair[1]);
            assert_true(isnan(want) ? isnan(out[e]) : memcmp(&out[e], &want, sizeof want) == 0);
        }
    }
}

/* A sum that double precision rounds to the middle between two f32 numbers: fma knows on which side of it the sum is.
 * 5237765 * 205 = 2^30 + 1. */
static void affine_rounds_once_near_a_tie(void **state)
{
    float scale = 5237765 * 0x1p-54f, bias = 1, out[32];
    uint32_t words[8];
    gmm_weights weights = {.format = gmm_format_find("affine"),
                           .scales_dtype = GMM_F32,
                           .biases_dtype = GMM_F32,
                           .group_size = 32,
                           .bits = 8,
                           .code_stride = 1,
                           .scale_stride = 1,
                           .bias_stride = 1};

    (void)state;
    memset(words, 205, sizeof words);
    weights.format->decode(&weights, (gmm_row){words, &scale, &bias}, 0, 32, out);
    for (int e = 0; e < 32; e++)
        assert_true(out[e] == 1 + 0x1p-23f);
}

static void dense_decodes_in_place(void **state)
{
    static const gmm_dtype types[] = {GMM_F32, GMM_F16, GMM_BF16};
    char memory[1 + 4 * 64 * 3];
    float out[64];

    (void)state;
    for (size_t t = 0; t < COUNT(types); t++)
        for (int64_t stride = 0; stride <= 3; stride++) {
            const gmm_format *format = gmm_format_dense(types[t]);
            size_t bytes = (size_t)gmm_dtype_bits(types[t]) / 8;
            gmm_weights weights = {.format = format, .dtype = types[t], .cast = GMM_F32, .code_stride = stride};
            fill_random(memory, sizeof memory);
            gmm_row row = {.codes = memory + 1};
            for (int64_t begin = 0; begin < 64; begin += 32) {
                format->decode(&weights, row, begin, 64 - begin, out);
                for (int64_t i = begin; i < 64; i++) {
                    double want = gmm_oracle_decode(types[t], element_bits(row.codes, i, stride, bytes));
                    assert_true(isnan(want) ? isnan(out[i - begin]) : (double)out[i - begin] == want);
                }
            }
        }
    assert_null(gmm_format_dense(GMM_I32));
    assert_null(gmm_format_dense(GMM_U8));
}

/* ---- the rules of the fp quantizers ------------------------------------------------------------------------------ */

/* A group of random numbers of one type, of any exponent. */
static void random_group(gmm_dtype dtype, int32_t count, float *values)
{
    int exponent = (int)gmm_random_between(&seeded, dtype == GMM_F16 ? -12 : -110, dtype == GMM_F16 ? 12 : 110);

    for (int32_t i = 0; i < count; i++)
        values[i] = (float)gmm_oracle_round(dtype, ldexp(gmm_random_unit(&seeded), exponent));
    if (gmm_random_chance(&seeded, 30)) /* on the grid and half-way: ties */
        for (int32_t i = 0; i < count; i++)
            values[i] = (float)ldexp((double)gmm_random_between(&seeded, -24, 24) / 4, exponent);
}

/* Is `code` a nearest E2M1 code, and of two the one that the rule wants? */
static bool nearest_e2m1(double v, unsigned code, gmm_tie_rule rule)
{
    double distance;

    v = fmax(-100, fmin(v, 100)); /* far out, distances to all codes round to the same */
    distance = fabs(v - gmm_oracle_e2m1(code));

    for (unsigned other = 0; other < 16; other++) {
        double there = fabs(v - gmm_oracle_e2m1(other));
        bool zero_sign = ((other ^ code) & 15) == 8 && (code & 7) == 0;
        if (there < distance)
            return false;
        if (there == distance && other != code && !zero_sign &&
            (rule == GMM_TIES_EVEN ? code % 2 != 0 : (other & 7) < (code & 7)))
            return false;
    }
    if ((code & 7) == 0)
        return rule == GMM_TIES_EVEN ? (code == 8) == (signbit(v) != 0) : code == 0;
    return true;
}

static double step(gmm_dtype dtype, gmm_tie_rule rule, double quotient)
{
    float rounded = (float)quotient;

    return rule == GMM_TIES_EVEN ? (double)rounded : gmm_oracle_round(dtype, (double)rounded);
}

static void check_mx_group(const gmm_quantizer *quantizer, const float *values, double element_max,
                           const gmm_group *group)
{
    double magnitude = 0, ratio, up;

    for (int i = 0; i < 32; i++)
        magnitude = fmax(magnitude, fabs((double)values[i]));
    ratio = step(quantizer->dtype, quantizer->tie_rule, magnitude / element_max);
    if (ratio == 0)
        assert_int_equal(group->scale, quantizer->tie_rule == GMM_TIES_EVEN ? 0 : 127);
    else if (quantizer->exponent_rule == GMM_EXPONENT_UP) {
        up = gmm_oracle_e8m0(group->scale);
        assert_true(ratio <= up && (group->scale == 0 || ratio > up / 2));
    } else {
        /* Within half of the logarithm, and the rounding of the logarithm to the input's type. */
        double slack = quantizer->tie_rule == GMM_TIES_EVEN || quantizer->dtype == GMM_F32 ? 1e-5
                       : quantizer->dtype == GMM_F16                                       ? 0.032
                                                                                           : 0.26;
        assert_true(fabs(log2(ratio) + 127 - group->scale) <= 0.5 + slack);
    }
    for (int i = 0; i < 32; i++) {
        double v = (double)values[i] / gmm_oracle_e8m0(group->scale);
        if (quantizer->bits == 4)
            assert_true(nearest_e2m1(v, group->codes[i], quantizer->tie_rule));
        else
            assert_true(fabs(gmm_oracle_e4m3(group->codes[i]) - v) <= fmax(fabs(v) / 16, 0x1p-10) || fabs(v) > 448);
    }
}

static void check_nvfp4_group(const gmm_quantizer *quantizer, const float *values, const gmm_group *group)
{
    float encode = quantizer->has_global ? 2688.0f / quantizer->global_scale : 1.0f;
    double magnitude = 0, scale = gmm_oracle_e4m3(group->scale), ratio;

    for (int i = 0; i < 16; i++)
        magnitude = fmax(magnitude, fabs((double)values[i]));
    ratio = (double)(float)(step(quantizer->dtype, quantizer->tie_rule, magnitude / 6) * (double)encode);
    assert_true(fabs(fmin(ratio, 448) - scale) <= fmax(ratio / 16, 0x1p-10));
    for (int i = 0; i < 16; i++) {
        double v = step(quantizer->dtype, quantizer->tie_rule, (double)values[i] / scale) * (double)encode;
        if (quantizer->tie_rule == GMM_TIES_EVEN)
            v = (double)(values[i] * (encode / (float)scale));
        if (scale == 0)
            assert_int_equal(group->codes[i], 0);
        else
            assert_true(nearest_e2m1((double)(float)v, group->codes[i], quantizer->tie_rule));
    }
}

static void fp_rules(void **state)
{
    static const gmm_dtype types[] = {GMM_F32, GMM_F16, GMM_BF16};

    (void)state;
    for (int64_t i = gmm_test_rounds(40000); i > 0; i--) {
        gmm_quantizer quantizer = {.dtype = types[i % 3],
                                   .exponent_rule =
                                       gmm_random_chance(&seeded, 50) ? GMM_EXPONENT_UP : GMM_EXPONENT_NEAREST,
                                   .tie_rule = gmm_random_chance(&seeded, 50) ? GMM_TIES_EVEN : GMM_TIES_SMALLER};
        float values[32];
        gmm_group group;
        random_group(quantizer.dtype, 32, values);
        quantizer.group_size = 32;
        quantizer.bits = 4;
        gmm_format_find("mxfp4")->quantize(&quantizer, values, &group);
        check_mx_group(&quantizer, values, 6, &group);
        quantizer.bits = 8;
        gmm_format_find("mxfp8")->quantize(&quantizer, values, &group);
        check_mx_group(&quantizer, values, 448, &group);
        quantizer.group_size = 16;
        quantizer.bits = 4;
        quantizer.has_global = gmm_random_chance(&seeded, 50);
        quantizer.global_scale =
            (float)ldexp(1.0 + fabs(gmm_random_unit(&seeded)), (int)gmm_random_between(&seeded, -9, 9));
        gmm_format_find("nvfp4")->quantize(&quantizer, values, &group);
        check_nvfp4_group(&quantizer, values, &group);
    }
}

/* ---- the list --------------------------------------------------------------------------------------------------- */

static void formats_resolve(void **state)
{
    const gmm_format *format;
    int32_t group_size, bits;

    (void)state;
    assert_int_equal(gmm_format_resolve(NULL, 0, 0, &format, &group_size, &bits), GMM_OK);
    assert_string_equal(format->name, "affine");
    assert_int_equal(group_size, 64);
    assert_int_equal(bits, 4);
    assert_int_equal(gmm_format_resolve("nvfp4", 0, 0, &format, &group_size, &bits), GMM_OK);
    assert_int_equal(group_size, 16);
    assert_int_equal(gmm_format_resolve("mxfp8", 32, 8, &format, &group_size, &bits), GMM_OK);
    assert_int_equal(bits, 8);
    assert_int_equal(gmm_format_resolve("f32", 0, 0, &format, &group_size, &bits), GMM_ERR_FORMAT);
    assert_int_equal(gmm_format_resolve("mxfp5", 0, 0, &format, &group_size, &bits), GMM_ERR_FORMAT);
    assert_string_equal(gmm_error_detail(), "mode is \"mxfp5\"; the modes are affine, mxfp4, mxfp8, nvfp4");
    assert_int_equal(gmm_format_resolve("mxfp4", 64, 4, &format, &group_size, &bits), GMM_ERR_FORMAT);
    assert_int_equal(gmm_format_resolve("affine", 16, 4, &format, &group_size, &bits), GMM_ERR_FORMAT);
    assert_string_equal(gmm_error_detail(), "group_size is 16; mode affine has 64, 32, 128");
    assert_int_equal(gmm_format_resolve("affine", 0, 7, &format, &group_size, &bits), GMM_ERR_FORMAT);
    assert_int_equal(gmm_format_resolve("affine", 0, -4, &format, &group_size, &bits), GMM_ERR_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vectors),     cmocka_unit_test(decode_everywhere),
        cmocka_unit_test(affine_rounds_once), cmocka_unit_test(affine_rounds_once_near_a_tie),
        cmocka_unit_test(fp_rules),           cmocka_unit_test(dense_decodes_in_place),
        cmocka_unit_test(formats_resolve),
    };

    gmm_random_start(&seeded, "test_formats");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
