/* test_errors.c - every product that is refused: the status, the numbers in the message, the output untouched. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "gathermm/gathermm.h"

enum {
    huge = 1 << 16
};

/* A valid product whose parts a test then spoils. Dense: 7 matrices (2, 11) times 5 matrices (11, 6). Quantized: 7
 * matrices (2, 128) times 5 of 6 rows. Two results. Not to be copied. */
typedef struct subject {
    gmm_product product;
    gmm_quantized quantized;
    gmm_array lhs, rhs, scales, biases, global_scale, lhs_indices, rhs_indices, out;
    int64_t lhs_shape[4], rhs_shape[4], scales_shape[4], biases_shape[4], index_shape[2], out_shape[4];
    int64_t strides[4];
    uint64_t lhs_index[4], rhs_index[4];
    float global;
} subject;

/* Operands' and outputs' memory: more than any of them needs. */
static float lhs_data[huge], rhs_data[huge], scales_data[huge], biases_data[huge], out_data[huge], out_before[huge];

static void set3(int64_t *shape, int64_t a, int64_t b, int64_t c)
{
    shape[0] = a;
    shape[1] = b;
    shape[2] = c;
}

static void dense_subject(subject *s)
{
    memset(s, 0, sizeof *s);
    set3(s->lhs_shape, 7, 2, 11);
    set3(s->rhs_shape, 5, 11, 6);
    set3(s->out_shape, 2, 2, 6);
    s->index_shape[0] = 2;
    s->lhs_index[0] = 6;
    s->rhs_index[1] = 4;
    s->lhs = (gmm_array){lhs_data, GMM_F32, 3, s->lhs_shape, NULL, 0};
    s->rhs = (gmm_array){rhs_data, GMM_F32, 3, s->rhs_shape, NULL, 0};
    s->out = (gmm_array){out_data, GMM_F32, 3, s->out_shape, NULL, 0};
    s->lhs_indices = (gmm_array){s->lhs_index, GMM_U64, 1, s->index_shape, NULL, 0};
    s->rhs_indices = (gmm_array){s->rhs_index, GMM_U64, 1, s->index_shape, NULL, 0};
    s->product = (gmm_product){.size = sizeof s->product,
                               .lhs = &s->lhs,
                               .rhs = &s->rhs,
                               .lhs_indices = &s->lhs_indices,
                               .rhs_indices = &s->rhs_indices};
}

static void quantized_subject(subject *s, const char *mode, int32_t group_size, int32_t bits)
{
    bool affine = strcmp(mode, "affine") == 0;

    dense_subject(s);
    set3(s->lhs_shape, 7, 2, 128);
    set3(s->rhs_shape, 5, 6, 128 * bits / 32);
    set3(s->scales_shape, 5, 6, 128 / group_size);
    set3(s->biases_shape, 5, 6, 128 / group_size);
    s->rhs.dtype = GMM_U32;
    s->scales = (gmm_array){scales_data, affine ? GMM_F32 : GMM_U8, 3, s->scales_shape, NULL, 0};
    s->biases = (gmm_array){biases_data, GMM_F32, 3, s->biases_shape, NULL, 0};
    s->global = 1;
    s->global_scale = (gmm_array){&s->global, GMM_F32, 0, NULL, NULL, 0};
    s->quantized = (gmm_quantized){.w = &s->rhs,
                                   .scales = &s->scales,
                                   .biases = affine ? &s->biases : NULL,
                                   .mode = mode,
                                   .group_size = group_size,
                                   .bits = bits};
    s->product.rhs = NULL;
    s->product.quantized = &s->quantized;
    s->product.transpose = true;
}

static void affine_subject(subject *s)
{
    quantized_subject(s, "affine", 64, 4);
}

/* What of the product is wrong: what gmm_result_spec sees; the values of indices, which gmm_explain sees too; or the
 * output. */
typedef enum fault {
    FAULT_PRODUCT,
    FAULT_INDEX,
    FAULT_OUTPUT
} fault;

static void expect_detail(const char *const *words, const char *who)
{
    for (; *words; words++)
        if (!strstr(gmm_error_detail(), *words))
            fail_msg("%s: the message \"%s\" lacks \"%s\"", who, gmm_error_detail(), *words);
}

