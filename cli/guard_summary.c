/* guard_summary.c - see guard_summary.h. */
/* SPDX-License-Identifier: MIT */
#include "guard_summary.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "output.h"

/* For making one call smaller. */
#define REDUCE_SECONDS 5

/* PATH.c from PATH.gmmcall, if there is one. */
static void write_program(const gmm_guard_finding *finding)
{
    gmm_replay *replay = NULL;
    const char *text;
    char *from = must_format("%s.gmmcall", finding->path), *to = must_format("%s.c", finding->path);

    if (access(from, R_OK) == 0) {
        bool opened = gmm_replay_open(from, &replay) == GMM_OK;
        if (opened) /* a library that cannot be loaded alone leaves the call as large as it was */
            gmm_replay_reduce(replay, NULL, REDUCE_SECONDS);
        if (opened && gmm_replay_program(replay, &text) == GMM_OK) {
            FILE *file = fopen(to, "w");
            if (!file || fputs(text, file) < 0 || fflush(file))
                complain("%s: %s", to, strerror(errno));
            if (file)
                fclose(file);
        } else {
            complain("no program for %s: %s", from, gmm_error_detail());
        }
        gmm_replay_close(replay);
    }
    free(from);
    free(to);
}

static void print_counts(const gmm_guard *guard)
{
    gmm_guard_count count;
    int64_t total = 0, processes = gmm_guard_processes(guard);
    int column = 0;

    for (size_t i = 0; gmm_guard_count_at(guard, i, &count); i++)
        total += count.calls;
    fprintf(stderr, "gathermm guard: %" PRId64 " BLAS call%s in %" PRId64 " process%s\n", total, total == 1 ? "" : "s",
            processes, processes == 1 ? "" : "es");
    for (size_t i = 0; gmm_guard_count_at(guard, i, &count); i++) {
        column += fprintf(stderr, "%s%s %" PRId64, column ? ", " : "  ", count.routine, count.calls);
        if (column > 80) {
            fputc('\n', stderr);
            column = 0;
        }
    }
    if (column)
        fputc('\n', stderr);
    if (gmm_guard_unwatched(guard))
        fprintf(stderr, "  %" PRId64 " functions could not be watched: there are too many\n",
                gmm_guard_unwatched(guard));
}

static void print_finding(const gmm_guard_finding *f)
{
    fprintf(stderr, "%s: %s: %s\n", gmm_guard_verdict_text(f->verdict), f->routine, f->detail);
    fprintf(stderr, "  %s\n  in %s, %" PRId64 " time%s\n", f->call, f->library, f->seen, f->seen == 1 ? "" : "s");
    if (*f->path && f->verdict != GMM_GUARD_CALLER)
        fprintf(stderr, "  %s.gmmcall (operands), .c (a program that repeats it), .txt (report)\n", f->path);
    else if (*f->path)
        fprintf(stderr, "  %s.txt (report)\n", f->path);
    else
        fprintf(stderr, "  no files could be written\n");
}

static json_t *json_of(const gmm_guard *guard)
{
    json_t *calls = json_object(), *findings = json_array();
    gmm_guard_count count;
    gmm_guard_finding f;

    for (size_t i = 0; gmm_guard_count_at(guard, i, &count); i++)
        json_object_set_new(calls, count.routine, json_integer(count.calls));
    for (size_t i = 0; gmm_guard_finding_at(guard, i, &f); i++) {
        json_t *finding = json_object();
        json_object_set_new(finding, "verdict", json_text(gmm_guard_verdict_text(f.verdict)));
        json_object_set_new(finding, "routine", json_text(f.routine));
        json_object_set_new(finding, "call", json_text(f.call));
        json_object_set_new(finding, "detail", json_text(f.detail));
        json_object_set_new(finding, "library", json_text(f.library));
        json_object_set_new(finding, "files", json_text(f.path));
        json_object_set_new(finding, "process", json_integer(f.process));
        json_object_set_new(finding, "seen", json_integer(f.seen));
        json_array_append_new(findings, finding);
    }
    json_t *all = json_object();
    json_object_set_new(all, "processes", json_integer(gmm_guard_processes(guard)));
    json_object_set_new(all, "unwatched_functions", json_integer(gmm_guard_unwatched(guard)));
    json_object_set_new(all, "calls", calls);
    json_object_set_new(all, "findings", findings);
    return all;
}

static int write_json(const gmm_guard *guard, const char *path)
{
    json_t *all = json_of(guard);
    FILE *file = strcmp(path, "-") ? fopen(path, "w") : stdout;
    bool written = file && json_dumpf(all, file, JSON_INDENT(2)) == 0 && fputc('\n', file) != EOF && fflush(file) == 0;
    int error = errno;

    if (file && file != stdout)
        fclose(file);
    json_decref(all);
    if (!written)
        complain("%s: %s", path, strerror(error));
    return written ? EXIT_FINE : EXIT_COULD_NOT_RUN;
}

int guard_summary(const gmm_guard *guard, const char *json, int wait_status)
{
    gmm_guard_finding finding;
    size_t found = 0;

    print_counts(guard);
    for (; gmm_guard_finding_at(guard, found, &finding); found++) {
        if (*finding.path)
            write_program(&finding);
        print_finding(&finding);
    }
    if (!found)
        fprintf(stderr, "gathermm guard: nothing found\n");
    if (WIFSIGNALED(wait_status))
        fprintf(stderr, "gathermm guard: signal %d (%s) ended the program\n", WTERMSIG(wait_status),
                strsignal(WTERMSIG(wait_status)));
    if (json && write_json(guard, json) != EXIT_FINE)
        return EXIT_COULD_NOT_RUN;
    return found && wait_status == 0 ? EXIT_FOUND : EXIT_FINE;
}
