/* test_contract_sums.c - one sum in one order: quantized as dequantized, AVX2 as AVX-512, views as copies. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "cmocka_test.h"
#include "oracle.h"

static gmm_random seeded;

/* The quantized product and the dense one of the decoded f32 weights, bit for bit; tiles have orders of their own. */
static void quantized_is_dense_of_dequantized(void **state)
{
    const gmm_context_options no_tiles = {.size = sizeof no_tiles, .cpu_mask = "avx512bf16"};
    gmm_context *context;

    (void)state;
    gmm_random_start(&seeded, __func__);
    assert_int_equal(gmm_context_create(&no_tiles, &context), GMM_OK);
    for (int64_t round = gmm_test_rounds(8); round > 0; round--)
        for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++) {
            static const gmm_dtype lhs_dtypes[] = {GMM_F32, GMM_F16, GMM_BF16};
            bool transpose = round % 2 != 0;
            gmm_case_spec spec;
            gmm_array_spec decoded_spec;
            gmm_product dense;
            gmm_built decoded;
            gmm_array swapped;
            int64_t shape[GMM_MAX_NDIM], strides[GMM_MAX_NDIM];
            gmm_case made;
            char *expected;

            if (!kind->mode)
                continue;
            spec = gmm_case_experts(kind, transpose, gmm_random_between(&seeded, 1, 40), 3,
                                    gmm_random_chance(&seeded, 60) ? 1 : gmm_random_between(&seeded, 2, 30),
                                    gmm_random_between(&seeded, 1, 70),
                                    gmm_random_chance(&seeded, 10) ? 2200 : gmm_random_between(&seeded, 1, 300));
            spec.lhs_dtype = lhs_dtypes[gmm_random_between(&seeded, 0, 2)];
            spec.layout = gmm_random_chance(&seeded, 50) ? GMM_LAYOUT_PLAIN : GMM_LAYOUT_ANY;
            gmm_case_make(&made, &seeded, &spec);
            expected = gmm_case_run(spec.lhs_dtype == GMM_F32 ? NULL : context, &made, GMM_POISON_ZERO);

            assert_int_equal(gmm_dequantize_spec(&made.quantized, &decoded_spec), GMM_OK);
            gmm_built_place(&decoded, GMM_GUARD_AFTER, 0, GMM_F32, decoded_spec.ndim, decoded_spec.shape, NULL,
                            GMM_POISON_QUIET_NAN);
            assert_int_equal(gmm_dequantize(NULL, &made.quantized, &decoded.array), GMM_OK);
            swapped = decoded.array;
            if (transpose) {
                int32_t last = decoded_spec.ndim - 1;
                memcpy(shape, decoded.shape, sizeof shape);
                memcpy(strides, decoded.strides, sizeof strides);
                shape[last] = decoded.shape[last - 1];
                shape[last - 1] = decoded.shape[last];
                strides[last] = decoded.strides[last - 1];
                strides[last - 1] = decoded.strides[last];
                swapped.shape = shape;
                swapped.strides = strides;
            }
            dense = made.product;
            dense.quantized = NULL;
            dense.rhs = &swapped;
            dense.transpose = false;
            made.product = dense;
            gmm_case_expect(context, &made, GMM_POISON_QUIET_NAN, expected, "dense product of dequantized weights");
            free(expected);
            gmm_built_free(&decoded);
            gmm_case_free(&made);
        }
    gmm_context_destroy(context);
}

/* Both use fused multiply-adds in the same order, so a machine without AVX-512 gives the bits of one with it. Tiles
 * have an order of their own. */
static void avx2_is_avx512(void **state)
{
    const gmm_context_options options = {.size = sizeof options, .cpu_mask = "avx512"};
    const gmm_context_options no_tiles = {.size = sizeof no_tiles, .threads = 1, .cpu_mask = "avx512bf16"};
    gmm_context *without, *with;

    (void)state;
    gmm_random_start(&seeded, __func__);
    assert_int_equal(gmm_context_create(&options, &without), GMM_OK);
    assert_int_equal(gmm_context_create(&no_tiles, &with), GMM_OK);
    for (int64_t round = gmm_test_rounds(500); round > 0; round--) {
        gmm_case_spec spec = gmm_case_random(&seeded, 1 << 16);
        gmm_case made;
        char *expected;

        gmm_case_make(&made, &seeded, &spec);
        expected = gmm_case_run(with, &made, GMM_POISON_ZERO);
        gmm_case_expect(without, &made, GMM_POISON_QUIET_NAN, expected, "without AVX-512");
        free(expected);
        gmm_case_free(&made);
    }
    gmm_context_destroy(without);
    gmm_context_destroy(with);
}

/* Strides of the lhs and of the output, gaps and copies of the operands are no part of the sum; those of a dense rhs
 * choose its layout. */
static void copies_of_operands(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t round = gmm_test_rounds(500); round > 0; round--) {
        gmm_case_spec spec = gmm_case_random(&seeded, 1 << 15);
        gmm_built *arrays[GMM_CASE_MAX_ARRAYS], copies[GMM_CASE_MAX_ARRAYS];
        gmm_case made;
        char *expected;

        gmm_case_make(&made, &seeded, &spec);
        gmm_case_arrays(&made, arrays);
        expected = gmm_case_run(gmm_case_one_thread(), &made, GMM_POISON_ZERO);
        for (int i = 1; arrays[i]; i++) {
            const gmm_array *from = &arrays[i]->array;
            gmm_built_place(&copies[i], GMM_GUARD_AFTER, 0, from->dtype, from->ndim, from->shape, NULL,
                            GMM_POISON_ZERO);
            for (int64_t at = 0, count = gmm_built_count(from); at < count; at++)
                gmm_built_put_bits(&copies[i].array, at, gmm_oracle_bits(from, at));
            if (arrays[i] == &made.lhs)
                made.product.lhs = &copies[i].array;
            if (arrays[i] == &made.rhs && spec.kind->mode)
                made.quantized.w = &copies[i].array;
            if (arrays[i] == &made.scales)
                made.quantized.scales = &copies[i].array;
            if (arrays[i] == &made.biases)
                made.quantized.biases = &copies[i].array;
            if (arrays[i] == &made.lhs_indices)
                made.product.lhs_indices = &copies[i].array;
            if (arrays[i] == &made.rhs_indices)
                made.product.rhs_indices = &copies[i].array;
        }
        gmm_case_expect(gmm_case_one_thread(), &made, GMM_POISON_QUIET_NAN, expected, "row-major copies");
        for (int i = 1; arrays[i]; i++)
            gmm_built_free(&copies[i]);
        free(expected);
        gmm_case_free(&made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantized_is_dense_of_dequantized),
        cmocka_unit_test(avx2_is_avx512),
        cmocka_unit_test(copies_of_operands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
