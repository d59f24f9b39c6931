/* test_contract_rows.c - a result does not depend on the other rows and columns, their order or grouping. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "cmocka_test.h"

enum {
    most_rows = 70
};

static gmm_random seeded;

static const gmm_dtype activations[] = {GMM_F32, GMM_F16, GMM_BF16};

/* A product of part of a case's operands. */
typedef struct part {
    gmm_product product;
    gmm_quantized quantized;
    gmm_array lhs, rhs, scales, biases, lhs_indices, rhs_indices;
    int64_t lhs_shape[3], rhs_shape[3], scales_shape[3], index_shape[1];
    int64_t rhs_strides[3], scales_strides[3];
} part;

static void part_of(const gmm_case *made, part *p)
{
    memset(p, 0, sizeof *p);
    p->product = made->product;
    p->lhs = *made->product.lhs;
    memcpy(p->lhs_shape, p->lhs.shape, (size_t)p->lhs.ndim * sizeof *p->lhs_shape);
    p->lhs.shape = p->lhs_shape;
    p->product.lhs = &p->lhs;
    p->rhs = made->rhs.array;
    memcpy(p->rhs_shape, made->rhs.shape, sizeof p->rhs_shape);
    memcpy(p->rhs_strides, made->rhs.strides, sizeof p->rhs_strides);
    p->rhs.shape = p->rhs_shape;
    p->rhs.strides = p->rhs_strides;
    if (!made->product.quantized) {
        p->product.rhs = &p->rhs;
        return;
    }
    p->quantized = made->quantized;
    p->quantized.w = &p->rhs;
    p->scales = made->scales.array;
    memcpy(p->scales_shape, made->scales.shape, sizeof p->scales_shape);
    memcpy(p->scales_strides, made->scales.strides, sizeof p->scales_strides);
    p->scales.shape = p->scales_shape;
    p->scales.strides = p->scales_strides;
    p->quantized.scales = &p->scales;
    if (made->quantized.biases) {
        p->biases = made->biases.array;
        p->biases.shape = p->scales_shape;
        p->biases.strides = p->scales_strides;
        p->quantized.biases = &p->biases;
    }
    p->product.quantized = &p->quantized;
}

/* Run a part with an output of its own and compare with `expected`, whose element (i, j) lies at i * expected_row + j.
 */
static void expect_part(const gmm_case *made, const part *p, const char *expected, int64_t expected_row,
                        const char *what)
{
    gmm_array_spec spec;
    gmm_built out;
    char *got, text[1024];
    size_t bytes = gmm_built_element_bytes(made->spec.out_dtype);

    assert_int_equal(gmm_result_spec(&p->product, &spec), GMM_OK);
    gmm_built_place(&out, GMM_GUARD_AFTER, 0, made->spec.out_dtype, spec.ndim, spec.shape, NULL, GMM_POISON_QUIET_NAN);
    assert_int_equal(gmm_run(gmm_case_one_thread(), &p->product, &out.array), GMM_OK);
    got = gmm_built_collect(&out.array, NULL);
    int64_t columns = spec.shape[spec.ndim - 1], rows = columns ? gmm_built_count(&out.array) / columns : 0;
    for (int64_t i = 0; i < rows; i++)
        if (memcmp(got + (size_t)(i * columns) * bytes, expected + (size_t)(i * expected_row) * bytes,
                   (size_t)columns * bytes))
            fail_msg("%s: %s: other bits in row %d of %d", what, gmm_case_text(&made->spec, text, sizeof text), (int)i,
                     (int)rows);
    free(got);
    gmm_built_free(&out);
}

static gmm_case_spec typed(gmm_case_spec spec)
{
    spec.lhs_dtype = activations[gmm_random_between(&seeded, 0, 2)];
    spec.out_dtype = gmm_random_chance(&seeded, 60) ? GMM_F32 : activations[gmm_random_between(&seeded, 0, 2)];
    return spec;
}

/* Mostly small; sometimes so deep that no loop takes it in one piece. */
static int64_t any_depth(void)
{
    return gmm_random_chance(&seeded, 15) ? gmm_random_between(&seeded, 1000, 2900)
                                          : gmm_random_between(&seeded, 1, 150);
}

