/* audit_junit.c - an audit as JUnit's XML, which CI servers show: a suite for each run, a test for each check. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit_session.h"
#include "command.h"
#include "output.h"
#include "whole_file.h"

char *audit_markup_text(const char *text)
{
    char *marked = must_allocate(6 * strlen(text) + 1, 1), *to = marked;

    for (; *text; text++)
        if (*text == '&')
            to += sprintf(to, "&amp;");
        else if (*text == '<')
            to += sprintf(to, "&lt;");
        else if (*text == '>')
            to += sprintf(to, "&gt;");
        else if (*text == '"')
            to += sprintf(to, "&quot;");
        else
            *to++ = (unsigned char)*text < 0x20 && *text != '\n' && *text != '\t' ? '?' : *text;
    *to = '\0';
    return marked;
}

/* Was the check asked for? */
static bool selected(const audit_session *session, const gmm_audit_check *check)
{
    const char *words = session->options.checks;
    size_t length = strlen(check->name);

    for (const char *w = words; w; w = strchr(w, ',') ? strchr(w, ',') + 1 : NULL)
        if (!strncmp(w, check->name, length) && (w[length] == ',' || !w[length]))
            return true;
    return !words && !check->on_request;
}

static void write_finding(FILE *to, const gmm_audit_finding *f)
{
    char *routine = audit_markup_text(f->routine), *call = audit_markup_text(f->call),
         *detail = audit_markup_text(f->detail);
    const char *tag = audit_counts(f->verdict) ? "failure" : "system-out";

    if (audit_counts(f->verdict))
        fprintf(to,
                "      <failure type=\"%s\" message=\"%s: %s\">%s\n%s\n%" PRId64 " of %" PRId64 " cases</failure>\n",
                gmm_audit_verdict_text(f->verdict), routine, detail, call, detail, f->failed, f->cases);
    else
        fprintf(to, "      <%s>%s %s: %s: %s</%s>\n", tag, gmm_audit_verdict_text(f->verdict), routine, detail, call,
                tag);
    free(routine);
    free(call);
    free(detail);
}

/* One element of a kind for each test is what readers expect: the failures of a check's routines are tests of their
 * own. */
static void write_check(FILE *to, const audit_run *run, const gmm_audit_check *check, const char *suite)
{
    gmm_audit_finding f;
    bool failed = false;

    for (size_t i = 0; gmm_audit_finding_at(run->audit, i, &f); i++) {
        if (strcmp(f.check, check->name))
            continue;
        fprintf(to, "    <testcase classname=\"%s\" name=\"%s %s %s\">\n", suite, check->name, f.routine,
                gmm_audit_verdict_text(f.verdict));
        write_finding(to, &f);
        fprintf(to, "    </testcase>\n");
        failed |= audit_counts(f.verdict);
    }
    if (!failed)
        fprintf(to, "    <testcase classname=\"%s\" name=\"%s\"/>\n", suite, check->name);
}

static void write_suite(FILE *to, const audit_session *session, const audit_run *run)
{
    char *plain = audit_run_name(run), *name = audit_markup_text(plain);
    gmm_audit_check check;
    gmm_audit_finding f;
    size_t tests = 0;

    for (size_t c = 0; gmm_audit_check_at(c, &check); c++) {
        bool failed = false;
        for (size_t i = 0; gmm_audit_finding_at(run->audit, i, &f); i++)
            if (!strcmp(f.check, check.name)) {
                tests++;
                failed |= audit_counts(f.verdict);
            }
        tests += !failed && selected(session, &check);
    }
    fprintf(to, "  <testsuite name=\"%s\" tests=\"%zu\" failures=\"%zu\" time=\"%.1f\">\n", name, tests,
            audit_failures(run), run->seconds);
    for (size_t c = 0; gmm_audit_check_at(c, &check); c++)
        if (selected(session, &check))
            write_check(to, run, &check, name);
    fprintf(to, "  </testsuite>\n");
    free(plain);
    free(name);
}

int audit_write_junit(const audit_session *session)
{
    whole_file file;
    int status = whole_file_begin(&file, session->junit_path);

    if (status)
        return status;
    fprintf(file.stream, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"gathermm audit\">\n");
    for (size_t i = 0; i < session->run_count; i++)
        write_suite(file.stream, session, &session->runs[i]);
    fprintf(file.stream, "</testsuites>\n");
    return whole_file_publish(&file);
}