static void expect_status(gmm_status got, gmm_status expected, const char *const *words, const char *who, int line)
{
    char place[64];

    snprintf(place, sizeof place, "line %d, %s", line, who);
    if (got != expected)
        fail_msg("%s: status %d (%s), not %d", place, (int)got, got ? gmm_error_detail() : "fine", (int)expected);
    if (expected != GMM_OK)
        expect_detail(words, place);
}

static void refused(const subject *s, fault seen_by, gmm_status status, const char *const *words, int line)
{
    gmm_array_spec spec;
    gmm_array out = s->out;
    char text[2048];

    memset(out_data, 0xA5, sizeof out_data);
    memcpy(out_before, out_data, sizeof out_data);
    expect_status(gmm_run(NULL, &s->product, &out), status, words, "gmm_run", line);
    assert_memory_equal(out_data, out_before, sizeof out_data);
    expect_status(gmm_result_spec(&s->product, &spec), seen_by == FAULT_PRODUCT ? status : GMM_OK, words,
                  "gmm_result_spec", line);
    expect_status(gmm_explain(NULL, &s->product, text, sizeof text), seen_by == FAULT_OUTPUT ? GMM_OK : status, words,
                  "gmm_explain", line);
}

/* REFUSED(subject, fault, status, "words", "that", "the message has"). */
#define REFUSED(subject, seen_by, ...) REFUSED_AS(subject, seen_by, __VA_ARGS__, NULL)
#define REFUSED_AS(subject, seen_by, status, ...)                                                                      \
    refused(subject, seen_by, status, (const char *const[]){__VA_ARGS__}, __LINE__)

static void subjects_are_valid(void **state)
{
    gmm_array_spec spec;
    subject s;

    (void)state;
    dense_subject(&s);
    assert_int_equal(gmm_result_spec(&s.product, &spec), GMM_OK);
    assert_int_equal(gmm_run(NULL, &s.product, &s.out), GMM_OK);
    affine_subject(&s);
    assert_int_equal(gmm_run(NULL, &s.product, &s.out), GMM_OK);
    quantized_subject(&s, "mxfp4", 32, 4);
    assert_int_equal(gmm_run(NULL, &s.product, &s.out), GMM_OK);
    quantized_subject(&s, "mxfp8", 32, 8);
    assert_int_equal(gmm_run(NULL, &s.product, &s.out), GMM_OK);
    quantized_subject(&s, "nvfp4", 16, 4);
    s.quantized.global_scale = &s.global_scale;
    assert_int_equal(gmm_run(NULL, &s.product, &s.out), GMM_OK);
}

static void null_pointers(void **state)
{
    gmm_array_spec spec;
    char text[64];
    subject s;

    (void)state;
    dense_subject(&s);
    assert_int_equal(gmm_run(NULL, NULL, &s.out), GMM_ERR_NULL);
    assert_int_equal(gmm_run(NULL, &s.product, NULL), GMM_ERR_NULL);
    assert_non_null(strstr(gmm_error_detail(), "out"));
    assert_int_equal(gmm_result_spec(NULL, &spec), GMM_ERR_NULL);
    assert_int_equal(gmm_result_spec(&s.product, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_explain(NULL, NULL, text, sizeof text), GMM_ERR_NULL);
    assert_int_equal(gmm_gather_mm(NULL, NULL, &s.rhs, NULL, NULL, false, &s.out), GMM_ERR_NULL);
    assert_int_equal(gmm_gather_mm(NULL, &s.lhs, NULL, NULL, NULL, false, &s.out), GMM_ERR_NULL);
    assert_int_equal(gmm_gather_qmm(NULL, &s.lhs, NULL, NULL, NULL, true, false, &s.out), GMM_ERR_NULL);
    assert_int_equal(gmm_quantized_matmul(NULL, &s.lhs, NULL, true, &s.out), GMM_ERR_NULL);

    s.product.lhs = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_NULL, "lhs");
    dense_subject(&s);
    s.lhs.data = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_NULL, "lhs", "154");
    dense_subject(&s);
    s.rhs.data = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_NULL, "rhs", "330");
    dense_subject(&s);
    s.rhs.shape = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_NULL, "rhs");
    dense_subject(&s);
    s.rhs_indices.data = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_NULL, "rhs_indices");
    dense_subject(&s);
    s.out.data = NULL;
    REFUSED(&s, FAULT_OUTPUT, GMM_ERR_NULL, "out");
    dense_subject(&s);
    s.out.shape = NULL;
    REFUSED(&s, FAULT_OUTPUT, GMM_ERR_NULL, "out");

    affine_subject(&s);
    s.quantized.w = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_NULL, "w");
    affine_subject(&s);
    s.quantized.scales = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_NULL, "scales");
    affine_subject(&s);
    s.quantized.biases = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_NULL, "biases");
    affine_subject(&s);
    s.scales.data = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_NULL, "scales");
    affine_subject(&s);
    s.biases.data = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_NULL, "biases");
    quantized_subject(&s, "nvfp4", 16, 4);
    s.quantized.global_scale = &s.global_scale;
    s.global_scale.data = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_NULL, "global_scale");
}

