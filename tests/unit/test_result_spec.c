/* test_result_spec.c - shapes and element types of results, for every rule of batches, indices and 1-D operands. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "cmocka_test.h"
#include "oracle.h"
#include "oracle_numbers.h"

/* A shape; ndim -1: there is no such array. */
typedef struct dims {
    int32_t ndim;
    int64_t size[5];
} dims;

#define NONE                                                                                                           \
    {                                                                                                                  \
        -1,                                                                                                            \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }

typedef struct example {
    dims lhs, rhs, lhs_indices, rhs_indices;
    dims result; /* NONE: refused */
} example;

/* All elements of all arrays: index 0, number 0, in any type. */
static uint64_t zeros[1 << 14];

static gmm_array array_of(const dims *d, gmm_dtype dtype)
{
    return (gmm_array){zeros, dtype, d->ndim, d->size, NULL, 0};
}

static void check_example(const gmm_product *product, const dims *result, const char *name, size_t number)
{
    gmm_array_spec spec;
    gmm_status status = gmm_result_spec(product, &spec);
    float out[4096];
    gmm_array to = {out, GMM_F32, 0, spec.shape, NULL, 0};

    if (result->ndim < 0) {
        if (status != GMM_ERR_SHAPE)
            fail_msg("%s %zu: status %d", name, number, (int)status);
        return;
    }
    if (status != GMM_OK)
        fail_msg("%s %zu: status %d, %s", name, number, (int)status, gmm_error_detail());
    assert_int_equal(spec.dtype, GMM_F32);
    assert_int_equal(spec.ndim, result->ndim);
    for (int32_t d = 0; d < spec.ndim; d++)
        if (spec.shape[d] != result->size[d])
            fail_msg("%s %zu: size %d is %d, not %d", name, number, (int)d, (int)spec.shape[d], (int)result->size[d]);

    to.ndim = spec.ndim;
    memset(out, 0xFF, sizeof out);
    status = gmm_run(NULL, product, &to);
    if (status != GMM_OK)
        fail_msg("%s %zu: gmm_run gives %d, %s", name, number, (int)status, gmm_error_detail());
    for (int64_t i = 0, count = gmm_built_count(&to); i < count; i++)
        assert_true(out[i] == 0);
}

