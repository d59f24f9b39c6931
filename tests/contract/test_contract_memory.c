/* test_contract_memory.c - where operands and output lie does not matter; nothing beyond them is touched. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "cmocka_test.h"

static gmm_random seeded;

/* Products that read every kind of operand: one row, few rows, many rows. */
static gmm_case_spec spec_of(const gmm_weight_kind *kind, bool transpose)
{
    int64_t m = gmm_random_chance(&seeded, 50) ? 1 : gmm_random_between(&seeded, 2, 20);
    gmm_case_spec spec =
        gmm_case_plain(kind, transpose, m, gmm_random_between(&seeded, 1, 40), gmm_random_between(&seeded, 1, 70));

    spec.lhs_batch = (gmm_case_shape){1, {3}};
    spec.rhs_batch = (gmm_case_shape){1, {2}};
    spec.lhs_index = spec.rhs_index = (gmm_case_shape){1, {5}};
    spec.lhs_index_dtype = GMM_U32;
    spec.rhs_index_dtype = GMM_I64;
    return spec;
}

/* Put `moved` where `array` was; calling it with the array itself undoes that. */
static void replace(gmm_case *made, const gmm_built *array, gmm_array *moved)
{
    if (array == &made->lhs)
        made->product.lhs = moved;
    else if (array == &made->rhs && !made->spec.kind->mode)
        made->product.rhs = moved;
    else if (array == &made->rhs)
        made->quantized.w = moved;
    else if (array == &made->scales)
        made->quantized.scales = moved;
    else if (array == &made->biases)
        made->quantized.biases = moved;
    else if (array == &made->global_scale)
        made->quantized.global_scale = moved;
    else if (array == &made->lhs_indices)
        made->product.lhs_indices = moved;
    else
        made->product.rhs_indices = moved;
}

/* Run with out at an address, and compare. */
static void expect_at(gmm_case *made, gmm_guard_side side, size_t shift, const char *expected)
{
    gmm_built out;
    char *got, text[1024];

    gmm_built_place(&out, side, shift, made->spec.out_dtype, made->out.array.ndim, made->out.shape, NULL,
                    GMM_POISON_SIGNALLING_NAN);
    assert_int_equal(gmm_run(gmm_case_one_thread(), &made->product, &out.array), GMM_OK);
    got = gmm_built_collect(&out.array, NULL);
    if (memcmp(got, expected, gmm_case_bytes(made)) || !gmm_guarded_intact(&out.memory))
        fail_msg("%s: out at %zu from the page %s it", gmm_case_text(&made->spec, text, sizeof text), shift,
                 side == GMM_GUARD_BEFORE ? "before" : "after");
    free(got);
    gmm_built_free(&out);
}

static void every_alignment_of_every_array(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++)
        for (int transpose = 0; transpose < 2; transpose++) {
            if (!gmm_test_wanted(&seeded))
                continue;
            gmm_case_spec spec = spec_of(kind, transpose);
            gmm_built *arrays[GMM_CASE_MAX_ARRAYS];
            gmm_case made;
            char *expected;

            gmm_case_make(&made, &seeded, &spec);
            gmm_case_arrays(&made, arrays);
            expected = gmm_case_run(gmm_case_one_thread(), &made, GMM_POISON_ZERO);
            for (size_t shift = 0; shift < 64; shift++) {
                expect_at(&made, GMM_GUARD_BEFORE, shift, expected);
                for (int i = 1; arrays[i]; i++) {
                    gmm_built moved;
                    gmm_built_copy(&moved, arrays[i], GMM_GUARD_BEFORE, shift);
                    replace(&made, arrays[i], &moved.array);
                    gmm_case_expect(gmm_case_one_thread(), &made, GMM_POISON_QUIET_NAN, expected, "an operand moved");
                    replace(&made, arrays[i], &arrays[i]->array);
                    gmm_built_free(&moved);
                }
            }
            free(expected);
            gmm_case_free(&made);
        }
}

/* All arrays flush against a page that may not be touched, after and before. */
static void guard_pages_on_both_sides(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t round = gmm_test_rounds(12); round > 0; round--)
        for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++) {
            gmm_case_spec spec = spec_of(kind, gmm_random_chance(&seeded, 50));
            gmm_built *arrays[GMM_CASE_MAX_ARRAYS];
            gmm_case made;
            char *expected;

            spec.out_dtype = (gmm_dtype[]){GMM_F32, GMM_F16, GMM_BF16}[round % 3];
            gmm_case_make(&made, &seeded, &spec);
            gmm_case_arrays(&made, arrays);
            expected = gmm_case_run(gmm_case_one_thread(), &made, GMM_POISON_ZERO);
            for (int side = 0; side < 2; side++) {
                gmm_built moved[GMM_CASE_MAX_ARRAYS];
                for (int i = 1; arrays[i]; i++) {
                    gmm_built_copy(&moved[i], arrays[i], (gmm_guard_side)side, 0);
                    gmm_guarded_seal(&moved[i].memory);
                    replace(&made, arrays[i], &moved[i].array);
                }
                expect_at(&made, (gmm_guard_side)side, 0, expected);
                for (int i = 1; arrays[i]; i++)
                    gmm_built_free(&moved[i]);
            }
            free(expected);
            gmm_case_free(&made);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_alignment_of_every_array),
        cmocka_unit_test(guard_pages_on_both_sides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
