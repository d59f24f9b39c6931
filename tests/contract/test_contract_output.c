/* test_contract_output.c - a result does not depend on what the output or earlier calls held. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "cmocka_test.h"

static gmm_random seeded;

static void poisoned_outputs(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t i = gmm_test_rounds(400); i > 0; i--) {
        gmm_case_spec spec = gmm_case_random(&seeded, 1 << 15);
        gmm_case made;
        char *clean;

        gmm_case_make(&made, &seeded, &spec);
        clean = gmm_case_run(gmm_case_one_thread(), &made, GMM_POISON_ZERO);
        for (int poison = 0; poison < GMM_POISON_COUNT; poison++)
            gmm_case_expect(gmm_case_one_thread(), &made, (gmm_poison)poison, clean, "poisoned output");
        free(clean);
        gmm_case_free(&made);
    }
}

/* The call behind this library: one row, N = 512, K = 544, B at every byte offset, an output of NaN. */
static void one_row_off_alignment(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int transpose = 0; transpose < 2; transpose++) {
        gmm_case_spec spec = gmm_case_plain(gmm_weight_kinds, transpose, 1, 512, 544);
        gmm_case made;
        char *clean;

        gmm_case_make(&made, &seeded, &spec);
        gmm_case_check(NULL, &made);
        clean = gmm_case_run(gmm_case_one_thread(), &made, GMM_POISON_ZERO);
        for (size_t shift = 0; shift < 64; shift++) {
            gmm_built b;
            gmm_built_copy(&b, &made.rhs, GMM_GUARD_BEFORE, shift);
            made.product.rhs = &b.array;
            gmm_case_expect(gmm_case_one_thread(), &made, GMM_POISON_QUIET_NAN, clean, "B off alignment");
            gmm_case_expect(gmm_case_one_thread(), &made, GMM_POISON_SIGNALLING_NAN, clean, "B off alignment");
            gmm_built_free(&b);
        }
        free(clean);
        gmm_case_free(&made);
    }
}

/* A call whose operands are all NaN leaves them in scratch memory, registers and caches. */
static void after_calls_full_of_nan(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t i = gmm_test_rounds(150); i > 0; i--) {
        gmm_case_spec spec = gmm_case_random(&seeded, 1 << 16), laden_spec = gmm_case_random(&seeded, 1 << 16);
        gmm_case made, laden;
        char *clean;

        if (gmm_random_chance(&seeded, 50))
            laden_spec = spec;
        gmm_case_make(&made, &seeded, &spec);
        gmm_case_make(&laden, &seeded, &laden_spec);
        gmm_guarded_unseal(&laden.lhs.memory);
        gmm_poison_fill(laden.lhs.memory.data, laden.lhs.memory.size_bytes, laden_spec.lhs_dtype, GMM_POISON_ONES);
        if (!laden_spec.kind->mode) {
            gmm_guarded_unseal(&laden.rhs.memory);
            gmm_poison_fill(laden.rhs.memory.data, laden.rhs.memory.size_bytes, laden_spec.rhs_dtype, GMM_POISON_ONES);
        }
        clean = gmm_case_run(NULL, &made, GMM_POISON_ZERO);
        free(gmm_case_run(NULL, &laden, GMM_POISON_ONES));
        gmm_case_expect(NULL, &made, GMM_POISON_SIGNALLING_NAN, clean, "after a call full of NaN");
        free(clean);
        gmm_case_free(&made);
        gmm_case_free(&laden);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(poisoned_outputs),
        cmocka_unit_test(one_row_off_alignment),
        cmocka_unit_test(after_calls_full_of_nan),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