/* Rows [first, first + count) of one matrix against all of them: every count from 1 to 70. */
static void some_rows_of_a_matrix(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++)
        for (int transpose = 0; transpose < 2; transpose++) {
            if (!gmm_test_wanted(&seeded))
                continue;
            gmm_case_spec spec =
                typed(gmm_case_plain(kind, transpose, most_rows, gmm_random_between(&seeded, 1, 70), any_depth()));
            gmm_case made;
            char *whole;
            part p;

            gmm_case_make(&made, &seeded, &spec);
            whole = gmm_case_run(NULL, &made, GMM_POISON_ZERO);
            part_of(&made, &p);
            for (int64_t count = 1; count <= most_rows; count++) {
                int64_t first = gmm_random_between(&seeded, 0, most_rows - count);
                size_t out_row_bytes = (size_t)spec.n * gmm_built_element_bytes(spec.out_dtype);
                p.lhs_shape[0] = count;
                p.lhs.byte_offset = (uint64_t)(first * spec.k) * gmm_built_element_bytes(spec.lhs_dtype);
                expect_part(&made, &p, whole + (size_t)first * out_row_bytes, spec.n, "some rows of a matrix");
            }
            free(whole);
            gmm_case_free(&made);
        }
}

/* A row beside other rows of its expert, in any group, in any order, alone. Row r meets the expert that the case gave
 * it. */
static void rows_in_other_groups(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++)
        for (int transpose = 0; transpose < 2; transpose++) {
            if (!gmm_test_wanted(&seeded))
                continue;
            gmm_case_spec spec = typed(gmm_case_experts(kind, transpose, most_rows, gmm_random_between(&seeded, 1, 6),
                                                        1, gmm_random_between(&seeded, 1, 50), any_depth()));
            int32_t lhs_indices[most_rows], rhs_indices[most_rows];
            size_t row_bytes = (size_t)spec.n * gmm_built_element_bytes(spec.out_dtype);
            char *whole, *expected;
            gmm_case made;
            part p;

            gmm_case_make(&made, &seeded, &spec);
            whole = gmm_case_run(NULL, &made, GMM_POISON_ZERO);
            expected = malloc(row_bytes * most_rows + 1);
            assert_non_null(expected);
            part_of(&made, &p);
            p.lhs_indices = (gmm_array){lhs_indices, GMM_I32, 1, p.index_shape, NULL, 0};
            p.rhs_indices = (gmm_array){rhs_indices, GMM_I32, 1, p.index_shape, NULL, 0};
            p.product.lhs_indices = &p.lhs_indices;
            p.product.rhs_indices = &p.rhs_indices;
            for (int64_t count = 1; count <= most_rows; count++) {
                p.index_shape[0] = count;
                for (int64_t i = 0; i < count; i++) {
                    int64_t row = gmm_random_between(&seeded, 0, most_rows - 1);
                    lhs_indices[i] = (int32_t)row;
                    memcpy(&rhs_indices[i], made.rhs_indices.memory.data + (size_t)row * 4, 4);
                    memcpy(expected + (size_t)i * row_bytes, whole + (size_t)row * row_bytes, row_bytes);
                }
                p.product.sorted_indices = gmm_random_chance(&seeded, 50);
                expect_part(&made, &p, expected, spec.n, "rows in other groups");
            }
            free(whole);
            free(expected);
            gmm_case_free(&made);
        }
}

/* NaN of both signs with payloads among the activations and dense weights: which NaN comes out must not depend on the
 * path either. */
static void some_rows_with_nan(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t round = gmm_test_rounds(60); round > 0; round--) {
        const gmm_weight_kind *kind = &gmm_weight_kinds[gmm_random_between(&seeded, 0, 24)];
        gmm_case_spec spec = gmm_case_plain(kind, gmm_random_chance(&seeded, 50), most_rows,
                                            gmm_random_between(&seeded, 1, 40), gmm_random_between(&seeded, 1, 70));
        gmm_case made;
        char *whole;
        part p;

        gmm_case_make(&made, &seeded, &spec);
        gmm_guarded_unseal(&made.lhs.memory);
        gmm_guarded_unseal(&made.rhs.memory);
        for (int64_t i = gmm_random_between(&seeded, 1, 40); i > 0; i--) {
            uint64_t nan = (gmm_random_bits(&seeded) & 0x807FFFFF) | 0x7F800001;
            gmm_built_put_bits(&made.lhs.array, gmm_random_between(&seeded, 0, most_rows * spec.k - 1), nan);
            if (kind->dtype == GMM_F32 && !kind->mode)
                gmm_built_put_bits(&made.rhs.array, gmm_random_between(&seeded, 0, spec.n * spec.k - 1),
                                   nan ^ 0x80000000u);
        }
        whole = gmm_case_run(NULL, &made, GMM_POISON_ZERO);
        part_of(&made, &p);
        for (int64_t row = 0; row < most_rows; row++) {
            p.lhs_shape[0] = 1;
            p.lhs.byte_offset = (uint64_t)(row * spec.k) * sizeof(float);
            expect_part(&made, &p, whole + (size_t)(row * spec.n) * sizeof(float), spec.n, "a row with NaN");
        }
        free(whole);
        gmm_case_free(&made);
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return (left > right) - (left < right);
}

