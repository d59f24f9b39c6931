/* test_interpose_list.c - the list of functions for macOS has what the table of routines has and the guard watches,
 * each once. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "blas/routine.h"
#include "cmocka_test.h"

enum {
    IS_WORD,
    IS_NUMBER,
    IS_CBLAS_ONLY
};

#define WORD(name) {#name, IS_WORD},
#define NUMBER(name) {#name, IS_NUMBER},
#define CBLAS_ONLY(name) {#name, IS_CBLAS_ONLY},
static const struct {
    const char *name;
    int kind;
} functions[] = {
#include "guard/interpose_list.h"
};

static int kind_of(const gmm_blas_routine *routine)
{
    bool number = routine->sum == GMM_SUM_NRM2 || routine->sum == GMM_SUM_ASUM || routine->sum == GMM_SUM_DOT;

    return !routine->fortran_void ? IS_CBLAS_ONLY : number ? IS_NUMBER : IS_WORD;
}

static void same_functions(void **state)
{
    size_t count = 0;

    (void)state;
    for (size_t r = 0; gmm_blas_routine_at(r); r++) {
        const gmm_blas_routine *routine = gmm_blas_routine_at(r);
        if (routine->three_products || routine->complex_value)
            continue;
        for (const char *t = routine->types; *t; t++, count++) {
            char name[GMM_BLAS_NAME_BYTES];
            size_t found = 0;
            gmm_blas_routine_name(routine, *t, name);
            for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
                if (!strcmp(functions[i].name, name)) {
                    found++;
                    assert_int_equal(functions[i].kind, kind_of(routine));
                }
            if (found != 1)
                fail_msg("%s is in interpose_list.h %d times", name, (int)found);
        }
    }
    assert_int_equal(count, sizeof functions / sizeof functions[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_functions)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
