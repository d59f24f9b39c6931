/* audit_json.c - an audit as JSON, for programs. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "audit_session.h"
#include "command.h"
#include "json_file.h"
#include "machine_text.h"
#include "output.h"
#include "whole_file.h"

static json_t *finding_json(const audit_run *run, size_t i, const gmm_audit_finding *f)
{
    json_t *object = json_object(), *controls = json_array();
    gmm_audit_control control;

    json_object_set_new(object, "verdict", json_text(gmm_audit_verdict_text(f->verdict)));
    json_object_set_new(object, "check", json_text(f->check));
    json_object_set_new(object, "routine", json_text(f->routine));
    json_object_set_new(object, "failed", json_integer(f->failed));
    json_object_set_new(object, "cases", json_integer(f->cases));
    json_object_set_new(object, "call", json_text(f->call));
    json_object_set_new(object, "detail", json_text(f->detail));
    json_object_set_new(object, "expected", json_text(f->advice));
    json_object_set_new(object, "minimized", json_boolean(f->minimized));
    for (size_t j = 0; gmm_audit_control_at(run->audit, i, j, &control); j++) {
        json_t *entry = json_object();
        json_object_set_new(entry, "name", json_text(control.name));
        json_object_set_new(entry, "fails", json_boolean(control.fails));
        json_array_append_new(controls, entry);
    }
    json_object_set_new(object, "controls", controls);
    json_object_set_new(object, "program",
                        run->programs && run->programs[i] ? json_text(run->programs[i]) : json_null());
    return object;
}

static json_t *run_json(const audit_run *run)
{
    json_t *object = json_object(), *findings = json_array(), *notes = json_array();
    gmm_audit_finding finding;

    json_object_set_new(object, "library", json_text(run->library));
    json_object_set_new(object, "kernel", run->kernel ? json_text(run->kernel) : json_null());
    json_object_set_new(object, "path", json_text(run->info.path));
    json_object_set_new(object, "version", json_text(run->info.version));
    json_object_set_new(object, "integer_bits", json_integer(run->info.integer_bits));
    json_object_set_new(object, "cblas", json_boolean(run->info.has_cblas));
    json_object_set_new(object, "fortran", json_boolean(run->info.has_fortran));
    json_object_set_new(object, "cases", json_integer(gmm_audit_cases(run->audit)));
    json_object_set_new(object, "position", json_integer(gmm_audit_position(run->audit)));
    json_object_set_new(object, "failures", json_integer((json_int_t)audit_failures(run)));
    for (size_t i = 0; gmm_audit_finding_at(run->audit, i, &finding); i++)
        json_array_append_new(findings, finding_json(run, i, &finding));
    json_object_set_new(object, "findings", findings);
    for (size_t i = 0; gmm_audit_note_at(run->audit, i); i++)
        json_array_append_new(notes, json_text(gmm_audit_note_at(run->audit, i)));
    json_object_set_new(object, "notes", notes);
    return object;
}

/* Of --compare: results within their bounds in both libraries that have other bits. */
static json_t *differences_json(const audit_session *session)
{
    json_t *list = json_array();

    for (size_t i = 0; i < session->difference_count; i++) {
        const gmm_audit_difference *d = &session->differences[i];
        json_t *entry = json_object();
        json_object_set_new(entry, "routine", json_text(d->routine));
        json_object_set_new(entry, "differing", json_integer(d->differing));
        json_object_set_new(entry, "compared", json_integer(d->compared));
        json_object_set_new(entry, "call", json_text(d->call));
        json_array_append_new(list, entry);
    }
    return list;
}

int audit_write_json(const audit_session *session)
{
    json_t *root = json_object(), *runs = json_array();
    char *cpu = cpu_model(), *system = system_text();
    whole_file file;

    json_object_set_new(root, "gathermm", json_text(gmm_version()));
    json_object_set_new(root, "cpu", json_text(cpu));
    json_object_set_new(root, "system", json_text(system));
    json_object_set_new(root, "mode", json_text(session->mode));
    json_object_set_new(root, "seed", json_integer((json_int_t)session->options.seed));
    for (size_t i = 0; i < session->run_count; i++)
        json_array_append_new(runs, run_json(&session->runs[i]));
    json_object_set_new(root, "runs", runs);
    json_object_set_new(root, "differing_bits", session->compared ? differences_json(session) : json_null());
    free(cpu);
    free(system);
    char *text = json_print_text(root, 2);
    json_decref(root);
    if (!text) {
        complain("out of memory");
        return EXIT_COULD_NOT_RUN;
    }
    int status = whole_file_begin(&file, session->json_path);
    if (!status) {
        fprintf(file.stream, "%s\n", text);
        status = whole_file_publish(&file);
    }
    free(text);
    return status;
}