static void struct_sizes_and_choices(void **state)
{
    subject s;

    (void)state;
    dense_subject(&s);
    s.product.size = 0;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_ARGUMENT, "size", "0");
    s.product.size = 3;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_ARGUMENT, "size", "3");
    affine_subject(&s);
    s.product.rhs = &s.rhs;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_ARGUMENT, "rhs", "quantized");
    dense_subject(&s);
    s.product.rhs = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_ARGUMENT, "rhs", "quantized");
    dense_subject(&s);
    s.product.transpose = true;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_ARGUMENT, "transpose", "dense");
}

static void ranks_and_sizes(void **state)
{
    subject s;

    (void)state;
    dense_subject(&s);
    s.lhs.ndim = 0;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "lhs");
    dense_subject(&s);
    s.rhs.ndim = 0;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "rhs");
    dense_subject(&s);
    s.lhs.ndim = -1;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "lhs", "-1");
    dense_subject(&s);
    s.rhs.ndim = GMM_MAX_NDIM + 1;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "rhs", "65", "64");
    dense_subject(&s);
    s.rhs_shape[0] = -5;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "rhs", "-5");
    dense_subject(&s);
    s.rhs_shape[1] = 13;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "11", "13");
    dense_subject(&s);
    s.index_shape[0] = -2;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "_indices", "-2");

    dense_subject(&s);
    s.out_shape[2] = 7;
    REFUSED(&s, FAULT_OUTPUT, GMM_ERR_SHAPE, "out", "7", "6");
    dense_subject(&s);
    s.out.ndim = 2;
    REFUSED(&s, FAULT_OUTPUT, GMM_ERR_SHAPE, "out", "(2, 2)", "(2, 2, 6)");
    dense_subject(&s);
    s.out_shape[0] = 3;
    REFUSED(&s, FAULT_OUTPUT, GMM_ERR_SHAPE, "out", "(3, 2, 6)", "(2, 2, 6)");
    dense_subject(&s);
    s.out_shape[0] = -2;
    REFUSED(&s, FAULT_OUTPUT, GMM_ERR_SHAPE, "out", "-2");
    dense_subject(&s);
    s.out.ndim = 99;
    REFUSED(&s, FAULT_OUTPUT, GMM_ERR_SHAPE, "out", "99");
}

static void broadcasting(void **state)
{
    int64_t three[] = {3}, batches[] = {2, 9, 128};
    subject s;

    (void)state;
    dense_subject(&s);
    s.rhs_indices.shape = three;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "2", "3");
    dense_subject(&s); /* the default of lhs_indices has the shape of lhs's batch: 7 against 2 */
    s.product.lhs_indices = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "7", "2");
    dense_subject(&s);
    s.product.rhs_indices = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "2", "5");
    dense_subject(&s); /* as matmul: 7 matrices against 5 */
    s.product.lhs_indices = s.product.rhs_indices = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "7", "5");
    affine_subject(&s); /* quantized_matmul: the same */
    s.product.lhs_indices = s.product.rhs_indices = NULL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "7", "5");
    affine_subject(&s); /* one matrix of rows with a stack of weights */
    s.product.lhs_indices = s.product.rhs_indices = NULL;
    s.lhs.shape = batches + 1;
    s.lhs.ndim = 2;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "2", "3");
    affine_subject(&s);
    s.product.lhs_indices = s.product.rhs_indices = NULL;
    s.lhs.ndim = 1;
    s.lhs.shape = batches + 2;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "1", "3");
    affine_subject(&s); /* a 1-D x, which only calls without indices take */
    s.lhs.ndim = 1;
    s.lhs.shape = batches + 2;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "x", "1");
}

