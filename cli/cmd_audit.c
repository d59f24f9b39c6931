/* cmd_audit.c - 'gathermm audit': hold BLAS libraries against their contract. */
/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit_session.h"
#include "command.h"
#include "output.h"

enum {
    OPTION_QUICK = 256,
    OPTION_DEEP,
    OPTION_SECONDS,
    OPTION_CASES,
    OPTION_CHECKS,
    OPTION_ROUTINES,
    OPTION_FORCED_KERNELS,
    OPTION_THREADS,
    OPTION_SEED,
    OPTION_COMPARE,
    OPTION_REPRO,
    OPTION_NO_REPRO,
    OPTION_JSON,
    OPTION_JUNIT,
    OPTION_HTML
};

static const struct option options[] = {
    {"quick", no_argument, NULL, OPTION_QUICK},
    {"deep", no_argument, NULL, OPTION_DEEP},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"cases", required_argument, NULL, OPTION_CASES},
    {"checks", required_argument, NULL, OPTION_CHECKS},
    {"routines", required_argument, NULL, OPTION_ROUTINES},
    {"forced-kernels", no_argument, NULL, OPTION_FORCED_KERNELS},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"compare", no_argument, NULL, OPTION_COMPARE},
    {"repro", required_argument, NULL, OPTION_REPRO},
    {"no-repro", no_argument, NULL, OPTION_NO_REPRO},
    {"json", required_argument, NULL, OPTION_JSON},
    {"junit", required_argument, NULL, OPTION_JUNIT},
    {"html", required_argument, NULL, OPTION_HTML},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void set_mode(audit_session *s, int option)
{
    s->mode = option == OPTION_QUICK ? "quick" : option == OPTION_DEEP ? "deep" : "default";
    s->seconds = option == OPTION_QUICK ? 6 : option == OPTION_DEEP ? 1e9 : 90;
    s->minimize_seconds = option == OPTION_QUICK ? 0.5 : option == OPTION_DEEP ? 20 : 4;
    s->options.budget = option == OPTION_QUICK ? 9 : 0;
    s->minimize_total = option == OPTION_QUICK ? 2.5 : option == OPTION_DEEP ? 1e9 : 40;
}

static bool read_seconds(double *seconds)
{
    char *end;

    *seconds = strtod(optarg, &end);
    if (end != optarg && !*end && *seconds > 0 && *seconds <= 1e8)
        return true;
    usage_error(&cmd_audit, "--seconds: '%s' is not a number of seconds above 0", optarg);
    return false;
}

static bool read_whole(const char *option, uint64_t highest, uint64_t *number)
{
    char *end;

    errno = 0;
    *number = strtoull(optarg, &end, 0);
    if (!errno && end != optarg && !*end && *optarg != '-' && *number && *number <= highest)
        return true;
    usage_error(&cmd_audit, "--%s: '%s' is not a whole number above 0", option, optarg);
    return false;
}

/* Take one option; false after a usage error. */
static bool read_option(audit_session *s, bool *compare, double *seconds, int option)
{
    uint64_t number;

    switch (option) {
    case OPTION_QUICK:
    case OPTION_DEEP:
        set_mode(s, option);
        return true;
    case OPTION_SECONDS:
        return read_seconds(seconds);
    case OPTION_CASES:
        if (!read_whole("cases", INT64_MAX - 1, &number))
            return false;
        s->cases = (int64_t)number;
        return true;
    case OPTION_CHECKS:
        s->options.checks = optarg;
        return true;
    case OPTION_ROUTINES:
        s->options.routines = optarg;
        return true;
    case OPTION_FORCED_KERNELS:
        s->forced_kernels = true;
        return true;
    case OPTION_THREADS:
        if (parse_number(optarg, 1, 255, &s->options.threads))
            return true;
        usage_error(&cmd_audit, "--threads: '%s' is not a whole number from 1 to 255", optarg);
        return false;
    case OPTION_SEED:
        return read_whole("seed", UINT64_MAX, &s->options.seed);
    case OPTION_COMPARE:
        *compare = true;
        return true;
    case OPTION_REPRO:
        s->folder = optarg;
        return true;
    case OPTION_NO_REPRO:
        s->folder = NULL;
        return true;
    case OPTION_JSON:
        s->json_path = optarg;
        return true;
    case OPTION_JUNIT:
        s->junit_path = optarg;
        return true;
    case OPTION_HTML:
        s->html_path = optarg;
        return true;
    default: /* next_option has complained */
        return false;
    }
}

