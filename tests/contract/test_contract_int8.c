/* test_contract_int8.c - int8 sums: which products have them, the same bits on every CPU and for every row, their
 * error, who asks. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "cmocka_test.h"
#include "oracle.h"

static gmm_random seeded;

static gmm_context *context_of(gmm_arithmetic arithmetic, const char *cpu_mask)
{
    gmm_context *context = NULL;
    const gmm_context_options options = {.size = sizeof options, .cpu_mask = cpu_mask, .arithmetic = arithmetic};

    assert_int_equal(gmm_context_create(&options, &context), GMM_OK);
    return context;
}

static bool has_int8(const gmm_case_spec *spec)
{
    return spec->kind->mode && strcmp(spec->kind->mode, "mxfp8") != 0 && spec->transpose;
}

/* Results that no rounding to a shorter type makes alike. */
static gmm_case_spec spec_of(const gmm_weight_kind *kind, bool transpose)
{
    return gmm_case_experts(kind, transpose, gmm_random_between(&seeded, 1, 40), gmm_random_between(&seeded, 1, 5), 1,
                            gmm_random_between(&seeded, 1, 70), gmm_random_between(&seeded, 1, 1500));
}

static void the_same_bits_on_every_cpu(void **state)
{
    static const char *const masks[] = {NULL, "avx512vnni", "avx512", "all"};
    gmm_context *contexts[4];

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int i = 0; i < 4; i++)
        contexts[i] = context_of(GMM_ARITHMETIC_INT8, masks[i]);
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++)
        for (int64_t round = gmm_test_rounds(6); round > 0; round--) {
            gmm_case_spec spec = spec_of(kind, true);
            gmm_case made;

            if (!has_int8(&spec))
                continue;
            spec.layout = round % 2 ? GMM_LAYOUT_ANY : GMM_LAYOUT_PLAIN;
            gmm_case_make(&made, &seeded, &spec);
            char *expected = gmm_case_run(contexts[0], &made, GMM_POISON_ZERO);
            for (int i = 1; i < 4; i++)
                gmm_case_expect(contexts[i], &made, GMM_POISON_QUIET_NAN, expected, masks[i]);
            free(expected);
            gmm_case_free(&made);
        }
    for (int i = 0; i < 4; i++)
        gmm_context_destroy(contexts[i]);
}

/* All others give the bits of f32, and say so. */
static void products_without_int8_sums(void **state)
{
    gmm_context *f32 = context_of(GMM_ARITHMETIC_F32, NULL), *int8 = context_of(GMM_ARITHMETIC_INT8, NULL);

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++)
        for (int transpose = 0; transpose < 2; transpose++) {
            gmm_case_spec spec = spec_of(kind, transpose);
            gmm_case made;
            char text[1024];

            gmm_case_make(&made, &seeded, &spec);
            char *expected = gmm_case_run(f32, &made, GMM_POISON_ZERO);
            if (!has_int8(&spec))
                gmm_case_expect(int8, &made, GMM_POISON_QUIET_NAN, expected, "int8 asked for");
            assert_int_equal(gmm_explain(int8, &made.product, text, sizeof text), GMM_OK);
            assert_non_null(strstr(text, has_int8(&spec) ? "arithmetic: int8, rows of lhs rounded in groups of"
                                                         : "arithmetic: f32"));
            assert_true(!strstr(text, "; int8 is for affine, mxfp4 and nvfp4 weights") == has_int8(&spec));
            assert_true(!strstr(text, "kernels: int8_") == !has_int8(&spec));
            assert_int_equal(gmm_explain(f32, &made.product, text, sizeof text), GMM_OK);
            assert_non_null(strstr(text, "arithmetic: f32"));
            assert_null(strstr(text, "int8"));
            free(expected);
            gmm_case_free(&made);
        }
    gmm_context_destroy(f32);
    gmm_context_destroy(int8);
}

/* Element `flat` of an f32 array. */
static double element(const gmm_array *array, int64_t flat)
{
    float value;

    memcpy(&value, gmm_oracle_address(array, flat), sizeof value);
    return (double)value;
}

/* Every element of a product of one matrix is as near to the exact one as gathermm.h says: the rounding of x, then what
 * the oracle allows f32 sums of K terms, which are more than there are. */
static void within_the_bound(void **state)
{
    gmm_context *int8 = context_of(GMM_ARITHMETIC_INT8, NULL);

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++) {
        gmm_case_spec spec = gmm_case_plain(kind, true, gmm_random_between(&seeded, 1, 20),
                                            gmm_random_between(&seeded, 1, 20), gmm_random_between(&seeded, 1, 600));
        gmm_case made;
        gmm_oracle oracle;
        char text[256];

        if (!has_int8(&spec))
            continue;
        gmm_case_make(&made, &seeded, &spec);
        gmm_oracle_make(&made.product, &oracle);
        for (int64_t i = 0; i < oracle.count; i++)
            for (int64_t k = 0; k < spec.k; k += kind->group_size) {
                double most = 0, weights = 0;
                for (int64_t j = k; j < k + kind->group_size; j++) {
                    most = fmax(most, fabs(element(&made.lhs.array, i / spec.n * spec.k + j)));
                    weights += fabs(gmm_oracle_weight(&made.quantized, 0, i % spec.n, j, NULL));
                }
                oracle.bound[i] += most * (1.0 / 254 + 0x1p-22) * weights;
            }
        free(gmm_case_run(int8, &made, GMM_POISON_QUIET_NAN));
        if (!gmm_oracle_check(&oracle, &made.out.array, text, sizeof text))
            fail_msg("%s: %s", kind->name, text);
        gmm_oracle_free(&oracle);
        gmm_case_free(&made);
    }
    gmm_context_destroy(int8);
}

