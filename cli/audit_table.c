/* audit_table.c - the findings of a run on the terminal. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit_session.h"
#include "output.h"

static void print_controls(const audit_run *run, size_t i)
{
    gmm_audit_control control;
    bool any = false;

    for (size_t j = 0; gmm_audit_control_at(run->audit, i, j, &control); j++) {
        printf("%s%s %s", any ? ", " : "      ", control.fails ? "BAD" : "OK", control.name);
        any = true;
    }
    if (any)
        printf("\n");
}

static void print_finding(const audit_run *run, size_t i, const gmm_audit_finding *f, bool whole)
{
    char *detail = escape_text(f->detail);

    printf("  %-9s %-15s %-16s %6" PRId64 " of %-6" PRId64 " %s\n", gmm_audit_verdict_text(f->verdict), f->check,
           f->routine, f->failed, f->cases, whole ? "" : detail);
    if (whole) {
        printf("      %s\n      %s\n", f->call, detail);
        print_controls(run, i);
        if (run->programs && run->programs[i])
            printf("      %s\n", run->programs[i]);
    }
    free(detail);
}

/* Findings of one verdict; remarks take a line each. */
static void print_verdict(const audit_run *run, gmm_audit_verdict verdict)
{
    gmm_audit_finding finding;

    for (size_t i = 0; gmm_audit_finding_at(run->audit, i, &finding); i++)
        if (finding.verdict == verdict)
            print_finding(run, i, &finding, audit_counts(verdict));
}

void audit_print_table(const audit_run *run)
{
    char *path = escape_text(run->info.path), *version = escape_text(run->info.version);
    const char *separator = "";
    bool any = false;

    printf("%s%s%s\n", path, run->kernel ? " with " : "", run->kernel ? run->kernel : "");
    printf("  %s, %d-bit integers, %s%s%s; %" PRId64 " cases in %.1f s\n", *version ? version : "no version of its own",
           (int)run->info.integer_bits, run->info.has_cblas ? "CBLAS" : "",
           run->info.has_cblas && run->info.has_fortran ? " and " : "", run->info.has_fortran ? "Fortran" : "",
           gmm_audit_cases(run->audit), run->seconds);
    for (int v = GMM_AUDIT_VIOLATION; v <= GMM_AUDIT_NONREPRO; v++)
        print_verdict(run, (gmm_audit_verdict)v);
    for (size_t i = 0; gmm_audit_note_at(run->audit, i); i++)
        printf("  note: %s\n", gmm_audit_note_at(run->audit, i));
    printf("  ");
    for (int v = GMM_AUDIT_VIOLATION; v <= GMM_AUDIT_NONREPRO; v++) {
        size_t count = audit_findings_of(run, (gmm_audit_verdict)v);
        if (count)
            printf("%s%zu %s", separator, count, gmm_audit_verdict_text((gmm_audit_verdict)v));
        separator = count ? ", " : separator;
        any |= count > 0;
    }
    printf("%s%s\n\n", any ? "; " : "", audit_failures(run) ? "breaks its contract" : "keeps its contract");
    fflush(stdout);
    free(path);
    free(version);
}