static void element_types(void **state)
{
    static const gmm_dtype not_numbers[] = {GMM_F64, GMM_C64,      GMM_F8_E4M3,  GMM_F8_E8M0,
                                            GMM_F4,  (gmm_dtype)0, (gmm_dtype)99};
    static const gmm_dtype not_indices[] = {GMM_BOOL, GMM_F32,     GMM_F16, GMM_BF16,    GMM_F64,
                                            GMM_C64,  GMM_F8_E4M3, GMM_F4,  (gmm_dtype)0};
    static const gmm_dtype not_results[] = {GMM_BOOL, GMM_I32,     GMM_U64, GMM_F64,
                                            GMM_C64,  GMM_F8_E4M3, GMM_F4,  (gmm_dtype)15};
    subject s;

    (void)state;
    for (size_t i = 0; i < sizeof not_numbers / sizeof not_numbers[0]; i++) {
        dense_subject(&s);
        s.lhs.dtype = not_numbers[i];
        REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "lhs");
        dense_subject(&s);
        s.rhs.dtype = not_numbers[i];
        REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "rhs");
        quantized_subject(&s, "mxfp4", 32, 4);
        s.lhs.dtype = not_numbers[i];
        REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "x");
    }
    for (size_t i = 0; i < sizeof not_indices / sizeof not_indices[0]; i++) {
        dense_subject(&s);
        s.lhs_indices.dtype = not_indices[i];
        REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "lhs_indices");
        affine_subject(&s);
        s.rhs_indices.dtype = not_indices[i];
        REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "rhs_indices");
    }
    for (size_t i = 0; i < sizeof not_results / sizeof not_results[0]; i++) {
        dense_subject(&s);
        s.out.dtype = not_results[i];
        REFUSED(&s, FAULT_OUTPUT, GMM_ERR_DTYPE, "out");
    }
    dense_subject(&s); /* two integers promote to no float */
    s.lhs.dtype = GMM_I32;
    s.rhs.dtype = GMM_U8;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "I32", "U8");
    s.lhs.dtype = s.rhs.dtype = GMM_BOOL;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "BOOL");
    quantized_subject(&s, "mxfp8", 32, 8);
    s.lhs.dtype = GMM_I32;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "I32");

    affine_subject(&s);
    s.rhs.dtype = GMM_I32;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "w", "I32");
    affine_subject(&s);
    s.scales.dtype = GMM_U8;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "scales", "U8");
    affine_subject(&s);
    s.biases.dtype = GMM_F64;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "biases", "F64");
    quantized_subject(&s, "mxfp4", 32, 4);
    s.scales.dtype = GMM_F32;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "scales", "F32");
    quantized_subject(&s, "nvfp4", 16, 4);
    s.scales.dtype = GMM_I8;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "scales", "I8");
    quantized_subject(&s, "nvfp4", 16, 4);
    s.quantized.global_scale = &s.global_scale;
    s.global_scale.dtype = GMM_F16;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_DTYPE, "global_scale", "F16");
}

