/* audit_session.c - run an audit: slices of cases under a progress bar, findings made small, programs written. */
/* SPDX-License-Identifier: MIT */
#include "audit_session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "output.h"
#include "progress.h"
#include "stop_signals.h"
#include "whole_file.h"

/* The bar moves, and signals are noticed, about so often. */
#define SLICE_SECONDS 0.5

bool audit_counts(gmm_audit_verdict verdict)
{
    return verdict >= GMM_AUDIT_VIOLATION && verdict <= GMM_AUDIT_ACCURACY;
}

size_t audit_findings_of(const audit_run *run, gmm_audit_verdict verdict)
{
    gmm_audit_finding finding;
    size_t count = 0;

    for (size_t i = 0; gmm_audit_finding_at(run->audit, i, &finding); i++)
        count += finding.verdict == verdict;
    return count;
}

size_t audit_failures(const audit_run *run)
{
    size_t count = 0;

    for (int v = GMM_AUDIT_VIOLATION; v <= GMM_AUDIT_NONREPRO; v++)
        count += audit_counts((gmm_audit_verdict)v) ? audit_findings_of(run, (gmm_audit_verdict)v) : 0;
    return count;
}

char *audit_run_name(const audit_run *run)
{
    return must_format("%s%s%s", run->library, run->kernel ? " with " : "", run->kernel ? run->kernel : "");
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

/* Cases until time is up, their number is reached, or a signal comes. */
static gmm_status run_cases(const audit_session *session, audit_run *run)
{
    double begin = monotonic_seconds(), shown = 0;
    char *name = audit_run_name(run);
    gmm_status status = GMM_OK;
    bool by_count = session->cases < INT64_MAX;
    int64_t before = 0;
    progress bar;

    progress_start(&bar, by_count ? (uint64_t)session->cases : (uint64_t)session->seconds, by_count ? "cases" : "s",
                   false);
    while (!status && !stop_signal()) {
        double passed = monotonic_seconds() - begin, left = session->seconds - passed;
        int64_t position = gmm_audit_position(run->audit);
        if (left <= 0 || position >= session->cases)
            break;
        char *doing =
            must_format("%s, %" PRId64 " cases, %zu failing", name, gmm_audit_cases(run->audit), audit_failures(run));
        progress_add(&bar, by_count ? (uint64_t)(position - before) : (uint64_t)(passed - shown), doing);
        free(doing);
        before = position;
        shown += (double)(uint64_t)(passed - shown);
        status = gmm_audit_run(run->audit, session->cases, left < SLICE_SECONDS ? left : SLICE_SECONDS);
    }
    progress_end(&bar);
    free(name);
    run->seconds = monotonic_seconds() - begin;
    return status;
}

/* ---- findings made small ----------------------------------------------------------------------------------------- */

/* The file's name: the check's, the symbol's, the kernel's; with a number if it is taken. */
static char *program_path(const audit_session *session, const audit_run *run, const gmm_audit_finding *finding)
{
    const char *kernel = run->kernel ? strchr(run->kernel, '=') : NULL;
    char *base = must_format("%s/repro-%s-%s%s%s", session->folder, finding->check, finding->routine, kernel ? "-" : "",
                             kernel ? kernel + 1 : "");
    char *path = must_format("%s.c", base);

    for (int number = 2;; number++) {
        bool taken = false;
        for (size_t r = 0; r < session->run_count; r++)
            for (size_t i = 0; i < session->runs[r].program_count; i++)
                taken |= session->runs[r].programs[i] && !strcmp(session->runs[r].programs[i], path);
        if (!taken)
            break;
        free(path);
        path = must_format("%s-%d.c", base, number);
    }
    free(base);
    return path;
}

static int write_program(audit_session *session, audit_run *run, size_t i, const gmm_audit_finding *finding)
{
    const char *text;
    whole_file file;

    if (gmm_audit_reproduction(run->audit, i, &text)) /* it shows only after other calls */
        return EXIT_FINE;
    if (mkdir(session->folder, 0777) && errno != EEXIST) {
        complain("%s: cannot be made: %s", session->folder, strerror(errno));
        return EXIT_COULD_NOT_RUN;
    }
    char *path = program_path(session, run, finding);
    int status = whole_file_begin(&file, path);
    if (!status) {
        fputs(text, file.stream);
        status = whole_file_publish(&file);
    }
    if (status)
        free(path);
    else
        run->programs[i] = path;
    return status;
}

static size_t count_findings(const audit_run *run)
{
    gmm_audit_finding finding;
    size_t count = 0;

    while (gmm_audit_finding_at(run->audit, count, &finding))
        count++;
    return count;
}

/* Failures first: time may not suffice for remarks. */
static int finish_findings(audit_session *session, audit_run *run)
{
    size_t count = count_findings(run);
    double until = monotonic_seconds() + session->minimize_total;
    int status = EXIT_FINE;
    progress bar;

    run->programs = must_allocate(count + 1, sizeof *run->programs);
    run->program_count = count;
    progress_start(&bar, count, "findings", false);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < count && !status && !stop_signal(); i++) {
            gmm_audit_finding finding;
            gmm_audit_finding_at(run->audit, i, &finding);
            if (audit_counts(finding.verdict) != (pass == 0))
                continue;
            progress_add(&bar, 0, finding.routine);
            double left = until - monotonic_seconds();
            if (left > 0 &&
                gmm_audit_minimize(run->audit, i, left < session->minimize_seconds ? left : session->minimize_seconds))
                status = complain_status(GMM_ERR_MEMORY);
            gmm_audit_finding_at(run->audit, i, &finding);
            if (!status && session->folder && pass == 0)
                status = write_program(session, run, i, &finding);
            progress_add(&bar, 1, finding.routine);
        }
    progress_end(&bar);
    return status;
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static audit_run *add_run(audit_session *session, const char *library, const char *kernel)
{
    session->runs = must_grow(session->runs, session->run_count + 1, sizeof *session->runs);
    audit_run *run = &session->runs[session->run_count];

    memset(run, 0, sizeof *run);
    run->library = library;
    run->kernel = kernel ? must_format("%s", kernel) : NULL;
    gmm_audit_options options = session->options;
    options.environment = run->kernel;
    gmm_status status = gmm_audit_create(library, &options, &run->audit);
    if (status) {
        free(run->kernel);
        complain_status(status);
        return NULL;
    }
    session->run_count++;
    gmm_audit_library(run->audit, &run->info);
    return run;
}

static int run_one(audit_session *session, audit_run *run)
{
    if (run_cases(session, run))
        return complain_status(GMM_ERR_MEMORY);
    int status = finish_findings(session, run);
    if (status)
        return status;
    if (!session->silent)
        audit_print_table(run);
    return audit_failures(run) ? EXIT_FOUND : EXIT_FINE;
}

/* A library with its own kernels, then with each other choice. */
static int run_library(audit_session *session, const char *library)
{
    audit_run *run = add_run(session, library, NULL);
    size_t own = session->run_count - 1;

    if (!run)
        return EXIT_COULD_NOT_RUN;
    int worst = run_one(session, run);
    for (size_t i = 0; session->forced_kernels && worst <= EXIT_FOUND && !stop_signal(); i++) {
        /* The list of runs moves as it grows. */
        const char *kernel = gmm_audit_forced_kernel_at(session->runs[own].audit, i);
        if (!kernel)
            break;
        run = add_run(session, library, kernel);
        int status = run ? run_one(session, run) : EXIT_COULD_NOT_RUN;
        worst = status > worst ? status : worst;
    }
    return worst;
}

static int write_reports(const audit_session *session)
{
    int status = session->json_path ? audit_write_json(session) : EXIT_FINE;

    if (!status && session->junit_path)
        status = audit_write_junit(session);
    if (!status && session->html_path)
        status = audit_write_page(session);
    return status;
}

int audit_session_run(audit_session *session, char **libraries, int count)
{
    int worst = EXIT_FINE;

    stop_notice();
    for (int i = 0; i < count && !stop_signal(); i++) {
        int status = run_library(session, libraries[i]);
        worst = status > worst ? status : worst;
    }
    int status = write_reports(session);
    worst = status > worst ? status : worst;
    /* Until stopped is what --deep says: a signal ends it well. */
    if (session->seconds < 1e9)
        stop_die();
    return worst;
}

void audit_session_free(audit_session *session)
{
    for (size_t i = 0; i < session->run_count; i++) {
        audit_run *run = &session->runs[i];
        for (size_t p = 0; p < run->program_count; p++)
            free(run->programs[p]);
        free(run->programs);
        gmm_audit_destroy(run->audit);
        free(run->kernel);
    }
    free(session->runs);
    free(session->differences);
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static bool has_finding(const audit_run *run, const gmm_audit_finding *wanted, gmm_audit_finding *found)
{
    for (size_t i = 0; gmm_audit_finding_at(run->audit, i, found); i++)
        if (found->verdict == wanted->verdict && !strcmp(found->check, wanted->check) &&
            !strcmp(found->routine, wanted->routine))
            return true;
    return false;
}

/* What `run` has and `other` has not; the number that count. */
static size_t print_only(const audit_run *run, const audit_run *other, bool *any)
{
    gmm_audit_finding finding, same;
    size_t counting = 0;

    for (size_t i = 0; gmm_audit_finding_at(run->audit, i, &finding); i++) {
        if (has_finding(other, &finding, &same))
            continue;
        char *detail = escape_text(finding.detail);
        printf("  only %s: %s %s %s, %" PRId64 " of %" PRId64 ": %s\n      %s\n", run->library,
               gmm_audit_verdict_text(finding.verdict), finding.check, finding.routine, finding.failed, finding.cases,
               detail, finding.call);
        free(detail);
        counting += audit_counts(finding.verdict);
        *any = true;
    }
    return counting;
}

/* Bits of results that are right in both; kept for the reports. */
static int print_bits(audit_session *session, bool *any)
{
    const gmm_audit *a = session->runs[0].audit, *b = session->runs[1].audit;
    size_t count = 0;

    if (gmm_audit_compare(a, b, NULL, 0, &count))
        return complain_status(GMM_ERR_MEMORY);
    session->differences = must_allocate(count + 1, sizeof *session->differences);
    gmm_status status = gmm_audit_compare(a, b, session->differences, count, &count);
    if (status)
        return complain_status(status);
    session->compared = true;
    session->difference_count = count;
    for (size_t i = 0; i < count; i++)
        printf("  DIFFERS bits: %s, %" PRId64 " of %" PRId64
               " results that are within their bounds in both\n      %s\n",
               session->differences[i].routine, session->differences[i].differing, session->differences[i].compared,
               session->differences[i].call);
    *any |= count > 0;
    return EXIT_FINE;
}

int audit_session_compare(audit_session *session, char **libraries)
{
    bool any = false;
    int status;

    stop_notice();
    for (int i = 0; i < 2; i++)
        if (!add_run(session, libraries[i], NULL))
            return EXIT_COULD_NOT_RUN;
    for (int i = 0; i < 2; i++) {
        if (i) { /* the same cases, however long they take */
            session->cases = gmm_audit_position(session->runs[0].audit);
            session->seconds = 1e9;
        }
        if (run_cases(session, &session->runs[i]))
            return complain_status(GMM_ERR_MEMORY);
        stop_die();
        status = finish_findings(session, &session->runs[i]);
        if (status)
            return status;
    }
    const audit_run *a = &session->runs[0], *b = &session->runs[1];
    printf("A: %s (%s)\nB: %s (%s)\nseed %" PRIu64 ", cases up to %" PRId64 " on both\n", a->info.path,
           *a->info.version ? a->info.version : "no version", b->info.path,
           *b->info.version ? b->info.version : "no version", session->options.seed, session->cases);
    print_only(a, b, &any);
    size_t new_ones = print_only(b, a, &any);
    status = print_bits(session, &any);
    if (!any && !status)
        printf("  no differences\n");
    if (!status)
        status = write_reports(session);
    return status ? status : new_ones ? EXIT_FOUND : EXIT_FINE;
}
