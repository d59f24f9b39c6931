/* audit_page.c - an audit as one self-contained HTML page: what was run and where, what failed, the control matrices.
 */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit_session.h"
#include "command.h"
#include "machine_text.h"
#include "output.h"
#include "whole_file.h"

static const char *const style[] = {
    "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 "
    "1rem;color:#1b1f24;background:#fff}",
    "h1{font-size:1.6rem;margin-bottom:.3rem}h2{font-size:1.2rem;margin-top:2.5rem;border-bottom:1px solid #d0d7de}",
    "table{border-collapse:collapse;width:100%;margin:.8rem 0}th,td{text-align:left;vertical-align:top;padding:.35rem "
    ".6rem;border-bottom:1px solid "
    "#e4e8ec}th{font-weight:600;background:#f6f8fa}td.n{text-align:right;white-space:nowrap}",
    "code{font:13px/1.45 "
    "ui-monospace,monospace;overflow-wrap:anywhere}dt{font-weight:600;float:left;clear:left;width:8rem}",
    "dd{margin-left:8.5rem;overflow-wrap:anywhere}.v{display:inline-block;padding:0 "
    ".5rem;border-radius:.7rem;font-size:12px;"
    "font-weight:600;color:#fff;background:#b42318}",
    ".v.remark{background:#6b7280}.v.fine{background:#1a7f37}.c{white-space:nowrap;display:inline-block;margin-right:."
    "9rem}",
    ".bad::before{content:'BAD ';color:#b42318;font-weight:600}.ok::before{content:'OK "
    "';color:#1a7f37;font-weight:600}",
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th{background:#161b22}th,td{border-color:#"
    "30363d}"
    "h2{border-color:#30363d}.bad::before{color:#ff8b82}.ok::before{color:#56d364}}"};

static void put(FILE *to, const char *text)
{
    char *marked = audit_markup_text(text);

    fputs(marked, to);
    free(marked);
}

static void put_row(FILE *to, const char *title, const char *text)
{
    fprintf(to, "<dt>%s</dt><dd>", title);
    put(to, text);
    fputs("</dd>\n", to);
}

static void put_verdict(FILE *to, gmm_audit_verdict verdict)
{
    fprintf(to, "<span class=\"v%s\">%s</span>", audit_counts(verdict) ? "" : " remark",
            gmm_audit_verdict_text(verdict));
}

/* ---- the whole, and one line for each run ------------------------------------------------------------------------ */

static void put_head(FILE *to, const audit_session *session)
{
    char *cpu = cpu_model(), *system = system_text(), *seed = must_format("%" PRIu64, session->options.seed);

    fputs(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>BLAS audit</title>\n<style>\n",
        to);
    for (size_t i = 0; i < sizeof style / sizeof style[0]; i++)
        fprintf(to, "%s\n", style[i]);
    fputs("</style>\n</head>\n<body>\n<h1>BLAS audit</h1>\n<dl>\n", to);
    put_row(to, "gathermm", gmm_version());
    put_row(to, "CPU", cpu);
    put_row(to, "System", system);
    put_row(to, "Mode", session->mode);
    put_row(to, "Seed", seed);
    put_row(to, "Checks", session->options.checks ? session->options.checks : "all");
    put_row(to, "Routines", session->options.routines ? session->options.routines : "all");
    fputs("</dl>\n", to);
    free(cpu);
    free(system);
    free(seed);
}

static void put_summary(FILE *to, const audit_session *session)
{
    fputs("<table>\n<tr><th>Library</th><th>Cases</th><th>Verdict</th><th>Findings</th></tr>\n", to);
    for (size_t i = 0; i < session->run_count; i++) {
        const audit_run *run = &session->runs[i];
        char *name = audit_run_name(run);
        bool fails = audit_failures(run) > 0;
        fprintf(to, "<tr><td><a href=\"#run%zu\">", i);
        put(to, name);
        fprintf(to, "</a></td><td class=\"n\">%" PRId64 "</td><td><span class=\"v%s\">%s</span></td><td>",
                gmm_audit_cases(run->audit), fails ? "" : " fine",
                fails ? "breaks its contract" : "keeps its contract");
        const char *comma = "";
        for (int v = GMM_AUDIT_VIOLATION; v <= GMM_AUDIT_NONREPRO; v++) {
            if (!audit_findings_of(run, (gmm_audit_verdict)v))
                continue;
            fprintf(to, "%s%zu %s", comma, audit_findings_of(run, (gmm_audit_verdict)v),
                    gmm_audit_verdict_text((gmm_audit_verdict)v));
            comma = ", ";
        }
        fputs("</td></tr>\n", to);
        free(name);
    }
    fputs("</table>\n", to);
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

static void put_controls(FILE *to, const audit_run *run, size_t i)
{
    gmm_audit_control control;

    for (size_t j = 0; gmm_audit_control_at(run->audit, i, j, &control); j++) {
        fprintf(to, "<span class=\"c %s\">", control.fails ? "bad" : "ok");
        put(to, control.name);
        fputs("</span>\n", to);
    }
}

static void put_finding(FILE *to, const audit_run *run, size_t i, const gmm_audit_finding *f)
{
    fputs("<tr><td>", to);
    put_verdict(to, f->verdict);
    fprintf(to, "</td><td>%s</td><td class=\"n\">%" PRId64 " of %" PRId64 "</td><td><code>", f->check, f->failed,
            f->cases);
    put(to, f->call);
    fputs("</code><br>", to);
    put(to, f->detail);
    fputs("<br>", to);
    put_controls(to, run, i);
    if (run->programs && run->programs[i]) {
        fputs("<br><code>", to);
        put(to, run->programs[i]);
        fputs("</code>", to);
    }
    fputs("</td></tr>\n", to);
}

static void put_findings(FILE *to, const audit_run *run)
{
    gmm_audit_finding f;
    bool any = false;

    for (int v = GMM_AUDIT_VIOLATION; v <= GMM_AUDIT_NONREPRO; v++)
        for (size_t i = 0; gmm_audit_finding_at(run->audit, i, &f); i++) {
            if (f.verdict != (gmm_audit_verdict)v)
                continue;
            if (!any)
                fputs(
                    "<table>\n<tr><th>Verdict</th><th>Check</th><th>Failed</th><th>The smallest failing call, what was "
                    "wrong, controls</th></tr>\n",
                    to);
            any = true;
            put_finding(to, run, i, &f);
        }
    fputs(any ? "</table>\n" : "<p>No findings.</p>\n", to);
}

static void put_run(FILE *to, const audit_run *run, size_t number)
{
    char *name = audit_run_name(run);
    char *text = must_format("%d bits", (int)run->info.integer_bits);

    fprintf(to, "<h2 id=\"run%zu\">", number);
    put(to, name);
    fputs("</h2>\n<dl>\n", to);
    put_row(to, "Path", run->info.path);
    put_row(to, "Version", *run->info.version ? run->info.version : "it does not say");
    put_row(to, "Integers", text);
    put_row(to, "Interfaces", run->info.has_cblas ? run->info.has_fortran ? "CBLAS and Fortran" : "CBLAS" : "Fortran");
    for (size_t i = 0; gmm_audit_note_at(run->audit, i); i++)
        put_row(to, "Note", gmm_audit_note_at(run->audit, i));
    fputs("</dl>\n", to);
    put_findings(to, run);
    free(name);
    free(text);
}

/* Of --compare. */
static void put_differences(FILE *to, const audit_session *session)
{
    fputs("<h2 id=\"bits\">Other bits</h2>\n", to);
    if (!session->difference_count) {
        fputs("<p>All results that are within their bounds in both libraries have the same bits.</p>\n", to);
        return;
    }
    fputs("<table>\n<tr><th>Routine</th><th>Results</th><th>The first call that differs; both are within their "
          "bounds</th></tr>\n",
          to);
    for (size_t i = 0; i < session->difference_count; i++) {
        const gmm_audit_difference *d = &session->differences[i];
        fprintf(to, "<tr><td>%s</td><td class=\"n\">%" PRId64 " of %" PRId64 "</td><td><code>", d->routine,
                d->differing, d->compared);
        put(to, d->call);
        fputs("</code></td></tr>\n", to);
    }
    fputs("</table>\n", to);
}

static void put_checks(FILE *to)
{
    gmm_audit_check check;

    fputs("<h2>Checks</h2>\n<table>\n<tr><th>Check</th><th>What must hold</th></tr>\n", to);
    for (size_t i = 0; gmm_audit_check_at(i, &check); i++) {
        fprintf(to, "<tr><td>%s</td><td>", check.name);
        put(to, check.summary);
        fputs("</td></tr>\n", to);
    }
    fputs("</table>\n<p>VIOLATION, MEMORY, CRASH, HANG, EXIT, STATE and ACCURACY are failures. DIFFERS (unspecified, "
          "but not "
          "what the reference does) and NONREPRO (bits vary with alignment or threads) are remarks. A control is the "
          "failing call with one thing changed: BAD says that it fails too.</p>\n",
          to);
}

int audit_write_page(const audit_session *session)
{
    whole_file file;
    int status = whole_file_begin(&file, session->html_path);

    if (status)
        return status;
    put_head(file.stream, session);
    put_summary(file.stream, session);
    for (size_t i = 0; i < session->run_count; i++)
        put_run(file.stream, &session->runs[i], i);
    if (session->compared)
        put_differences(file.stream, session);
    put_checks(file.stream);
    fputs("</body>\n</html>\n", file.stream);
    return whole_file_publish(&file);
}
