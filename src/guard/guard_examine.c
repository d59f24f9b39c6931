/* guard_examine.c - a call that may have gone wrong: made again in clean memory, compared, and judged. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "blas/audit_memory.h"
#include "blas/call_lines.h"
#include "guard/guard_watch.h"

/* Multiplications that are spent on comparing one result. */
#define MANY 2e6
#define FEW 1e4
/* A first call of its shape is made again if its operands and its work are not larger. */
#define MOST_FRESH_BYTES ((size_t)64 << 20)
#define MOST_FRESH_WORK 1e9

enum {
    ENOUGH = 16 /* findings of one kind after which there is nothing new in another */
};
static const size_t most_bytes = (size_t)1 << 30;

/* ---- operands as they were --------------------------------------------------------------------------------------- */

typedef struct keep {
    gmm_kept_call kept;
    char *map;
    size_t bytes;
} keep;

static void copy_lines(const gmm_guard_watch *w, int operand, char *to)
{
    const gmm_blas_call *call = &w->call;
    size_t bytes = gmm_blas_element_bytes(call->type);
    int64_t lines = gmm_call_line_count(call, operand);
    const char *kept = w->kept[operand];
    bool output = gmm_blas_is_output(call, operand);
    static const double one[2] = {1, 0};

    for (int64_t i = 0; i < lines; i++) {
        gmm_call_line line = gmm_call_line_at(call, operand, i);
        size_t length = (size_t)line.length * bytes;
        char *at = to + (size_t)line.start * bytes;
        if (!output) {
            memcpy(at, (const char *)call->operands[operand].data + (size_t)line.start * bytes, length);
        } else if (kept) {
            memcpy(at, kept, length);
            kept += length;
        } else {
            for (int64_t j = 0; j < line.length; j++)
                gmm_audit_store(call->type, at, j, one);
        }
    }
}