/* sorted_indices, told truly or not, with repeated, sorted, constant and random indices: not a bit. */
static void the_hint_changes_nothing(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t round = gmm_test_rounds(4); round > 0; round--)
        for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++) {
            if (!gmm_test_wanted(&seeded))
                continue;
            int64_t rows = gmm_random_between(&seeded, 1, 60);
            gmm_case_spec spec =
                typed(gmm_case_experts(kind, gmm_random_chance(&seeded, 50), rows, 5,
                                       gmm_random_chance(&seeded, 70) ? 1 : 3, gmm_random_between(&seeded, 1, 40), 64));
            gmm_case made;
            char *plain;

            spec.pattern = (gmm_index_pattern)gmm_random_between(&seeded, 0, GMM_INDEX_PATTERN_COUNT - 1);
            gmm_case_make(&made, &seeded, &spec);
            if (gmm_random_chance(&seeded, 50)) {
                gmm_guarded_unseal(&made.rhs_indices.memory);
                qsort(made.rhs_indices.memory.data, (size_t)rows, sizeof(uint32_t), by_value);
            }
            gmm_case_check(gmm_case_one_thread(), &made);
            plain = gmm_case_run(gmm_case_one_thread(), &made, GMM_POISON_ZERO);
            made.product.sorted_indices = true;
            gmm_case_expect(gmm_case_one_thread(), &made, GMM_POISON_QUIET_NAN, plain, "with the hint");
            gmm_case_expect(NULL, &made, GMM_POISON_QUIET_NAN, plain, "with the hint, threads");
            free(plain);
            gmm_case_free(&made);
        }
}

/* Columns [first, first + count) of the right-hand sides. */
static void some_columns(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++)
        for (int transpose = 0; transpose < 2; transpose++)
            for (int64_t round = gmm_test_rounds(10); round > 0; round--) {
                if (!gmm_test_wanted(&seeded))
                    continue;
                int64_t m = gmm_random_chance(&seeded, 40) ? 1 : gmm_random_between(&seeded, 2, 40);
                gmm_case_spec spec = typed(gmm_case_plain(kind, transpose, m, gmm_random_between(&seeded, 2, 300), 96));
                int64_t unit = kind->mode && !transpose ? kind->group_size : 1;
                int64_t count = gmm_random_between(&seeded, 1, spec.n / unit);
                int64_t first = gmm_random_between(&seeded, 0, spec.n / unit - count);
                size_t bytes = gmm_built_element_bytes(spec.out_dtype);
                gmm_case made;
                char *whole;
                part p;

                gmm_case_make(&made, &seeded, &spec);
                whole = gmm_case_run(NULL, &made, GMM_POISON_ZERO);
                part_of(&made, &p);
                if (!kind->mode) {
                    p.rhs_shape[1] = count;
                    p.rhs.byte_offset = (uint64_t)(first * p.rhs_strides[1]) * gmm_built_element_bytes(p.rhs.dtype);
                } else {
                    int axis = transpose ? 0 : 1;
                    int64_t words = transpose ? 1 : kind->group_size * kind->bits / 32;
                    p.rhs_shape[axis] = count * words;
                    p.rhs.byte_offset = (uint64_t)(first * words * p.rhs_strides[axis]) * 4;
                    p.scales_shape[axis] = count;
                    p.scales.byte_offset =
                        (uint64_t)(first * p.scales_strides[axis]) * gmm_built_element_bytes(p.scales.dtype);
                    p.biases.byte_offset = p.scales.byte_offset;
                }
                expect_part(&made, &p, whole + (size_t)(first * unit) * bytes, spec.n, "some columns");
                free(whole);
                gmm_case_free(&made);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(some_rows_of_a_matrix), cmocka_unit_test(some_rows_with_nan),
        cmocka_unit_test(rows_in_other_groups),  cmocka_unit_test(the_hint_changes_nothing),
        cmocka_unit_test(some_columns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
