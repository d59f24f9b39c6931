/* test_contract_threads.c - threads, who runs them, and calls at the same time do not matter. */
/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "cmocka_test.h"
#include "host_loops.h"

static gmm_random seeded;

static gmm_context *context_of(gmm_context_options options)
{
    gmm_context *context = NULL;

    options.size = sizeof options;
    options.arithmetic = gmm_case_arithmetic();
    assert_int_equal(gmm_context_create(&options, &context), GMM_OK);
    return context;
}

/* Large enough that work is shared: many small products, few large ones, one row times a wide matrix. */
static gmm_case_spec spec_of(const gmm_weight_kind *kind, int shape)
{
    bool transpose = gmm_random_chance(&seeded, 50);

    if (shape == 0)
        return gmm_case_experts(kind, transpose, gmm_random_between(&seeded, 40, 90), 7, 1, 160, 256);
    if (shape == 1)
        return gmm_case_experts(kind, transpose, 2, 2, gmm_random_between(&seeded, 60, 130), 192, 160);
    return gmm_case_plain(kind, transpose, 1, gmm_random_between(&seeded, 3000, 4500), 200);
}

static void one_to_eight_threads_and_hosts(void **state)
{
    gmm_context *contexts[11];
    int64_t host_calls = 0;

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int threads = 1; threads <= 8; threads++)
        contexts[threads - 1] = context_of((gmm_context_options){.threads = threads});
    contexts[8] = context_of((gmm_context_options){.parallel_for = gmm_loop_reversed});
    contexts[9] = context_of((gmm_context_options){.threads = 5, .parallel_for = gmm_loop_reversed});
    contexts[10] = context_of(
        (gmm_context_options){.threads = 3, .parallel_for = gmm_loop_three_threads, .parallel_for_user = &host_calls});
    for (const gmm_weight_kind *kind = gmm_weight_kinds; kind->name; kind++)
        for (int shape = 0; shape < 3; shape++) {
            if (kind != gmm_weight_kinds && !gmm_test_wanted(&seeded))
                continue;
            gmm_case_spec spec = spec_of(kind, shape);
            gmm_case made;
            char *expected, what[64];

            gmm_case_make(&made, &seeded, &spec);
            expected = gmm_case_run(contexts[0], &made, GMM_POISON_ZERO);
            for (size_t i = 1; i < sizeof contexts / sizeof contexts[0]; i++) {
                snprintf(what, sizeof what, "context %d", (int)i);
                gmm_case_expect(contexts[i], &made, GMM_POISON_QUIET_NAN, expected, what);
            }
            free(expected);
            gmm_case_free(&made);
        }
    assert_true(host_calls > 0);
    for (size_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++)
        gmm_context_destroy(contexts[i]);
}

/* ---- calls at the same time ---- */

enum {
    callers = 4,
    shared_cases = 6
};

typedef struct caller {
    const gmm_case *cases;
    char *const *expected;
    const gmm_context *context;
    int64_t rounds;
    int number;
    int64_t wrong; /* cmocka may only fail in its own thread */
} caller;

static void *call_often(void *arg)
{
    caller *c = arg;

    for (int64_t round = 0; round < c->rounds; round++) {
        const gmm_case *made = &c->cases[(round + c->number) % shared_cases];
        size_t bytes = gmm_case_bytes(made);
        gmm_array out = made->out.array;
        out.data = malloc(bytes + 1);
        if (!out.data)
            abort();
        memset(out.data, 0xFF, bytes);
        c->wrong += gmm_run(c->context, &made->product, &out) != GMM_OK ||
                    memcmp(out.data, c->expected[(round + c->number) % shared_cases], bytes) != 0;
        /* a refusal on this thread must not disturb the others' messages or results */
        c->wrong += gmm_run(c->context, NULL, &out) != GMM_ERR_NULL || gmm_error_detail()[0] == '\0';
        free(out.data);
    }
    return NULL;
}

static void calls_at_the_same_time(void **state)
{
    static gmm_case cases[shared_cases];
    char *expected[shared_cases];
    gmm_context *shared = context_of((gmm_context_options){.threads = 2});

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int i = 0; i < shared_cases; i++) {
        const gmm_weight_kind *kind = &gmm_weight_kinds[gmm_random_between(&seeded, 0, 24)];
        gmm_case_spec spec = gmm_case_experts(kind, i % 2 != 0, 1 + 20 * (i % 3), 4, i < 3 ? 1 : 20, 96, 160);
        gmm_case_make(&cases[i], &seeded, &spec);
        expected[i] = gmm_case_run(gmm_case_one_thread(), &cases[i], GMM_POISON_ZERO);
    }
    for (int kind = 0; kind < 3; kind++) {
        const gmm_context *context = kind == 0 ? gmm_case_context(NULL) : kind == 1 ? shared : gmm_case_one_thread();
        pthread_t threads[callers];
        caller all[callers];
        for (int i = 0; i < callers; i++) {
            all[i] = (caller){cases, expected, context, gmm_test_rounds(60), i, 0};
            assert_int_equal(pthread_create(&threads[i], NULL, call_often, &all[i]), 0);
        }
        for (int i = 0; i < callers; i++) {
            pthread_join(threads[i], NULL);
            assert_int_equal(all[i].wrong, 0);
        }
    }
    for (int i = 0; i < shared_cases; i++) {
        free(expected[i]);
        gmm_case_free(&cases[i]);
    }
    gmm_context_destroy(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_to_eight_threads_and_hosts),
        cmocka_unit_test(calls_at_the_same_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
