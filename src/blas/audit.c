/* audit.c - an audit from its options to its findings: batches of cases, failures confirmed alone, kinds counted. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "blas/audit_far.h"
#include "blas/audit_state.h"

enum {
    MOST_DEATHS = 12,
    MOST_HANGS = 2,
    MOST_WAITS = 4, /* of one check, whatever the routine: it is the same lock that they wait for */
    MOST_WAITS_IN_BUDGET = 2,
    MOST_UNCONFIRMED = 4,
    MOST_REFUSALS = 400, /* of wrong arguments that end a process, each of which costs one */
    TALLIES_A_CHECK = GMM_AUDIT_MOST_ROUTINES * 8
};

const char *gmm_audit_verdict_text(gmm_audit_verdict verdict)
{
    static const char *const texts[] = {"PASS", "VIOLATION", "MEMORY",   "CRASH",   "HANG",
                                        "EXIT", "STATE",     "ACCURACY", "DIFFERS", "NONREPRO"};
    size_t i = (size_t)verdict;

    return i < sizeof texts / sizeof texts[0] ? texts[i] : "";
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static char *copy_text(const char *text)
{
    size_t bytes = text ? strlen(text) + 1 : 0;
    char *copy = text ? malloc(bytes) : NULL;

    if (copy)
        memcpy(copy, text, bytes);
    return copy;
}

static size_t check_count(void)
{
    size_t count = 0;

    while (gmm_blas_check_at(count))
        count++;
    return count;
}

/* Options as far as the caller's version of them goes. */
static gmm_audit_options read_options(const gmm_audit_options *given)
{
    gmm_audit_options options = {.size = sizeof options};

    if (given)
        memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
    if (!options.seed)
        options.seed = 1;
    return options;
}

static bool plan_has(const gmm_audit_plan *plan, const gmm_blas_check *check)
{
    for (size_t i = 0; i < plan->count; i++)
        if (plan->slots[i].check == check)
            return true;
    return false;
}

gmm_status gmm_audit_create(const char *library, const gmm_audit_options *given, gmm_audit **audit)
{
    gmm_audit_options options = read_options(given);

    if (!library || !audit)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", library ? "audit" : "library");
    *audit = NULL;
    if (options.threads < 0 || options.threads > 255)
        return gmm_fail(GMM_ERR_ARGUMENT, "threads is %d; an audit takes 1 to 255, or 0", (int)options.threads);
    if (!(options.budget >= 0))
        return gmm_fail(GMM_ERR_ARGUMENT, "budget is %g; it is a number of seconds, or 0", options.budget);
    gmm_audit *a = calloc(1, sizeof *a);
    if (!a)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for an audit");
    a->library = copy_text(library);
    a->environment = copy_text(options.environment);
    a->tallies = calloc(check_count() * TALLIES_A_CHECK, sizeof *a->tallies);
    a->waits = calloc(check_count(), sizeof *a->waits);
    gmm_status status = gmm_audit_plan_make(&a->plan, options.seed, options.checks, options.routines);
    if (!status && (!a->library || !a->tallies || !a->waits || (options.environment && !a->environment)))
        status = gmm_fail(GMM_ERR_MEMORY, "no memory for an audit");
    if (!status && plan_has(&a->plan, &gmm_check_large_indices))
        status = gmm_audit_far_available();
    if (!status)
        status = gmm_audit_crew_start(&a->crew, a->library, a->environment, options.threads, options.budget);
    if (status) {
        gmm_audit_destroy(a);
        return status;
    }
    *audit = a;
    return GMM_OK;
}

void gmm_audit_destroy(gmm_audit *audit)
{
    if (!audit)
        return;
    gmm_audit_crew_end(&audit->crew);
    gmm_audit_plan_free(&audit->plan);
    for (size_t i = 0; i < audit->record_count; i++)
        free(audit->records[i].reproduction);
    free(audit->records);
    free(audit->bits);
    free(audit->tallies);
    free(audit->waits);
    free(audit->library);
    free(audit->environment);
    free(audit);
}

void gmm_audit_library(const gmm_audit *audit, gmm_blas_info *info)
{
    *info = audit->crew.info;
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

/* Whose finding an outcome is: some things are watched in every check. */
static const gmm_blas_check *check_of(const gmm_audit_case *c, const gmm_audit_outcome *o)
{
    return o->outside ? &gmm_check_canaries : o->control || o->loading ? &gmm_check_float_control : c->check;
}

static size_t check_number(const gmm_blas_check *check)
{
    size_t c = 0;

    while (gmm_blas_check_at(c) != check)
        c++;
    return c;
}

static gmm_audit_tally *tally_at(const gmm_audit *audit, const gmm_blas_check *check, const gmm_blas_call *call)
{
    size_t c = check_number(check), routine = 0, type = (size_t)(strchr("sdcz", call->type) - "sdcz");

    while (gmm_blas_routine_at(routine) != call->routine)
        routine++;
    return &audit->tallies[((c * GMM_AUDIT_MOST_ROUTINES + routine) * 4 + type) * 2 + call->fortran];
}

static gmm_audit_tally *tally_of(const gmm_audit *audit, const gmm_audit_case *c)
{
    return tally_at(audit, c->check, &c->call);
}

static gmm_audit_record *find_record(gmm_audit *audit, const gmm_audit_case *c, const gmm_audit_outcome *o)
{
    const gmm_blas_check *check = check_of(c, o);

    for (size_t i = 0; i < audit->record_count; i++) {
        gmm_audit_record *r = &audit->records[i];
        if (o->loading && r->outcome.loading) /* no matter which call it was seen at */
            return r;
        if (r->check == check && r->routine == c->call.routine && r->type == c->call.type &&
            r->fortran == c->call.fortran && r->verdict == o->verdict)
            return r;
    }
    return NULL;
}

void gmm_audit_describe(const gmm_audit *audit, gmm_audit_record *record)
{
    gmm_blas_call call = record->c.call;

    if (record->c.settings[1].far)
        gmm_audit_far_steps(&call, record->c.settings[1].far, audit->crew.info.integer_bits);
    gmm_blas_symbol(&call, record->symbol);
    gmm_blas_call_text(&call, record->call, sizeof record->call);
}

static gmm_audit_record *add_record(gmm_audit *audit, const gmm_audit_case *c, const gmm_audit_outcome *o)
{
    if (audit->record_count == audit->record_room) {
        size_t room = audit->record_room ? 2 * audit->record_room : 16;
        void *grown = realloc(audit->records, room * sizeof *audit->records);
        if (!grown)
            return NULL;
        audit->records = grown;
        audit->record_room = room;
    }
    gmm_audit_record *r = &audit->records[audit->record_count++];
    memset(r, 0, sizeof *r);
    r->check = check_of(c, o);
    r->routine = c->call.routine;
    r->type = c->call.type;
    r->fortran = c->call.fortran;
    r->verdict = o->verdict;
    r->c = *c;
    r->outcome = *o;
    gmm_audit_describe(audit, r);
    return r;
}

bool gmm_audit_same_failure(const gmm_audit_record *record, const gmm_audit_outcome *outcome)
{
    return outcome->ran && outcome->verdict == record->verdict;
}

gmm_status gmm_audit_run_alone(gmm_audit *audit, const gmm_audit_case *c, gmm_audit_outcome *outcome)
{
    int ran;

    memset(outcome, 0, sizeof *outcome);
    return gmm_audit_crew_run(&audit->crew, c, 1, 0, outcome, &ran);
}

/* A failure that a fresh process does not show comes from what was called before: hidden state. */
static void turn_into_state(gmm_audit_outcome *o)
{
    char before[GMM_AUDIT_DETAIL];

    memcpy(before, o->detail, sizeof before);
    o->outside = o->control = o->loading = false;
    o->verdict = GMM_AUDIT_STATE;
    snprintf(o->detail, sizeof o->detail, "only after other calls: %.200s", before);
}

static gmm_status keep_failure(gmm_audit *audit, gmm_audit_tally *tally, const gmm_audit_case *c, gmm_audit_outcome *o)
{
    gmm_audit_record *known = find_record(audit, c, o);
    gmm_audit_outcome alone;

    if (known) {
        known->failed++;
        return GMM_OK;
    }
    gmm_status status = gmm_audit_run_alone(audit, c, &alone);
    if (status)
        return status;
    bool confirmed = alone.ran && alone.verdict != GMM_AUDIT_PASS;
    if (confirmed)
        *o = alone;
    else if (gmm_audit_seconds() > audit->crew.deadline) /* there was no time to see */
        confirmed = false;
    else if (o->verdict == GMM_AUDIT_HANG) /* a machine that stood still */
        return GMM_OK;
    else if (o->verdict != GMM_AUDIT_NONREPRO) {
        tally->unconfirmed++;
        turn_into_state(o);
    }
    known = find_record(audit, c, o);
    if (!known)
        known = add_record(audit, c, o);
    if (!known)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for findings");
    known->failed++;
    known->alone |= confirmed;
    return GMM_OK;
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

static unsigned interfaces_of(const void *context, const gmm_blas_routine *routine, char type)
{
    const gmm_audit *audit = context;
    size_t i = 0;

    while (gmm_blas_routine_at(i) != routine)
        i++;
    return audit->crew.interfaces[i][strchr("sdcz", type) - "sdcz"];
}

/* Wrong arguments may end the process: every library has its way. */
static bool is_refusal(gmm_audit *audit, const gmm_audit_case *c, const gmm_audit_outcome *o)
{
    if (c->judge != GMM_JUDGE_UNTOUCHED)
        return false;
    if (o->verdict == GMM_AUDIT_EXIT) {
        audit->refusals_exited++;
        sscanf(o->detail, "it ends the process, exit status %d", &audit->refusal_status);
        return true;
    }
    if (o->verdict == GMM_AUDIT_CRASH && !strncmp(o->detail, "signal 6 ", 9)) {
        audit->refusals_aborted++;
        return true;
    }
    audit->refusals_returned += o->verdict == GMM_AUDIT_PASS;
    return false;
}

bool gmm_audit_case_at(const gmm_audit *audit, int64_t i, gmm_audit_case *c)
{
    return gmm_audit_plan_case(&audit->plan, i, interfaces_of, audit, c);
}

static gmm_status keep_bits(gmm_audit *audit, int64_t number, uint64_t hash)
{
    if (audit->bit_count == audit->bit_room) {
        size_t room = audit->bit_room ? 2 * audit->bit_room : 1024;
        void *grown = realloc(audit->bits, room * sizeof *audit->bits);
        if (!grown)
            return gmm_fail(GMM_ERR_MEMORY, "no memory for the bits of %zu results", room);
        audit->bits = grown;
        audit->bit_room = room;
    }
    audit->bits[audit->bit_count++] = (gmm_audit_bits){number, hash};
    return GMM_OK;
}

/* Leave a kind of case out from the next window on: where the windows begin does not depend on how fast batches are. */
static void retire(gmm_audit_tally *tally, int64_t number)
{
    if (!tally->retired_from)
        tally->retired_from = (number / GMM_AUDIT_BATCH + 1) * GMM_AUDIT_BATCH;
}

static bool is_retired(const gmm_audit_tally *tally, int64_t number)
{
    return tally->retired_from && number >= tally->retired_from;
}

static gmm_status keep_outcome(gmm_audit *audit, int64_t number, const gmm_audit_case *c, gmm_audit_outcome *o)
{
    gmm_audit_tally *tally = tally_of(audit, c);

    if (!o->ran)
        return GMM_OK;
    tally->cases++;
    audit->cases++;
    if (is_refusal(audit, c, o)) {
        if (audit->refusals_exited + audit->refusals_aborted > MOST_REFUSALS)
            retire(tally, number);
        return GMM_OK;
    }
    if (o->verdict == GMM_AUDIT_PASS)
        return c->judge == GMM_JUDGE_REFERENCE ? keep_bits(audit, number, o->hash) : GMM_OK;
    tally->deaths += o->verdict == GMM_AUDIT_HANG ? MOST_DEATHS / MOST_HANGS
                                                  : o->verdict == GMM_AUDIT_CRASH || o->verdict == GMM_AUDIT_EXIT ||
                                                        o->verdict == GMM_AUDIT_MEMORY;
    audit->waits[check_number(c->check)] += o->verdict == GMM_AUDIT_HANG && !strcmp(o->detail, GMM_AUDIT_WAITS);
    gmm_status status = keep_failure(audit, tally, c, o);
    if (tally->deaths >= MOST_DEATHS || tally->unconfirmed >= MOST_UNCONFIRMED)
        retire(tally, number);
    return status;
}

gmm_status gmm_audit_run(gmm_audit *audit, int64_t cases, double seconds)
{
    double until = gmm_audit_seconds() + seconds;
    gmm_status status = GMM_OK;

    if (!audit)
        return gmm_fail(GMM_ERR_NULL, "audit is NULL");
    int most_waits = audit->crew.budget > 0 ? MOST_WAITS_IN_BUDGET : MOST_WAITS;
    until = until < audit->crew.deadline ? until : audit->crew.deadline;
    gmm_audit_case *batch = malloc(GMM_AUDIT_BATCH * sizeof *batch);
    gmm_audit_outcome *outcomes = calloc(GMM_AUDIT_BATCH, sizeof *outcomes);
    int64_t *numbers = malloc(GMM_AUDIT_BATCH * sizeof *numbers);
    if (!batch || !outcomes || !numbers)
        status = gmm_fail(GMM_ERR_MEMORY, "no memory for a batch of cases");
    while (!status && audit->next < cases && gmm_audit_seconds() < until) {
        int count = 0, ran = 0;
        int64_t next = audit->next, window = (next / GMM_AUDIT_BATCH + 1) * GMM_AUDIT_BATCH;
        for (; next < window && next < cases; next++) {
            numbers[count] = next;
            if (gmm_audit_case_at(audit, next, &batch[count]) && !is_retired(tally_of(audit, &batch[count]), next) &&
                audit->waits[check_number(batch[count].check)] < most_waits)
                count++;
        }
        if (count)
            status = gmm_audit_crew_run(&audit->crew, batch, count, until, outcomes, &ran);
        for (int i = 0; i < ran && !status; i++)
            status = keep_outcome(audit, numbers[i], &batch[i], &outcomes[i]);
        audit->next = ran < count ? numbers[ran] : next;
    }
    free(batch);
    free(outcomes);
    free(numbers);
    return status;
}

int64_t gmm_audit_cases(const gmm_audit *audit)
{
    return audit ? audit->cases : 0;
}

int64_t gmm_audit_position(const gmm_audit *audit)
{
    return audit ? audit->next : 0;
}

/* ---- what was found ---------------------------------------------------------------------------------------------- */

bool gmm_audit_finding_at(const gmm_audit *audit, size_t i, gmm_audit_finding *finding)
{
    if (!audit || !finding || i >= audit->record_count)
        return false;
    const gmm_audit_record *r = &audit->records[i];
    int64_t cases = tally_at(audit, r->check, &r->c.call)->cases;
    *finding = (gmm_audit_finding){.verdict = r->verdict,
                                   .check = r->check->name,
                                   .routine = r->symbol,
                                   .failed = r->failed,
                                   .cases = cases > r->failed ? cases : r->failed,
                                   .call = r->call,
                                   .detail = r->outcome.detail,
                                   .advice = r->check->summary,
                                   .minimized = r->minimized};
    return true;
}

bool gmm_audit_control_at(const gmm_audit *audit, size_t i, size_t j, gmm_audit_control *control)
{
    if (!audit || !control || i >= audit->record_count || j >= audit->records[i].control_count)
        return false;
    const gmm_audit_trial *trial = &audit->records[i].controls[j];
    *control = (gmm_audit_control){trial->name, trial->outcome.ran && trial->outcome.verdict != GMM_AUDIT_PASS};
    return true;
}

const char *gmm_audit_note_at(gmm_audit *audit, size_t i)
{
    size_t count = 0;

    if (!audit)
        return NULL;
    if (audit->refusals_returned)
        snprintf(audit->notes[count++], sizeof audit->notes[0],
                 "wrong arguments: %lld calls returned without touching their outputs",
                 (long long)audit->refusals_returned);
    if (audit->refusals_exited)
        snprintf(audit->notes[count++], sizeof audit->notes[0],
                 "wrong arguments: %lld calls ended the process, exit status %d", (long long)audit->refusals_exited,
                 (int)audit->refusal_status);
    if (audit->refusals_aborted)
        snprintf(audit->notes[count++], sizeof audit->notes[0], "wrong arguments: %lld calls aborted the process",
                 (long long)audit->refusals_aborted);
    return i < count ? audit->notes[i] : NULL;
}