static void modes(void **state)
{
    static const struct {
        const char *mode;
        int32_t group_size, bits, wrong;
    } strangers[] = {
        {"affine", 16, 4, 16}, {"affine", 48, 4, 48}, {"affine", 256, 4, 256}, {"affine", -64, 4, -64},
        {"affine", 64, 1, 1},  {"affine", 64, 7, 7},  {"affine", 64, 16, 16},  {"affine", 64, -4, -4},
        {"mxfp4", 64, 4, 64},  {"mxfp4", 16, 4, 16},  {"mxfp4", 32, 8, 8},     {"mxfp4", -1, 4, -1},
        {"mxfp8", 32, 4, 4},   {"mxfp8", 64, 8, 64},  {"nvfp4", 32, 4, 32},    {"nvfp4", 16, 8, 8},
    };
    subject s;

    (void)state;
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        char wrong[16];
        snprintf(wrong, sizeof wrong, "%d", (int)strangers[i].wrong);
        affine_subject(&s);
        s.quantized.mode = strangers[i].mode;
        s.quantized.group_size = strangers[i].group_size;
        s.quantized.bits = strangers[i].bits;
        if (strcmp(strangers[i].mode, "affine") != 0) {
            s.quantized.biases = NULL;
            s.scales.dtype = GMM_U8;
        }
        REFUSED(&s, FAULT_PRODUCT, GMM_ERR_FORMAT, strangers[i].mode, wrong);
    }
    affine_subject(&s);
    s.quantized.mode = "afine";
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_FORMAT, "afine");
    s.quantized.mode = "";
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_FORMAT, "mode");
    s.quantized.mode = "f32";
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_FORMAT, "f32");
    quantized_subject(&s, "mxfp4", 32, 4);
    s.quantized.biases = &s.biases;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_ARGUMENT, "biases", "mxfp4");
    affine_subject(&s);
    s.quantized.global_scale = &s.global_scale;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_ARGUMENT, "global_scale", "affine");
    quantized_subject(&s, "mxfp8", 32, 8);
    s.quantized.global_scale = &s.global_scale;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_ARGUMENT, "global_scale", "mxfp8");
}

static void quantized_shapes(void **state)
{
    int64_t two[] = {2};
    subject s;

    (void)state;
    affine_subject(&s);
    s.lhs_shape[2] = 192;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "192", "128");
    affine_subject(&s);
    s.product.transpose = false;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "128", "6");
    affine_subject(&s);
    s.biases_shape[2] = 3;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "biases", "3", "2");
    affine_subject(&s);
    s.biases.ndim = 2;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "biases");
    affine_subject(&s); /* another batch */
    s.scales_shape[0] = s.biases_shape[0] = 4;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "scales", "4", "5");
    affine_subject(&s); /* too few rows */
    s.scales_shape[1] = s.biases_shape[1] = 3;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "scales", "3", "6");
    affine_subject(&s); /* too few groups */
    s.scales_shape[2] = s.biases_shape[2] = 1;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "scales", "128", "64");
    affine_subject(&s); /* another rank */
    s.scales.ndim = s.biases.ndim = 2;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "scales");
    quantized_subject(&s, "affine", 32, 3); /* 13 words are no whole number of codes */
    s.rhs_shape[2] = 13;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "13", "3");
    quantized_subject(&s, "affine", 32, 5); /* whole codes, but no whole groups: 24 words are 153 codes and 3 bits */
    s.rhs_shape[2] = 24;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "24", "5");
    affine_subject(&s);
    s.rhs.ndim = s.scales.ndim = s.biases.ndim = 1;
    s.rhs.shape = s.rhs_shape + 2;
    s.scales.shape = s.biases.shape = s.scales_shape + 2;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "w");
    affine_subject(&s);
    s.rhs.ndim = 0;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "w");
    affine_subject(&s);
    s.lhs.ndim = 0;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "x");
    affine_subject(&s);
    s.scales.ndim = s.biases.ndim = 0;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "scales");
    quantized_subject(&s, "mxfp4", 32, 4);
    s.scales_shape[2] = 8;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "scales", "128", "32");
    quantized_subject(&s, "nvfp4", 16, 4);
    s.quantized.global_scale = &s.global_scale;
    s.global_scale.ndim = 1;
    s.global_scale.shape = two;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SHAPE, "global_scale", "2");
}

/* ---- indices ---- */

typedef struct bad_index {
    gmm_dtype dtype;
    uint64_t bits;
    const char *text;
} bad_index;

