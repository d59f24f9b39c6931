/* audit_session.h - what `gathermm audit` is made of: runs of libraries and kernels, and the reports about them. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_AUDIT_SESSION_H
#define GMM_AUDIT_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "gathermm/blas.h"

/* One library with one choice of kernels. */
typedef struct audit_run {
    gmm_audit *audit;
    const char *library;
    char *kernel; /* "OPENBLAS_CORETYPE=Prescott"; NULL: its own choice */
    gmm_blas_info info;
    double seconds;
    char **programs; /* the file of each finding's reproduction; NULL: none */
    size_t program_count;
} audit_run;

typedef struct audit_session {
    /* What is asked for. */
    gmm_audit_options options;
    const char *mode; /* "quick", "default", "deep" */
    double seconds, minimize_seconds, minimize_total;
    int64_t cases;
    bool forced_kernels;
    bool silent;        /* standard output is a report's */
    const char *folder; /* of reproductions; NULL: none */
    const char *json_path, *junit_path, *html_path;
    /* What came of it. */
    audit_run *runs;
    size_t run_count;
    bool compared; /* of two: routines whose right results have other bits */
    gmm_audit_difference *differences;
    size_t difference_count;
} audit_session;

/* Run all libraries, each with its own kernels and, if asked for, all others. EXIT_FINE, EXIT_FOUND, or
 * EXIT_COULD_NOT_RUN after a complaint: a library that cannot be loaded does not keep the others from being run. */
int audit_session_run(audit_session *session, char **libraries, int count);

/* Run the same cases on two libraries and print what differs. The same statuses. */
int audit_session_compare(audit_session *session, char **libraries);

void audit_session_free(audit_session *session);

/* Whether a verdict is a failure, not a remark. */
bool audit_counts(gmm_audit_verdict verdict);

/* Findings of a run that count, and all of one verdict. */
size_t audit_failures(const audit_run *run);
size_t audit_findings_of(const audit_run *run, gmm_audit_verdict verdict);

/* "libopenblas.so.0 with OPENBLAS_CORETYPE=Prescott" in memory of its own. */
char *audit_run_name(const audit_run *run);

/* Reports: on the terminal; as files. The latter return EXIT_FINE or EXIT_COULD_NOT_RUN after a complaint. */
void audit_print_table(const audit_run *run);
int audit_write_json(const audit_session *session);
int audit_write_junit(const audit_session *session);
int audit_write_page(const audit_session *session);

/* Text with what XML and HTML read as markup replaced, and what XML cannot hold; free it. */
char *audit_markup_text(const char *text);

#endif
