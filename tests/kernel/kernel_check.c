/* kernel_check.c - walks the list of kernels, and tests or times each of them. */
/* SPDX-License-Identifier: MIT */
#include "cmocka_test.h"

#include <fnmatch.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_check.h"
#include "kernel_time.h"

typedef struct {
    const char *filter;
    FILE *json;
    bool list, bench;
} flags;

static const char help[] = "usage: kernel_check [--filter GLOB] [--seed N]\n"
                           "       kernel_check --bench [--filter GLOB] [--json FILE]\n"
                           "       kernel_check --list\n"
                           "\n"
                           "Test, or time, the kernels that this CPU and GMM_CPU_MASK let run.\n"
                           "\n"
                           "  --filter GLOB  those with such names, as '*_avx2' or 'dot_*'\n"
                           "  --seed N       the random numbers of an earlier run; as GMM_TEST_SEED=N\n"
                           "  --bench        time them, on one thread\n"
                           "  --json FILE    write the times to a file as well\n"
                           "  --list         print the names of all kernels, and which can run\n"
                           "  -h, --help     print this\n"
                           "\n"
                           "Exits with 0, 1 when a kernel fails, or 2 when the command line is wrong.\n";

__attribute__((noreturn)) static void usage_error(const char *message, const char *about)
{
    fprintf(stderr, "kernel_check: %s%s\nTry 'kernel_check --help'.\n", message, about);
    exit(2);
}

static void set_seed(const char *seed)
{
    char *end;

    strtoull(seed, &end, 0);
    if (*seed < '0' || *seed > '9' || *end)
        usage_error("--seed needs a number, not ", seed);
    setenv("GMM_TEST_SEED", seed, 1);
}

static flags read_flags(int argc, char **argv)
{
    enum {
        FILTER,
        SEED,
        BENCH,
        JSON,
        LIST,
        HELP
    };
    static const struct option options[] = {
        {"filter", required_argument, NULL, FILTER},
        {"seed", required_argument, NULL, SEED},
        {"bench", no_argument, NULL, BENCH},
        {"json", required_argument, NULL, JSON},
        {"list", no_argument, NULL, LIST},
        {"help", no_argument, NULL, HELP},
        {0},
    };
    flags f = {.filter = "*"};
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1)
        switch (option) {
        case FILTER:
            f.filter = optarg;
            break;
        case SEED:
            set_seed(optarg);
            break;
        case BENCH:
            f.bench = true;
            break;
        case JSON:
            f.json = fopen(optarg, "w"); /* now, not after the time that timing takes */
            if (!f.json)
                usage_error("cannot write ", optarg);
            break;
        case LIST:
            f.list = true;
            break;
        case 'h':
        case HELP:
            fputs(help, stdout);
            exit(0);
        default:
            usage_error(option == ':' ? "no value for " : "no such option: ", argv[optind - 1]);
        }
    if (optind < argc)
        usage_error("what is this: ", argv[optind]);
    if (f.json && !f.bench)
        usage_error("--json goes with --bench", "");
    return f;
}

static void print_list(const char *filter)
{
    for (size_t i = 0; gmm_kernels[i]; i++)
        if (fnmatch(filter, gmm_kernels[i]->name, 0) == 0)
            printf("%s%s\n", gmm_kernels[i]->name, check_usable(gmm_kernels[i]) ? "" : " (cannot run here)");
}

/* What there is to check of a kernel. */
static const struct {
    const char *name;
    const char *body; /* NULL: any; "decode", "class": whatever can decode, or a class at a time */
    CMUnitTestFunction run;
} checks[] = {
    {"descriptor", NULL, check_descriptor},
    {"dot: every K", "dot", check_dot_lengths},
    {"dot: rows x columns", "dot", check_dot_shapes},
    {"dot: every scale", "dot", check_dot_scales},
    {"dot: every alignment", "dot", check_dot_shifts},
    {"outer: every K", "outer", check_outer_lengths},
    {"outer: rows", "outer", check_outer_rows},
    {"prepared", "outer", check_prepared},
    {"pack", "outer", check_pack},
    {"sweep", "outer", check_sweep},
    {"decode: every run", "decode", check_decode_runs},
    {"decode: every code", "decode", check_decode_codes},
    {"decode: class by class", "class", check_decode_classes},
    {"int8: every K", "int8", check_int8_lengths},
    {"int8: rows x columns", "int8", check_int8_shapes},
    {"int8: every scale", "int8", check_int8_scales},
    {"int8: the largest sums", "int8", check_int8_largest},
    {"tile: every K", "tile", check_tile_lengths},
    {"tile: rows x columns", "tile", check_tile_shapes},
    {"activate: every length", "activate", check_activate_lengths},
    {"activate: every exponent", "activate", check_activate_numbers},
};

enum {
    CHECKS = sizeof checks / sizeof checks[0]
};

static bool applies(size_t check, const gmm_kernel *kernel)
{
    const char *body = checks[check].body;

    return !body || !strcmp(body, kernel->body) || (!strcmp(body, "decode") && kernel->decode) ||
           (!strcmp(body, "class") && kernel->class_decode);
}

static int run_checks(const gmm_kernel *const *kernels, int64_t count)
{
    struct CMUnitTest *tests = check_allocate(count * CHECKS, sizeof *tests);
    char(*names)[96] = check_allocate(count * CHECKS, sizeof *names);
    size_t made = 0;

    for (int64_t i = 0; i < count; i++)
        for (size_t c = 0; c < CHECKS; c++)
            if (applies(c, kernels[i])) {
                snprintf(names[made], sizeof names[made], "%s %s", kernels[i]->name, checks[c].name);
                tests[made] =
                    (struct CMUnitTest){names[made], checks[c].run, NULL, NULL, (void *)(uintptr_t)kernels[i]};
                made++;
            }
    int failures = _cmocka_run_group_tests("kernels", tests, made, NULL, NULL);
    free(tests);
    free(names);
    return failures ? 1 : 0;
}

int main(int argc, char **argv)
{
    flags f = read_flags(argc, argv);
    int64_t count = 0, all = 0;

    while (gmm_kernels[all])
        all++;
    const gmm_kernel **kernels = check_allocate(all, sizeof *kernels);
    for (int64_t i = 0; i < all; i++)
        if (fnmatch(f.filter, gmm_kernels[i]->name, 0) == 0 && (f.list || check_usable(gmm_kernels[i])))
            kernels[count++] = gmm_kernels[i];
    if (count == 0)
        usage_error("no kernel that can run has a name like ", f.filter);
    int status = 0;
    if (f.list)
        print_list(f.filter);
    else if (f.bench)
        status = time_kernels(kernels, count, f.json);
    else
        status = run_checks(kernels, count);
    free(kernels);
    if (f.json)
        fclose(f.json);
    if (fflush(stdout) != 0) {
        perror("kernel_check: cannot write");
        status = 1;
    }
    return status;
}