/* 5 right-hand sides: in every type the first index too many, the largest, and in signed types -1 and the smallest. */
static const bad_index bad_indices[] = {
    {GMM_U8, 5, "5"},
    {GMM_U8, UINT8_MAX, "255"},
    {GMM_I8, 5, "5"},
    {GMM_I8, INT8_MAX, "127"},
    {GMM_I8, UINT64_MAX, "-1"},
    {GMM_I8, 0x80, "-128"},
    {GMM_U16, 5, "5"},
    {GMM_U16, UINT16_MAX, "65535"},
    {GMM_I16, 5, "5"},
    {GMM_I16, 256, "256"},
    {GMM_I16, UINT64_MAX, "-1"},
    {GMM_I16, 0x8000, "-32768"},
    {GMM_U32, 5, "5"},
    {GMM_U32, UINT32_MAX, "4294967295"},
    {GMM_I32, 65536, "65536"},
    {GMM_I32, UINT64_MAX, "-1"},
    {GMM_I32, 0x80000000u, "-2147483648"},
    {GMM_U64, 5, "5"},
    {GMM_U64, (uint64_t)1 << 32, "4294967296"},
    {GMM_U64, (uint64_t)1 << 63, "9223372036854775808"},
    {GMM_U64, UINT64_MAX, "18446744073709551615"},
    {GMM_I64, 5, "5"},
    {GMM_I64, ((uint64_t)1 << 32) + 2, "4294967298"},
    {GMM_I64, INT64_MAX, "9223372036854775807"},
    {GMM_I64, UINT64_MAX, "-1"},
    {GMM_I64, (uint64_t)1 << 63, "-9223372036854775808"},
};

/* Index number 1 of two. */
static void put_index(void *indices, const bad_index *bad)
{
    size_t bytes = (size_t)gmm_dtype_bits(bad->dtype) / 8;

    memset(indices, 0, 2 * bytes);
    for (size_t i = 0; i < bytes; i++) /* little end first */
        ((unsigned char *)indices)[bytes + i] = (unsigned char)(bad->bits >> 8 * i);
}

static void indices_out_of_range(void **state)
{
    subject s;

    (void)state;
    for (size_t i = 0; i < sizeof bad_indices / sizeof bad_indices[0]; i++)
        for (int hint = 0; hint < 2; hint++) {
            dense_subject(&s);
            s.product.sorted_indices = hint;
            s.rhs_indices.dtype = bad_indices[i].dtype;
            put_index(s.rhs_index, &bad_indices[i]);
            REFUSED(&s, FAULT_INDEX, GMM_ERR_INDEX, "rhs_indices[1]", bad_indices[i].text, "5");
            affine_subject(&s);
            s.product.sorted_indices = hint;
            s.rhs_indices.dtype = bad_indices[i].dtype;
            put_index(s.rhs_index, &bad_indices[i]);
            REFUSED(&s, FAULT_INDEX, GMM_ERR_INDEX, "rhs_indices[1]", bad_indices[i].text, "5");
            dense_subject(&s);
            s.lhs_shape[0] = 5;
            s.lhs_index[0] = 0;
            s.lhs_indices.dtype = bad_indices[i].dtype;
            put_index(s.lhs_index, &bad_indices[i]);
            REFUSED(&s, FAULT_INDEX, GMM_ERR_INDEX, "lhs_indices[1]", bad_indices[i].text, "5");
        }
}