/* Two reports cannot share a place, nor standard output with the table. */
static int check_outputs(audit_session *s)
{
    const char *const paths[] = {s->json_path, s->junit_path, s->html_path};

    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < i; j++)
            if (paths[i] && paths[j] && !strcmp(paths[i], paths[j]))
                return usage_error(&cmd_audit, "two reports go to '%s'", paths[i]);
        s->silent |= paths[i] && !strcmp(paths[i], "-");
    }
    return EXIT_FINE;
}

/* A word of a list that is nothing is wrong usage, not a library that cannot be loaded. */
static int check_words(const audit_session *s)
{
    gmm_audit *audit;
    gmm_audit_options probe = s->options;

    /* No library has an empty name: whatever else is wrong is found first. */
    if (gmm_audit_create("", &probe, &audit) != GMM_ERR_ARGUMENT)
        return EXIT_FINE;
    char *detail = escape_text(gmm_error_detail());
    usage_error(&cmd_audit, "%s", detail);
    free(detail);
    return EXIT_USAGE;
}

static int run(int argc, char **argv)
{
    audit_session session = {.options = {.size = sizeof session.options, .seed = 1}, .cases = INT64_MAX, .folder = "."};
    bool compare = false;
    double seconds = 0;
    int option, status;

    set_mode(&session, 0);
    while ((option = next_option(&cmd_audit, argc, argv, options)) != -1) {
        if (option == 'h') {
            print_help(&cmd_audit);
            return EXIT_FINE;
        }
        if (!read_option(&session, &compare, &seconds, option))
            return EXIT_USAGE;
    }
    int count = argc - optind;
    if (!count || (compare && count != 2))
        return usage_error(&cmd_audit, compare ? "--compare takes two libraries" : "no library is named");
    if (compare && session.forced_kernels)
        return usage_error(&cmd_audit, "--compare and --forced-kernels do not go together");
    status = check_outputs(&session);
    if (!status)
        status = check_words(&session);
    if (status)
        return status;
    if (seconds > 0)
        session.seconds = seconds;
    else if (session.cases < INT64_MAX)
        session.seconds = 1e8;
    if (seconds > 0 || session.cases < INT64_MAX ||
        compare) /* whoever says so wants more or less than --quick's time */
        session.options.budget = 0;
    if (compare) {
        session.folder = NULL;
        status = audit_session_compare(&session, argv + optind);
    } else {
        status = audit_session_run(&session, argv + optind, count);
    }
    audit_session_free(&session);
    return status;
}

static void more_help(void)
{
    gmm_audit_check check;
    table t = {.alignment = "ll"};

    table_add(&t, "check");
    table_add(&t, "what must hold");
    for (size_t i = 0; gmm_audit_check_at(i, &check); i++) {
        table_add(&t, "%s", check.name);
        table_add(&t, "%s%s", check.summary, check.on_request ? " (only if it is named)" : "");
    }
    printf("\n");
    table_print(&t, 2);
}

const command cmd_audit = {
    .name = "audit",
    .arguments = "LIBRARY... [OPTION]...",
    .summary = "check that a BLAS library keeps its contract",
    .help = "Load BLAS libraries by name or path (CBLAS or Fortran, 32- or 64-bit integers)\n"
            "and call them in processes of their own, in ways that show what depends on\n"
            "memory, stack, registers or history that should not matter, what is read or\n"
            "written outside, and what is wrong. A failure is made small and written as a C\n"
            "program. Exits 1 if a library breaks its contract, 3 if one cannot be loaded.\n\n"
            "options:\n"
            "  --quick             under 10 seconds\n"
            "  --deep              until stopped\n"
            "  --seconds S         run cases for so long (default 90)\n"
            "  --cases N           run the first N cases, however long they take\n"
            "  --checks LIST       only these, see below\n"
            "  --routines LIST     only these: gemm, dgemm, ...\n"
            "  --forced-kernels    again with each other choice of kernels that runs here\n"
            "  --threads N         the library's threads\n"
            "  --seed N            the same seed gives the same cases (default 1)\n"
            "  --compare           two libraries: the same cases on both, and what differs\n"
            "  --repro DIR         where repro-CHECK-ROUTINE.c are written (default .)\n"
            "  --no-repro          write none\n"
            "  --json FILE         write findings as JSON; - is standard output\n"
            "  --junit FILE        write them as JUnit XML\n"
            "  --html FILE         write them as a page\n"
            "  -h, --help          show this text\n",
    .more_help = more_help,
    .run = run,
};