/* A NaN or an infinity gives NaN in its own row, and leaves the others alone. */
static void what_is_not_finite(void **state)
{
    static const uint32_t bits[] = {0x7fc00000, 0xffc12345, 0x7f800001, 0x7f800000, 0xff800000};
    gmm_context *int8 = context_of(GMM_ARITHMETIC_INT8, NULL);

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++)
        for (int b = 0; b < 5; b++) {
            gmm_case_spec spec =
                gmm_case_plain(kind, true, gmm_random_between(&seeded, 1, 15), gmm_random_between(&seeded, 1, 40),
                               gmm_random_between(&seeded, 1, 300));
            int64_t row = gmm_random_between(&seeded, 0, spec.m - 1);
            gmm_case made;

            if (!has_int8(&spec))
                continue;
            gmm_case_make(&made, &seeded, &spec);
            char *before = gmm_case_run(int8, &made, GMM_POISON_ZERO);
            gmm_guarded_unseal(&made.lhs.memory);
            gmm_built_put_bits(&made.lhs.array, row * spec.k + gmm_random_between(&seeded, 0, spec.k - 1), bits[b]);
            char *after = gmm_case_run(int8, &made, GMM_POISON_ZERO);
            for (int64_t i = 0; i < spec.m * spec.n; i++) {
                uint32_t got;
                memcpy(&got, after + i * 4, sizeof got);
                if (i / spec.n == row)
                    assert_int_equal(got, 0x7fc00000);
                else
                    assert_memory_equal(&got, before + i * 4, sizeof got);
            }
            free(before);
            free(after);
            gmm_case_free(&made);
        }
    gmm_context_destroy(int8);
}

/* Rows that indices name again and again give what each product gives alone, where they are used once. */
static void rows_used_again(void **state)
{
    gmm_context *int8 = context_of(GMM_ARITHMETIC_INT8, NULL);

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++) {
        int64_t products = gmm_random_between(&seeded, 6, 40), one = 1;
        gmm_case_spec spec = gmm_case_experts(kind, true, products, 3, gmm_random_between(&seeded, 1, 3),
                                              gmm_random_between(&seeded, 1, 70), gmm_random_between(&seeded, 1, 1500));
        gmm_case made;

        if (!has_int8(&spec))
            continue;
        spec.lhs_batch.size[0] = 5;
        spec.lhs_index = spec.rhs_index;
        spec.lhs_index_dtype = GMM_U32;
        gmm_case_make(&made, &seeded, &spec);
        char *expected = gmm_case_run(int8, &made, GMM_POISON_ZERO);
        size_t bytes = (size_t)(spec.m * spec.n) * sizeof(float);
        float *got = malloc(bytes);
        const int64_t x_shape[] = {spec.m, spec.k}, out_shape[] = {1, spec.m, spec.n};
        for (int64_t p = 0; p < products; p++) {
            gmm_product alone = made.product;
            gmm_array x = made.lhs.array, index = made.rhs_indices.array;
            gmm_array out = {.data = got, .dtype = GMM_F32, .ndim = 3, .shape = out_shape};
            uint32_t row;
            memcpy(&row, gmm_oracle_address(&made.lhs_indices.array, p), sizeof row);
            x = (gmm_array){
                .data = gmm_oracle_address(&x, row * spec.m * spec.k), .dtype = GMM_F32, .ndim = 2, .shape = x_shape};
            index = (gmm_array){.data = gmm_oracle_address(&index, p), .dtype = GMM_U32, .ndim = 1, .shape = &one};
            alone.lhs = &x;
            alone.lhs_indices = NULL;
            alone.rhs_indices = &index;
            assert_int_equal(gmm_run(int8, &alone, &out), GMM_OK);
            assert_memory_equal(got, expected + (size_t)p * bytes, bytes);
        }
        free(got);
        free(expected);
        gmm_case_free(&made);
    }
    gmm_context_destroy(int8);
}

static void options(void **state)
{
    gmm_context *context = NULL;
    gmm_context_options wanted = {.size = sizeof wanted, .arithmetic = (gmm_arithmetic)3};

    (void)state;
    assert_int_equal(gmm_context_create(&wanted, &context), GMM_ERR_ARGUMENT);
    assert_string_equal(gmm_error_detail(), "arithmetic is 3; it may be 0 (default), 1 (f32) or 2 (int8)");
    assert_null(context);
    wanted.size = offsetof(gmm_context_options, arithmetic); /* as it was before there was such a member */
    assert_int_equal(gmm_context_create(&wanted, &context), GMM_OK);
    gmm_context_destroy(context);
    for (gmm_arithmetic arithmetic = GMM_ARITHMETIC_DEFAULT; arithmetic <= GMM_ARITHMETIC_INT8; arithmetic++)
        gmm_context_destroy(context_of(arithmetic, NULL));
    wanted.size = sizeof wanted - 1;
    context = NULL;
    assert_int_equal(gmm_context_create(&wanted, &context), GMM_ERR_ARGUMENT);
    assert_null(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bits_on_every_cpu),
        cmocka_unit_test(products_without_int8_sums),
        cmocka_unit_test(within_the_bound),
        cmocka_unit_test(what_is_not_finite),
        cmocka_unit_test(rows_used_again),
        cmocka_unit_test(options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
