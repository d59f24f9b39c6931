/* cmd_guard.c - 'gathermm guard': run a program and watch its BLAS calls. */
/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "gathermm/guard.h"
#include "guard_summary.h"
#include "output.h"

enum {
    OPTION_OUTPUT = 256,
    OPTION_SAMPLE,
    OPTION_JSON
};

static const struct option options[] = {
    {"output", required_argument, NULL, OPTION_OUTPUT},
    {"sample", required_argument, NULL, OPTION_SAMPLE},
    {"json", required_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

typedef struct request {
    gmm_guard_options guard;
    const char *json;
    char **program;
} request;

/* Of the program that runs: a signal that asks it to end, and comes to this process alone, is passed on. */
static volatile sig_atomic_t program_process;

static void pass_on(int signal_number)
{
    if (program_process > 0)
        kill(program_process, signal_number);
}

/* SIGINT and SIGQUIT come from the terminal to both; the program decides. */
static void set_signals(void (*interactive)(int), void (*others)(int))
{
    const int others_list[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

    signal(SIGINT, interactive);
    signal(SIGQUIT, interactive);
    for (size_t i = 0; i < sizeof others_list / sizeof others_list[0]; i++)
        signal(others_list[i], others);
}

/* "NAME=value" */
static void set_variable(const char *text)
{
    const char *equals = strchr(text, '=');
    char *name = must_format("%.*s", (int)(equals - text), text);

    setenv(name, equals + 1, 1);
    free(name);
}

__attribute__((noreturn)) static void become(const gmm_guard *guard, char **program, int report)
{
    const char *text;

    set_signals(SIG_DFL, SIG_DFL);
    for (size_t i = 0; (text = gmm_guard_variable_at(guard, i)) != NULL; i++)
        set_variable(text);
    execvp(program[0], program);
    int error = errno;
    ssize_t written = write(report, &error, sizeof error);
    _exit(written == sizeof error ? 127 : 126);
}

/* Run the program to its end. EXIT_FINE with its wait status, or EXIT_COULD_NOT_RUN after a complaint. */
static int run_program(const gmm_guard *guard, char **program, int *status)
{
    int ends[2], error = 0;

    if (pipe(ends) || fcntl(ends[1], F_SETFD, FD_CLOEXEC)) {
        complain("no pipe: %s", strerror(errno));
        return EXIT_COULD_NOT_RUN;
    }
    fflush(stdout);
    set_signals(SIG_IGN, pass_on);
    pid_t child = fork();
    if (child < 0) {
        complain("cannot start a process: %s", strerror(errno));
        return EXIT_COULD_NOT_RUN;
    }
    if (child == 0)
        become(guard, program, ends[1]);
    program_process = child;
    close(ends[1]);
    ssize_t got;
    do /* nothing comes: the program has replaced the child */
        got = read(ends[0], &error, sizeof error);
    while (got < 0 && errno == EINTR);
    close(ends[0]);
    while (waitpid(child, status, 0) < 0 && errno == EINTR)
        continue;
    program_process = 0;
    if (got <= 0)
        return EXIT_FINE;
    complain("%s: %s", program[0], strerror(error));
    return EXIT_COULD_NOT_RUN;
}

static int parse(int argc, char **argv, request *r)
{
    int end = 1, option;

    /* What follows "--" is the program's. */
    while (end < argc && strcmp(argv[end], "--"))
        end++;
    while ((option = next_option(&cmd_guard, end, argv, options)) != -1)
        switch (option) {
        case OPTION_OUTPUT:
            r->guard.output = optarg;
            break;
        case OPTION_SAMPLE:
            if (!parse_number(optarg, 1, INT32_MAX, &r->guard.sample))
                return usage_error(&cmd_guard, "--sample %s: not a whole number from 1 on", optarg);
            break;
        case OPTION_JSON:
            r->json = optarg;
            break;
        case 'h':
            print_help(&cmd_guard);
            return -1;
        default:
            return EXIT_USAGE;
        }
    if (end >= argc - 1)
        return usage_error(&cmd_guard, "no program: it is written behind --");
    if (optind < end)
        return usage_error(&cmd_guard, "'%s' is not an option; the program is written behind --", argv[optind]);
    r->program = argv + end + 1;
    return EXIT_FINE;
}

static int run(int argc, char **argv)
{
    request r = {.guard = {.size = sizeof r.guard}};
    gmm_guard *guard;
    int wait_status = 0, status = parse(argc, argv, &r);

    if (status != EXIT_FINE)
        return status < 0 ? EXIT_FINE : status;
    if (gmm_guard_create(&r.guard, &guard) != GMM_OK)
        return complain_status(GMM_ERR_FILE);
    status = run_program(guard, r.program, &wait_status);
    if (status == EXIT_FINE && gmm_guard_processes(guard) == 0) {
        complain("%s was not watched: it is static, or set-uid, or its loader is too old (glibc 2.35 is needed)",
                 r.program[0]);
        status = EXIT_COULD_NOT_RUN;
    }
    if (status == EXIT_FINE)
        status = guard_summary(guard, r.json, wait_status);
    gmm_guard_destroy(guard);
    if (status != EXIT_FINE)
        return status;
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

const command cmd_guard = {
    .name = "guard",
    .arguments = "[OPTION]... -- PROGRAM [ARGUMENT]...",
    .summary = "run a program and watch its BLAS calls",
    .help = "Runs PROGRAM unchanged and looks at each BLAS call that it makes, in all its\n"
            "threads and processes: whether finite operands give finite results, whether the\n"
            "output was read although it must not be, whether anything else was changed,\n"
            "whether elements are within the error bound, whether operands overlap. What\n"
            "seems wrong is made again in clean memory. The first call of a routine that goes\n"
            "wrong in one way is written out: its operands, a C program that repeats it, a\n"
            "backtrace, the environment. What the program computes does not change.\n"
            "\n"
            "options:\n"
            "  --output DIR   where files go, made when there are any; default gathermm-guard\n"
            "  --sample N     do what costs much at one call in N; default 1, every call\n"
            "  --json FILE    write calls and findings to FILE ('-': standard output)\n"
            "\n"
            "The exit status is the program's (128 + N if signal N ended it), but 1 if it\n"
            "succeeded and something was found, and 3 if it could not be run or watched.\n",
    .run = run,
};