/* False if there is not enough memory, or an output that was read has not been kept. */
static bool keep_call(const gmm_guard_watch *w, keep *k)
{
    size_t at[GMM_BLAS_OPERANDS] = {0};

    *k = (keep){.kept = {.call = w->call, .integer_bits = w->integer_bits}};
    for (int o = 0; o < gmm_blas_operand_count(&w->call); o++) {
        if (gmm_blas_is_output(&w->call, o) && !gmm_audit_is_unread(&w->call, o) && !w->kept[o])
            return false;
        int64_t extent = gmm_blas_extent(&w->call, o);
        if (extent < 0 || (uint64_t)extent > most_bytes / 16)
            return false;
        k->kept.bytes[o] = (size_t)extent * gmm_blas_element_bytes(w->call.type);
        at[o] = k->bytes;
        k->bytes += (k->kept.bytes[o] + 63) / 64 * 64;
    }
    if (k->bytes == 0 || k->bytes > most_bytes)
        return false;
    void *map = mmap(NULL, k->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return false;
    k->map = map;
    gmm_trial_pattern(k->map, k->bytes);
    for (int o = 0; o < gmm_blas_operand_count(&w->call); o++) {
        k->kept.call.operands[o].data = k->map + at[o];
        copy_lines(w, o, k->map + at[o]);
    }
    return true;
}

/* ---- trials ------------------------------------------------------------------------------------------------------ */

static void run_trials(const gmm_guard_watch *w, const gmm_kept_call *kept, gmm_trial_outcome *trials)
{
    const gmm_blas_library *library = NULL;

    for (int t = 0; t < GMM_TRIALS; t++) {
        trials[t] = (gmm_trial_outcome){.ran = false};
        if (gmm_trial_applies(&w->call, (gmm_trial)t) && t != GMM_TRIAL_ONE_THREAD)
            gmm_trial_run(kept, w->slot->real, (gmm_trial)t, MANY, &trials[t]);
    }
    gmm_guard_library(w->slot, &library);
    int threads = library ? gmm_blas_get_threads(library) : 1;
    if (threads > 1 && gmm_blas_set_threads(library, 1)) {
        gmm_trial_run(kept, w->slot->real, GMM_TRIAL_ONE_THREAD, MANY, &trials[GMM_TRIAL_ONE_THREAD]);
        gmm_blas_set_threads(library, threads);
    }
}

/* Whether what an unread output held decides. */
static bool depends_on_output(const gmm_trial_outcome *trials)
{
    bool bad = false, fine = false;

    for (int t = GMM_TRIAL_ZERO; t <= GMM_TRIAL_NAN; t++) {
        bad |= trials[t].ran && trials[t].bad;
        fine |= trials[t].ran && !trials[t].bad;
    }
    return bad && fine;
}

static const gmm_trial_outcome *first_bad(const gmm_trial_outcome *trials)
{
    for (int t = 0; t < GMM_TRIALS; t++)
        if (trials[t].ran && trials[t].bad)
            return &trials[t];
    return NULL;
}

static void conclude(const gmm_guard_watch *w, const gmm_kept_call *kept, const gmm_trial_outcome *seen)
{
    gmm_trial_outcome trials[GMM_TRIALS];
    char detail[sizeof seen->detail], name[48];

    run_trials(w, kept, trials);
    const gmm_trial_outcome *worst = seen->bad ? seen : first_bad(trials);
    if (!worst)
        return;
    gmm_guard_report report = {
        .watch = w, .kept = kept, .verdict = worst->verdict, .worst = worst, .detail = detail, .trials = trials};
    int length = snprintf(detail, sizeof detail, "%.150s", worst->detail);
    char *rest = detail + length;
    size_t room = sizeof detail - (size_t)length;
    report.trial = seen->bad ? GMM_TRIAL_AS_IT_WAS : (gmm_trial)(worst - trials);
    if (depends_on_output(trials)) {
        report.verdict = GMM_GUARD_VIOLATION;
        snprintf(rest, room, "; it depends on what the output held");
    } else if (seen->bad && !trials[GMM_TRIAL_AS_IT_WAS].bad) {
        report.verdict = GMM_GUARD_STATE;
        snprintf(rest, room, "; the same bytes again are right");
    }
    if (!seen->bad) {
        length = (int)strlen(detail);
        gmm_trial_name(&w->call, report.trial, name);
        snprintf(detail + length, sizeof detail - (size_t)length, " (made again: %s)", name);
    }
    gmm_guard_note_finding(&report);
}

/* ---- what the program got ---------------------------------------------------------------------------------------- */

static void judge_seen(const gmm_guard_watch *w, const gmm_kept_call *kept, gmm_trial_outcome *seen)
{
    gmm_call_view view = {.call = &w->call, .result = &w->result};

    for (int o = 0; o < gmm_blas_operand_count(&w->call); o++) {
        view.before[o] = kept->call.operands[o].data;
        view.after[o] = w->call.operands[o].data;
    }
    gmm_trial_judge(&view, w->reasons == GMM_GUARD_FRESH ? FEW : MANY, seen);
}

static double work_of(const gmm_blas_call *call)
{
    double most = 1;

    for (int o = 0; o < gmm_blas_operand_count(call); o++) {
        int64_t rows, columns;
        gmm_blas_stored_shape(call, o, &rows, &columns);
        if (gmm_blas_is_output(call, o))
            most *= (double)rows * (double)columns;
    }
    return most * (double)gmm_call_sum_length(call);
}

/* A first call that seems right: once more, with NaN where nothing is to be read. */
static bool fresh_is_bad(const gmm_guard_watch *w, const gmm_kept_call *kept)
{
    gmm_trial_outcome outcome;
    gmm_trial trial = gmm_trial_applies(&w->call, GMM_TRIAL_NAN) ? GMM_TRIAL_NAN : GMM_TRIAL_AS_IT_WAS;

    gmm_trial_run(kept, w->slot->real, trial, FEW, &outcome);
    return outcome.ran && outcome.bad;
}

void gmm_guard_examine(const gmm_guard_watch *w)
{
    const void *before[GMM_BLAS_OPERANDS] = {NULL};
    gmm_trial_outcome seen;
    bool fresh = w->reasons == GMM_GUARD_FRESH;
    keep k;

    for (int v = GMM_GUARD_VIOLATION; v <= GMM_GUARD_ACCURACY; v++)
        if (gmm_guard_is_known(w->slot, (gmm_guard_verdict)v, ENOUGH))
            return;
    if (fresh && work_of(&w->call) > MOST_FRESH_WORK)
        return;
    if (!keep_call(w, &k))
        return;
    for (int o = 0; o < gmm_blas_operand_count(&w->call); o++)
        before[o] = k.kept.call.operands[o].data;
    if (!(fresh && k.bytes > MOST_FRESH_BYTES)) {
        bool judged = gmm_call_inputs_are_finite(&w->call, before);
        seen = (gmm_trial_outcome){.bad = false};
        if (judged)
            judge_seen(w, &k.kept, &seen);
        if (seen.bad || (w->reasons & GMM_GUARD_CHANGED) || fresh_is_bad(w, &k.kept))
            conclude(w, &k.kept, &seen);
    }
    munmap(k.map, k.bytes);
}

void gmm_guard_blame_caller(const gmm_guard_watch *w, const char *why)
{
    const gmm_trial_outcome nowhere = {.operand = -1};
    gmm_guard_report report = {.watch = w, .verdict = GMM_GUARD_CALLER, .worst = &nowhere, .detail = why};

    gmm_guard_note_finding(&report);
}
