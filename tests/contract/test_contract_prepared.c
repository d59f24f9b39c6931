/* test_contract_prepared.c - prepared weights give the bits of raw ones: every format, shape and type. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "cmocka_test.h"
#include "gathermm/prepared.h"
#include "temp_folder.h"

static gmm_random seeded;

static const gmm_dtype activations[] = {GMM_F32, GMM_F16, GMM_BF16};

static gmm_prepared *prepare(const gmm_context *context, const gmm_case *made)
{
    const gmm_product *product = &made->product;
    gmm_prepared *prepared = NULL;
    char text[1024];
    gmm_status status = gmm_prepare(context, product->rhs, product->quantized, product->transpose, &prepared);

    if (status != GMM_OK)
        fail_msg("%s: status %d, %s", gmm_case_text(&made->spec, text, sizeof text), (int)status, gmm_error_detail());
    return prepared;
}

/* The spec of the result is the same too. */
static void use(gmm_case *made, const gmm_prepared *prepared)
{
    gmm_array_spec raw, ours;

    memset(&raw, 0, sizeof raw);
    memset(&ours, 0, sizeof ours);
    assert_int_equal(gmm_result_spec(&made->product, &raw), GMM_OK);
    made->product.rhs = NULL;
    made->product.quantized = NULL;
    made->product.transpose = false;
    made->product.prepared = prepared;
    assert_int_equal(gmm_result_spec(&made->product, &ours), GMM_OK);
    assert_int_equal(raw.dtype, ours.dtype);
    assert_int_equal(raw.ndim, ours.ndim);
    assert_memory_equal(raw.shape, ours.shape, (size_t)raw.ndim * sizeof *raw.shape);
}

/* Raw, prepared, and prepared weights that were in a file. */
static void expect_same(const gmm_context *context, const gmm_case_spec *spec, bool in_file)
{
    gmm_case made;
    gmm_prepared *prepared, *mapped = NULL;

    gmm_case_make(&made, &seeded, spec);
    char *expected = gmm_case_run(context, &made, GMM_POISON_ZERO);
    prepared = prepare(context, &made);
    use(&made, prepared);
    gmm_case_expect(context, &made, GMM_POISON_QUIET_NAN, expected, "prepared");
    gmm_case_expect(gmm_case_one_thread(), &made, GMM_POISON_ONES, expected, "prepared, one thread");
    if (in_file) {
        const char *path = gmm_temp_path("prepared");
        if (gmm_prepared_save(prepared, path) != GMM_OK || gmm_prepared_open(path, &mapped) != GMM_OK ||
            gmm_prepared_verify(mapped) != GMM_OK)
            fail_msg("%s", gmm_error_detail());
        assert_int_equal(gmm_prepared_bytes(mapped), gmm_prepared_bytes(prepared));
        made.product.prepared = mapped;
        gmm_case_expect(context, &made, GMM_POISON_QUIET_NAN, expected, "prepared, from a file");
        gmm_prepared_free(mapped);
    }
    gmm_prepared_free(prepared);
    free(expected);
    gmm_case_free(&made);
}

static gmm_case_spec typed(gmm_case_spec spec)
{
    spec.lhs_dtype = activations[gmm_random_between(&seeded, 0, 2)];
    spec.out_dtype = gmm_random_chance(&seeded, 60) ? GMM_F32 : activations[gmm_random_between(&seeded, 0, 2)];
    return spec;
}

/* Experts with few and with many rows; depths about the edges of classes and blocks. */
static void experts_of_every_kind(void **state)
{
    static const int64_t depths[] = {1, 15, 16, 17, 100, 127, 129, 255, 257, 544, 2047, 2049, 4100};

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++)
        for (int transpose = 0; transpose < 2; transpose++)
            for (size_t d = 0; d < sizeof depths / sizeof depths[0]; d++) {
                if (!gmm_test_wanted(&seeded) || (kind->mode && d % 3))
                    continue;
                int64_t experts = gmm_random_between(&seeded, 1, 4), rows = gmm_random_between(&seeded, 1, 40);
                gmm_case_spec spec =
                    typed(gmm_case_experts(kind, transpose, rows, experts, gmm_random_between(&seeded, 1, 3),
                                           gmm_random_between(&seeded, 1, 100), depths[d]));
                expect_same(d % 2 ? gmm_case_one_thread() : NULL, &spec, d % 4 == 0);
            }
}

/* One matrix and every number of rows up to some tiles. */
static void every_number_of_rows(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t m = 1; m <= 70; m++)
        for (size_t k = 0; k < 4; k++) {
            const gmm_weight_kind *kind = &gmm_weight_kinds[k < 3 ? k : (size_t)gmm_random_between(&seeded, 3, 24)];
            if (!gmm_test_wanted(&seeded))
                continue;
            gmm_case_spec spec =
                typed(gmm_case_plain(kind, gmm_random_chance(&seeded, 70), m, gmm_random_between(&seeded, 1, 70),
                                     gmm_random_between(&seeded, 1, 400)));
            expect_same(gmm_case_one_thread(), &spec, false);
        }
}

/* Any strides, types (integers too), batch dimensions, index arrays, vectors, empty operands. */
static void any_product(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t round = gmm_test_rounds(700); round > 0; round--) {
        gmm_case_spec spec = gmm_case_random(&seeded, 200000);
        expect_same(round % 4 ? gmm_case_one_thread() : NULL, &spec, round % 8 == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(experts_of_every_kind),
        cmocka_unit_test(every_number_of_rows),
        cmocka_unit_test(any_product),
    };
    return cmocka_run_group_tests(tests, gmm_temp_folder_make, gmm_temp_folder_remove);
}