static void indices_into_one_matrix_or_none(void **state)
{
    int64_t shape[] = {11, 6}, vector[] = {11};
    subject s;

    (void)state;
    dense_subject(&s); /* a 2-D operand has matrix 0 only */
    s.rhs.ndim = 2;
    s.rhs.shape = shape;
    s.rhs_index[1] = 1;
    REFUSED(&s, FAULT_INDEX, GMM_ERR_INDEX, "rhs_indices[1]", "1");
    dense_subject(&s); /* a 1-D one too */
    s.lhs.ndim = 1;
    s.lhs.shape = vector;
    s.out.ndim = 2;
    s.out_shape[1] = 6;
    s.lhs_index[0] = 3;
    REFUSED(&s, FAULT_INDEX, GMM_ERR_INDEX, "lhs_indices[0]", "3", "1");
    dense_subject(&s); /* no matrices at all */
    s.rhs_shape[0] = 0;
    REFUSED(&s, FAULT_INDEX, GMM_ERR_INDEX, "rhs_indices", "0");
    dense_subject(&s); /* checked even where nothing would be computed: M = 0 */
    s.lhs_shape[1] = s.out_shape[1] = 0;
    s.rhs_index[1] = 5;
    REFUSED(&s, FAULT_INDEX, GMM_ERR_INDEX, "rhs_indices[1]", "5");
    dense_subject(&s); /* and where a broadcast against an empty array leaves no product */
    int64_t empty[] = {0, 1}, two[] = {2};
    s.lhs_indices.ndim = 2;
    s.lhs_indices.shape = empty;
    s.rhs_indices.shape = two;
    s.out.ndim = 4;
    s.out_shape[0] = 0;
    s.out_shape[1] = s.out_shape[2] = 2;
    s.out_shape[3] = 6;
    s.rhs_index[1] = 77;
    REFUSED(&s, FAULT_INDEX, GMM_ERR_INDEX, "rhs_indices[1]", "77", "5");
}

/* ---- outputs ---- */

static void outputs_on_themselves(void **state)
{
    static const int64_t bad_strides[][3] = {{12, 6, 0},  {0, 6, 1},  {12, 5, 1}, {6, 6, 1},
                                             {12, 6, -6}, {-6, 6, 1}, {7, 1, 2}};
    subject s;

    (void)state;
    for (size_t i = 0; i < sizeof bad_strides / sizeof bad_strides[0]; i++) {
        dense_subject(&s);
        s.out.strides = bad_strides[i];
        s.out.byte_offset = 1000;
        REFUSED(&s, FAULT_OUTPUT, GMM_ERR_OVERLAP, "out");
    }
}

/* The operands of a case that has them all, by the names that messages give them. */
static gmm_array *operand_at(subject *s, int number, const char **name)
{
    const char *const names[] = {"lhs", "rhs", "lhs_indices", "rhs_indices", "global_scale", "biases", "scales",
                                 "w",   "x"};
    gmm_array *const arrays[] = {&s->lhs,    &s->rhs,    &s->lhs_indices, &s->rhs_indices, &s->global_scale,
                                 &s->biases, &s->scales, &s->rhs,         &s->lhs};

    if (number < 4)
        dense_subject(s);
    else if (number == 4)
        quantized_subject(s, "nvfp4", 16, 4);
    else
        affine_subject(s);
    if (number == 4)
        s->quantized.global_scale = &s->global_scale;
    *name = names[number];
    return arrays[number];
}

/* One element of the output on one element of an operand, at either end. */
static void outputs_on_operands(void **state)
{
    (void)state;
    for (int number = 0; number < 9; number++)
        for (int end = 0; end < 2; end++) {
            const char *name;
            char words[64];
            subject s;
            gmm_array *operand = operand_at(&s, number, &name);
            size_t bytes = (size_t)gmm_dtype_bits(operand->dtype) / 8;

            for (int32_t d = 0; d < operand->ndim; d++)
                bytes *= (size_t)operand->shape[d];
            memset(out_data, 0, sizeof out_data); /* what the operand then holds: indices of 0 */
            if (end) {
                operand->data = out_data;
                s.out.data = (char *)out_data + bytes - 4;
            } else {
                operand->data = out_data + 2 * 2 * 6 - 1;
                s.out.data = out_data;
            }
            memcpy(out_before, out_data, sizeof out_data);
            if (gmm_run(NULL, &s.product, &s.out) != GMM_ERR_OVERLAP)
                fail_msg("out on %s is not refused", name);
            snprintf(words, sizeof words, " %s ", name);
            expect_detail((const char *const[]){"out", words, NULL}, name);
            assert_memory_equal(out_data, out_before, sizeof out_data);
        }
}

/* Side by side is not an overlap. */
static void outputs_that_touch(void **state)
{
    subject s;

    (void)state;
    dense_subject(&s);
    memset(out_data, 0, sizeof out_data);
    s.lhs.data = out_data;
    s.out.data = out_data + 7 * 2 * 11;
    s.rhs.data = out_data + 7 * 2 * 11 + 2 * 2 * 6;
    assert_int_equal(gmm_run(NULL, &s.product, &s.out), GMM_OK);
}

