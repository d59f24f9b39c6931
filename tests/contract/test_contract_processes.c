/* test_contract_processes.c - the call that gave NaN now and then, in 100 fresh processes, and calls in forked ones:
 * the same bits. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cases.h"
#include "cmocka_test.h"

enum {
    processes = 100,
    n = 512,
    k = 544
};

extern char **environ;

static const char *program;

/* The product of the report: one row, B somewhere, and in C what an earlier product may have left. */
static void report_product(size_t b_shift, gmm_poison poison, bool checked, float *result)
{
    gmm_random same; /* operands are the same in every process */
    gmm_case_spec spec = gmm_case_plain(gmm_weight_kinds, true, 1, n, k);
    gmm_case made;
    gmm_built b;
    char *bytes;

    gmm_random_seed(&same, 3563);
    gmm_case_make(&made, &same, &spec);
    gmm_built_copy(&b, &made.rhs, GMM_GUARD_BEFORE, b_shift);
    made.product.rhs = &b.array;
    bytes = gmm_case_run(NULL, &made, poison);
    memcpy(result, bytes, n * sizeof *result);
    if (checked)
        gmm_case_check(NULL, &made);
    free(bytes);
    gmm_built_free(&b);
    gmm_case_free(&made);
}

/* Quantized products of many shapes, as the test that met the fault ran before it. */
static void warm_up(uint64_t seed)
{
    gmm_random random;

    gmm_random_seed(&random, seed);
    for (int i = 0; i < 8; i++) {
        const gmm_weight_kind *kind = &gmm_weight_kinds[gmm_random_between(&random, 3, 24)];
        gmm_case_spec spec = gmm_case_experts(kind, i % 2 != 0, gmm_random_between(&random, 1, 32), 4, 1,
                                              gmm_random_between(&random, 1, 100), 128);
        gmm_case made;
        gmm_case_make(&made, &random, &spec);
        free(gmm_case_run(NULL, &made, GMM_POISON_QUIET_NAN));
        gmm_case_free(&made);
    }
}

/* In a fresh process: warm up, compute, print the bits. */
static int child(int number)
{
    float result[n];

    warm_up((uint64_t)number);
    report_product((size_t)(number * 4 % 64 + number / 16 % 4),
                   number % 2 ? GMM_POISON_QUIET_NAN : GMM_POISON_SIGNALLING_NAN, false, result);
    return fwrite(result, sizeof result[0], n, stdout) == n ? 0 : 3;
}

static void fresh_process(int number, float *result)
{
    posix_spawn_file_actions_t actions;
    char number_text[16], child_text[] = "child", *program_text = strdup(program);
    char *arguments[] = {program_text, child_text, number_text, NULL};
    int ends[2], status;
    size_t used = 0;
    ssize_t got;
    pid_t process;

    snprintf(number_text, sizeof number_text, "%d", number);
    assert_int_equal(pipe(ends), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    assert_int_equal(posix_spawn(&process, program, &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    while ((got = read(ends[0], (char *)result + used, n * sizeof *result - used)) > 0)
        used += (size_t)got;
    close(ends[0]);
    assert_int_equal(waitpid(process, &status, 0), process);
    free(program_text);
    if (status != 0 || used != n * sizeof *result)
        fail_msg("process %d: status %d, %zu bytes", number, status, used);
}

static void a_hundred_fresh_processes(void **state)
{
    float expected[n], result[n];

    (void)state;
    report_product(0, GMM_POISON_ZERO, true, expected);
    for (int number = 0; number < gmm_test_rounds(processes); number++) {
        fresh_process(number, result);
        for (int j = 0; j < n; j++)
            if (memcmp(&result[j], &expected[j], sizeof expected[j]))
                fail_msg("process %d: element %d is %.9g, not %.9g", number, j, (double)result[j], (double)expected[j]);
    }
}

/* OpenMP's threads stay behind in the parent: a child that waited for them would do so until the alarm. */
static void forked_processes(void **state)
{
    gmm_context_options options = {.size = sizeof options, .threads = 3, .arithmetic = gmm_case_arithmetic()};
    gmm_context *context = NULL;
    gmm_case_spec spec = gmm_case_experts(gmm_weight_kinds, true, 64, 4, 2, 256, 256);
    gmm_random same;
    gmm_case made;
    char *expected;

    (void)state;
    assert_int_equal(gmm_context_create(&options, &context), GMM_OK);
    gmm_random_seed(&same, 1);
    gmm_case_make(&made, &same, &spec);
    expected = gmm_case_run(context, &made, GMM_POISON_ZERO);
    for (int number = 0; number < 3; number++) {
        int status;
        pid_t process = fork();

        if (process == 0) {
            alarm(60);
            char *bytes = gmm_case_run(context, &made, GMM_POISON_QUIET_NAN);
            _exit(memcmp(bytes, expected, gmm_case_bytes(&made)) ? 1 : 0);
        }
        assert_true(process > 0);
        assert_int_equal(waitpid(process, &status, 0), process);
        assert_int_equal(status, 0);
        gmm_case_expect(context, &made, GMM_POISON_QUIET_NAN, expected, "the parent");
    }
    free(expected);
    gmm_case_free(&made);
    gmm_context_destroy(context);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_hundred_fresh_processes), cmocka_unit_test(forked_processes)};

    program = argv[0];
    if (argc == 3 && strcmp(argv[1], "child") == 0)
        return child(atoi(argv[2]));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