static void dense_shapes(void **state)
{
    static const example examples[] = {
        /* both index arrays */
        {{3, {6, 7, 3}}, {3, {5, 3, 4}}, {1, {9}}, {1, {9}}, {3, {9, 7, 4}}},
        {{3, {6, 7, 3}}, {3, {5, 3, 4}}, {2, {2, 1}}, {1, {9}}, {4, {2, 9, 7, 4}}},
        {{3, {6, 7, 3}}, {3, {5, 3, 4}}, {0, {0}}, {0, {0}}, {2, {7, 4}}},
        {{3, {6, 7, 3}}, {3, {5, 3, 4}}, {2, {2, 3}}, {1, {2}}, NONE},
        /* one of them: the other operand's matrices in the shape of its batch */
        {{4, {2, 3, 7, 3}}, {3, {5, 3, 4}}, NONE, {1, {3}}, {4, {2, 3, 7, 4}}},
        {{4, {1, 3, 7, 3}}, {3, {5, 3, 4}}, NONE, {2, {2, 1}}, {4, {2, 3, 7, 4}}},
        {{3, {2, 2, 3}}, {3, {5, 3, 4}}, NONE, {1, {3}}, NONE},
        {{2, {7, 3}}, {3, {5, 3, 4}}, NONE, {0, {0}}, {2, {7, 4}}},
        {{2, {7, 3}}, {3, {5, 3, 4}}, NONE, {2, {2, 6}}, {4, {2, 6, 7, 4}}},
        {{3, {6, 7, 3}}, {3, {5, 3, 4}}, {1, {5}}, NONE, {3, {5, 7, 4}}},
        {{3, {6, 7, 3}}, {3, {5, 3, 4}}, {2, {3, 1}}, NONE, {4, {3, 5, 7, 4}}},
        {{3, {6, 7, 3}}, {3, {5, 3, 4}}, {1, {4}}, NONE, NONE},
        /* none: as matmul, batches broadcast */
        {{3, {5, 7, 3}}, {3, {5, 3, 4}}, NONE, NONE, {3, {5, 7, 4}}},
        {{4, {2, 1, 7, 3}}, {3, {5, 3, 4}}, NONE, NONE, {4, {2, 5, 7, 4}}},
        {{2, {7, 3}}, {4, {2, 5, 3, 4}}, NONE, NONE, {4, {2, 5, 7, 4}}},
        {{3, {2, 7, 3}}, {3, {5, 3, 4}}, NONE, NONE, NONE},
        /* 1-D operands lose their axis */
        {{1, {3}}, {3, {5, 3, 4}}, NONE, {1, {2}}, {2, {2, 4}}},
        {{3, {5, 2, 3}}, {1, {3}}, {1, {2}}, NONE, {2, {2, 2}}},
        {{1, {3}}, {1, {3}}, {1, {3}}, {1, {3}}, {1, {3}}},
        {{1, {3}}, {1, {3}}, NONE, NONE, {0, {0}}},
        {{1, {3}}, {3, {5, 3, 4}}, NONE, NONE, {2, {5, 4}}},
        {{3, {5, 2, 3}}, {1, {3}}, NONE, NONE, {2, {5, 2}}},
        /* empty ones */
        {{3, {6, 0, 3}}, {3, {5, 3, 4}}, {1, {9}}, {1, {9}}, {3, {9, 0, 4}}},
        {{3, {6, 7, 3}}, {3, {5, 3, 0}}, {1, {9}}, {1, {9}}, {3, {9, 7, 0}}},
        {{3, {6, 7, 0}}, {3, {5, 0, 4}}, {1, {9}}, {1, {9}}, {3, {9, 7, 4}}},
        {{3, {6, 7, 3}}, {3, {5, 3, 4}}, {1, {0}}, {1, {0}}, {3, {0, 7, 4}}},
        {{3, {6, 7, 3}}, {3, {5, 3, 4}}, {2, {0, 1}}, {1, {3}}, {4, {0, 3, 7, 4}}},
        {{3, {6, 7, 3}}, {3, {5, 3, 4}}, NONE, {2, {0, 6}}, {4, {0, 6, 7, 4}}},
        {{3, {0, 7, 3}}, {3, {5, 3, 4}}, {1, {0}}, {1, {0}}, {3, {0, 7, 4}}},
        {{3, {0, 7, 3}}, {3, {0, 3, 4}}, NONE, NONE, {3, {0, 7, 4}}},
        {{1, {0}}, {1, {0}}, NONE, NONE, {0, {0}}},
        /* refused: rank 0, inner sizes */
        {{0, {0}}, {3, {5, 3, 4}}, NONE, NONE, NONE},
        {{2, {7, 3}}, {0, {0}}, NONE, NONE, NONE},
        {{2, {7, 3}}, {2, {4, 3}}, NONE, NONE, NONE},
        {{1, {3}}, {1, {4}}, NONE, NONE, NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        const example *e = &examples[i];
        gmm_array lhs = array_of(&e->lhs, GMM_F32), rhs = array_of(&e->rhs, GMM_F32);
        gmm_array lhs_indices = array_of(&e->lhs_indices, GMM_I32), rhs_indices = array_of(&e->rhs_indices, GMM_U64);
        gmm_product product = {.size = sizeof product, .lhs = &lhs, .rhs = &rhs};

        product.lhs_indices = e->lhs_indices.ndim < 0 ? NULL : &lhs_indices;
        product.rhs_indices = e->rhs_indices.ndim < 0 ? NULL : &rhs_indices;
        check_example(&product, &e->result, __func__, i);
    }
}

/* Weights of affine 4/64: `rhs` is the shape of the decoded weights. */
static void quantized_shapes(void **state)
{
    static const struct {
        bool transpose;
        example e;
    } examples[] = {
        /* gather_qmm */
        {true, {{3, {6, 7, 64}}, {3, {5, 9, 64}}, {1, {4}}, {1, {4}}, {3, {4, 7, 9}}}},
        {false, {{3, {6, 7, 9}}, {3, {5, 9, 64}}, {1, {4}}, {1, {4}}, {3, {4, 7, 64}}}},
        {true, {{4, {4, 1, 1, 64}}, {3, {5, 9, 64}}, NONE, {2, {4, 2}}, {4, {4, 2, 1, 9}}}},
        {true, {{2, {7, 64}}, {3, {5, 9, 64}}, NONE, {0, {0}}, {2, {7, 9}}}},
        {true, {{2, {7, 64}}, {2, {9, 64}}, {1, {3}}, NONE, {3, {3, 7, 9}}}},
        {true, {{1, {64}}, {3, {5, 9, 64}}, NONE, {1, {4}}, NONE}},
        {true, {{3, {6, 7, 64}}, {1, {64}}, {1, {4}}, NONE, NONE}},
        {true, {{3, {6, 7, 64}}, {3, {5, 9, 128}}, {1, {4}}, {1, {4}}, NONE}},
        {false, {{3, {6, 7, 64}}, {3, {5, 9, 64}}, {1, {4}}, {1, {4}}, NONE}},
        /* quantized_matmul */
        {true, {{1, {64}}, {2, {9, 64}}, NONE, NONE, {1, {9}}}},
        {true, {{2, {7, 64}}, {2, {9, 64}}, NONE, NONE, {2, {7, 9}}}},
        {true, {{4, {2, 3, 7, 64}}, {2, {9, 64}}, NONE, NONE, {4, {2, 3, 7, 9}}}},
        {false, {{1, {9}}, {2, {9, 64}}, NONE, NONE, {1, {64}}}},
        {true, {{4, {2, 1, 4, 64}}, {3, {3, 5, 64}}, NONE, NONE, {4, {2, 3, 4, 5}}}},
        {true, {{3, {3, 4, 64}}, {3, {3, 5, 64}}, NONE, NONE, {3, {3, 4, 5}}}},
        {true, {{3, {2, 4, 64}}, {3, {3, 5, 64}}, NONE, NONE, NONE}},
        {true, {{2, {4, 64}}, {3, {3, 5, 64}}, NONE, NONE, NONE}},
        {true, {{1, {64}}, {3, {3, 5, 64}}, NONE, NONE, NONE}},
        {true, {{0, {0}}, {2, {5, 64}}, NONE, NONE, NONE}},
        /* empty ones */
        {true, {{3, {6, 0, 64}}, {3, {5, 9, 64}}, {1, {4}}, {1, {4}}, {3, {4, 0, 9}}}},
        {true, {{3, {6, 7, 64}}, {3, {5, 0, 64}}, {1, {4}}, {1, {4}}, {3, {4, 7, 0}}}},
        {true, {{3, {6, 7, 0}}, {3, {5, 9, 0}}, {1, {4}}, {1, {4}}, {3, {4, 7, 9}}}},
        {false, {{3, {6, 7, 0}}, {3, {5, 0, 64}}, {1, {4}}, {1, {4}}, {3, {4, 7, 64}}}},
        {false, {{3, {6, 7, 9}}, {3, {5, 9, 0}}, {1, {4}}, {1, {4}}, {3, {4, 7, 0}}}},
        {true, {{3, {6, 7, 64}}, {3, {5, 9, 64}}, {1, {0}}, {1, {0}}, {3, {0, 7, 9}}}},
        {true, {{2, {7, 0}}, {2, {9, 0}}, NONE, NONE, {2, {7, 9}}}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        const example *e = &examples[i].e;
        dims packed = e->rhs, grouped = e->rhs;
        gmm_array lhs = array_of(&e->lhs, GMM_F32), w, scales;
        gmm_array lhs_indices = array_of(&e->lhs_indices, GMM_I8), rhs_indices = array_of(&e->rhs_indices, GMM_U16);
        gmm_quantized quantized = {.w = &w, .scales = &scales, .biases = &scales};
        gmm_product product = {.size = sizeof product, .lhs = &lhs, .quantized = &quantized};

        packed.size[packed.ndim - 1] /= 8;
        grouped.size[packed.ndim - 1] /= 64;
        w = array_of(&packed, GMM_U32);
        scales = array_of(&grouped, GMM_F32);
        product.transpose = examples[i].transpose;
        product.lhs_indices = e->lhs_indices.ndim < 0 ? NULL : &lhs_indices;
        product.rhs_indices = e->rhs_indices.ndim < 0 ? NULL : &rhs_indices;
        check_example(&product, &e->result, __func__, i);
    }
}

static const gmm_dtype all_types[] = {
    GMM_BOOL,    GMM_U8,      GMM_I8,      GMM_U16,         GMM_I16,         GMM_U32, GMM_I32,
    GMM_U64,     GMM_I64,     GMM_F16,     GMM_BF16,        GMM_F32,         GMM_F64, GMM_C64,
    GMM_F8_E4M3, GMM_F8_E5M2, GMM_F8_E8M0, GMM_F8_E4M3FNUZ, GMM_F8_E5M2FNUZ,
};

enum {
    type_count = sizeof all_types / sizeof all_types[0]
};

static void check_type(const gmm_product *product, gmm_dtype expected)
{
    gmm_array_spec spec;
    gmm_status status = gmm_result_spec(product, &spec);

    assert_int_equal(status, expected ? GMM_OK : GMM_ERR_DTYPE);
    if (expected)
        assert_int_equal(spec.dtype, expected);
}

static void types(void **state)
{
    static const int64_t shape[] = {2, 64}, rhs_shape[] = {64, 3}, w_shape[] = {3, 8}, scales_shape[] = {3, 1};
    static const int64_t mx_w_shape[] = {3, 16}, mx_scales_shape[] = {3, 2};

    (void)state;
    for (int a = 0; a < type_count; a++)
        for (int b = 0; b < type_count; b++) {
            gmm_array lhs = {zeros, all_types[a], 2, shape, NULL, 0},
                      rhs = {zeros, all_types[b], 2, rhs_shape, NULL, 0};
            gmm_product product = {.size = sizeof product, .lhs = &lhs, .rhs = &rhs};
            check_type(&product, gmm_oracle_promote(all_types[a], all_types[b]));
        }
    for (int x = 0; x < type_count; x++)
        for (int s = GMM_BOOL; s <= GMM_C64; s++)
            for (int b = GMM_F16; b <= GMM_F64; b++) {
                gmm_dtype inner = gmm_oracle_promote((gmm_dtype)s, (gmm_dtype)b);
                gmm_array lhs = {zeros, all_types[x], 2, shape, NULL, 0}, w = {zeros, GMM_U32, 2, w_shape, NULL, 0};
                gmm_array scales = {zeros, (gmm_dtype)s, 2, scales_shape, NULL, 0};
                gmm_array biases = {zeros, (gmm_dtype)b, 2, scales_shape, NULL, 0};
                gmm_quantized quantized = {.w = &w, .scales = &scales, .biases = &biases};
                gmm_product product = {.size = sizeof product, .lhs = &lhs, .quantized = &quantized, .transpose = true};
                /* scales and biases are floating-point numbers, each of them */
                bool fine = s >= GMM_F16 && s <= GMM_F32 && b <= GMM_F32;
                check_type(&product, fine ? gmm_oracle_promote(all_types[x], inner) : 0);
            }
    for (int x = 0; x < type_count; x++) {
        gmm_array lhs = {zeros, all_types[x], 2, shape, NULL, 0}, w = {zeros, GMM_U32, 2, mx_w_shape, NULL, 0};
        gmm_array scales = {zeros, GMM_U8, 2, mx_scales_shape, NULL, 0};
        gmm_quantized quantized = {.w = &w, .scales = &scales, .mode = "mxfp8"};
        gmm_product product = {.size = sizeof product, .lhs = &lhs, .quantized = &quantized, .transpose = true};
        bool fine = all_types[x] == GMM_F32 || all_types[x] == GMM_F16 || all_types[x] == GMM_BF16;
        check_type(&product, fine ? all_types[x] : 0);
    }
}

/* The few that matter, spelled out, so that they do not rest on the oracle. */
static void promotion(void **state)
{
    static const gmm_dtype table[][3] = {
        {GMM_F16, GMM_F16, GMM_F16},      {GMM_BF16, GMM_BF16, GMM_BF16},       {GMM_F16, GMM_BF16, GMM_F32},
        {GMM_F32, GMM_F16, GMM_F32},      {GMM_F32, GMM_BF16, GMM_F32},         {GMM_F32, GMM_F32, GMM_F32},
        {GMM_I32, GMM_F16, GMM_F16},      {GMM_BOOL, GMM_BF16, GMM_BF16},       {GMM_U64, GMM_F32, GMM_F32},
        {GMM_I32, GMM_I32, (gmm_dtype)0}, {GMM_BOOL, GMM_U8, (gmm_dtype)0},     {GMM_F32, GMM_F64, (gmm_dtype)0},
        {GMM_F32, GMM_C64, (gmm_dtype)0}, {GMM_F16, GMM_F8_E4M3, (gmm_dtype)0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        assert_int_equal(gmm_oracle_promote(table[i][0], table[i][1]), table[i][2]);
        assert_int_equal(gmm_oracle_promote(table[i][1], table[i][0]), table[i][2]);
    }
}

static void random_specs(void **state)
{
    gmm_random seeded;

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t i = gmm_test_rounds(1500); i > 0; i--) {
        gmm_case_spec spec = gmm_case_random(&seeded, 1 << 10);
        char text[1024], report[4096];
        gmm_array_spec result;
        gmm_oracle oracle;
        gmm_case made;

        gmm_case_make(&made, &seeded, &spec);
        gmm_oracle_make_spec(&made.product, &oracle);
        if (gmm_result_spec(&made.product, &result) != GMM_OK)
            fail_msg("%s: %s", gmm_case_text(&spec, text, sizeof text), gmm_error_detail());
        if (result.dtype != oracle.dtype || result.ndim != oracle.ndim ||
            memcmp(result.shape, oracle.shape, (size_t)result.ndim * sizeof *result.shape))
            fail_msg("%s: another shape or type", gmm_case_text(&spec, text, sizeof text));

        /* gmm_explain accepts the same products, and keeps within its text */
        assert_int_equal(gmm_explain(NULL, &made.product, report, sizeof report), GMM_OK);
        assert_true(strlen(report) > 20);
        for (size_t size = 1; size < 40; size += 13) {
            char cut[64];
            memset(cut, 'x', sizeof cut);
            assert_int_equal(gmm_explain(NULL, &made.product, cut, size), GMM_OK);
            assert_int_equal(strlen(cut), size - 1);
            assert_memory_equal(cut, report, size - 1);
            assert_int_equal(cut[size], 'x');
        }
        gmm_case_free(&made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_shapes), cmocka_unit_test(quantized_shapes), cmocka_unit_test(types),
        cmocka_unit_test(promotion),    cmocka_unit_test(random_specs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