static void overflow(void **state)
{
    static const int64_t all_zero[4] = {0};
    subject s;

    (void)state;
    dense_subject(&s); /* more than 2^63 bytes of lhs */
    s.lhs.strides = all_zero;
    set3(s.lhs_shape, (int64_t)1 << 40, (int64_t)1 << 20, 11);
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SIZE, "lhs");
    dense_subject(&s); /* more than 2^63 bytes of results of small operands */
    s.lhs.strides = s.rhs.strides = all_zero;
    set3(s.lhs_shape, 1, (int64_t)1 << 31, 1);
    set3(s.rhs_shape, 1, 1, (int64_t)1 << 31);
    s.lhs_index[0] = s.rhs_index[1] = 0;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SIZE, "2147483648");
    dense_subject(&s); /* an offset beyond 64 bits */
    s.strides[0] = INT64_MAX / 4;
    s.strides[1] = 11;
    s.strides[2] = 1;
    s.lhs.strides = s.strides;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SIZE, "lhs", "2305843009213693951");
    s.strides[0] = INT64_MIN;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SIZE, "lhs", "-9223372036854775808");
    dense_subject(&s);
    s.rhs.byte_offset = UINT64_MAX;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SIZE, "rhs");
    dense_subject(&s); /* elements before address 0 */
    s.strides[0] = -((int64_t)1 << 58);
    s.strides[1] = s.strides[2] = 1;
    s.rhs.strides = s.strides;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SIZE, "rhs");
    dense_subject(&s); /* index arrays that broadcast to more than 2^63 products */
    int64_t tall[] = {(int64_t)1 << 40, 1}, wide[] = {(int64_t)1 << 40};
    s.lhs_indices = (gmm_array){s.lhs_index, GMM_U8, 2, tall, all_zero, 0};
    s.rhs_indices = (gmm_array){s.lhs_index, GMM_U8, 1, wide, all_zero, 0};
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SIZE, "result", "2^63");
    dense_subject(&s);
    s.strides[0] = (int64_t)1 << 62;
    s.strides[1] = 6;
    s.strides[2] = 1;
    s.out.strides = s.strides;
    REFUSED(&s, FAULT_OUTPUT, GMM_ERR_SIZE, "out");
    affine_subject(&s); /* more than 2^63 codes */
    s.rhs.strides = s.scales.strides = s.biases.strides = s.lhs.strides = all_zero;
    s.rhs_shape[2] = (int64_t)1 << 60;
    s.scales_shape[2] = s.biases_shape[2] = (int64_t)1 << 57;
    REFUSED(&s, FAULT_PRODUCT, GMM_ERR_SIZE, "w");
}

/* Products of nothing, however large they would be, are no reason to refuse. */
static void empty_but_huge(void **state)
{
    subject s;

    (void)state;
    dense_subject(&s);
    set3(s.lhs_shape, (int64_t)1 << 60, (int64_t)1 << 60, 0);
    set3(s.rhs_shape, 0, 0, 6);
    s.index_shape[0] = 0;
    set3(s.out_shape, 0, (int64_t)1 << 60, 6);
    s.lhs.data = s.rhs.data = s.out.data = NULL;
    assert_int_equal(gmm_run(NULL, &s.product, &s.out), GMM_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subjects_are_valid),
        cmocka_unit_test(null_pointers),
        cmocka_unit_test(struct_sizes_and_choices),
        cmocka_unit_test(ranks_and_sizes),
        cmocka_unit_test(broadcasting),
        cmocka_unit_test(element_types),
        cmocka_unit_test(modes),
        cmocka_unit_test(quantized_shapes),
        cmocka_unit_test(indices_out_of_range),
        cmocka_unit_test(indices_into_one_matrix_or_none),
        cmocka_unit_test(outputs_on_themselves),
        cmocka_unit_test(outputs_on_operands),
        cmocka_unit_test(outputs_that_touch),
        cmocka_unit_test(overflow),
        cmocka_unit_test(empty_but_huge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
