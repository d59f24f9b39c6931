/* call_reduce.c - a call from a file made smaller, as long as it goes wrong alike: what is then written as a program.
 */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "blas/audit_memory.h"
#include "blas/audit_worker.h"
#include "blas/call_lines.h"
#include "blas/call_replay.h"
#include "blas/shrink.h"

/* Numbers in [-1, 1) by operand, element and part: as the audit's, and as the program makes them. */
static double number_at(int operand, int64_t element, int part)
{
    uint64_t h = gmm_audit_mix(gmm_audit_mix((uint64_t)element * 8 + (uint64_t)operand * 2 + (uint64_t)part));

    return (double)(int64_t)(h >> 40) * 0x1p-23 - 1;
}

/* Elements of such numbers, with the pattern between them. */
static char *make_numbers(const gmm_kept_call *kept, int operand)
{
    const gmm_blas_call *call = &kept->call;
    char *data = malloc(kept->bytes[operand] + 1);

    if (!data)
        return NULL;
    gmm_trial_pattern(data, kept->bytes[operand]);
    for (int64_t i = 0; i < gmm_call_line_count(call, operand); i++) {
        gmm_call_line line = gmm_call_line_at(call, operand, i);
        for (int64_t j = line.start; j < line.start + line.length; j++)
            gmm_audit_store(call->type, data, j, (double[2]){number_at(operand, j, 0), number_at(operand, j, 1)});
    }
    return data;
}

typedef struct reducer {
    gmm_replay *replay;
    const char *library;
    double until;
    char size; /* that is being made smaller: M, N or K */
} reducer;

/* Take over a changed record if it goes wrong as the first one did. */
static bool try_record(reducer *r, const gmm_call_record *changed)
{
    gmm_trial_outcome outcome;

    if (gmm_audit_seconds() > r->until)
        return false;
    if (gmm_replay_try(changed, r->library, changed->trial, &outcome) != GMM_OK || !outcome.bad ||
        outcome.verdict != r->replay->shown)
        return false;
    r->replay->small = *changed;
    r->replay->small.operand = outcome.operand;
    r->replay->small.row = outcome.row;
    r->replay->small.column = outcome.column;
    r->replay->small.expected = outcome.expected;
    snprintf(r->replay->small.detail, sizeof r->replay->small.detail, "%s", outcome.detail);
    return true;
}

/* The same with numbers made anew, which lie where the sizes say. */
static bool try_made(reducer *r, gmm_call_record *changed)
{
    char *data[GMM_BLAS_OPERANDS] = {NULL};
    bool taken = true;

    for (int o = 0; o < gmm_blas_operand_count(&changed->kept.call); o++)
        if (r->replay->made[o]) {
            data[o] = make_numbers(&changed->kept, o);
            taken &= data[o] != NULL;
            changed->kept.call.operands[o].data = data[o];
        }
    taken = taken && try_record(r, changed);
    for (int o = 0; o < GMM_BLAS_OPERANDS; o++) {
        free(taken && data[o] ? r->replay->made[o] : data[o]);
        if (taken && data[o])
            r->replay->made[o] = data[o];
    }
    return taken;
}

/* The upper left part of every operand: the same data, with the leading dimensions that they have. */
static bool size_fails(void *context, int64_t value)
{
    reducer *r = context;
    gmm_call_record changed = r->replay->small;
    gmm_blas_call *call = &changed.kept.call;
    char why[128];

    *(r->size == 'M' ? &call->m : r->size == 'N' ? &call->n : &call->k) = value;
    if (!gmm_call_is_legal(call, why, sizeof why) || gmm_call_is_empty(call))
        return false;
    for (int o = 0; o < gmm_blas_operand_count(call); o++) {
        size_t bytes = (size_t)gmm_blas_extent(call, o) * gmm_blas_element_bytes(call->type);
        if (bytes > changed.kept.bytes[o])
            return false;
        changed.kept.bytes[o] = bytes;
    }
    return try_made(r, &changed);
}

static void reduce_sizes(reducer *r)
{
    const gmm_blas_call *call = &r->replay->small.kept.call;

    for (const char *size = "MNK"; *size; size++)
        if (gmm_blas_has_argument(call->routine, *size)) {
            r->size = *size;
            gmm_shrink(gmm_blas_size(call, *size), size_fails, r);
        }
}

/* Whether the program can make the operand's lines itself: their starts and lengths are straight functions of their
 * numbers but for bands. The residuals of random triangles say little, and rotations' numbers have a meaning. */
static bool can_be_made(const gmm_blas_call *call, int operand)
{
    const gmm_blas_routine *r = call->routine;

    return r->operands[operand].storage != GMM_STORED_BAND && r->sum != GMM_SUM_SOLVE && r->sum < GMM_SUM_ROTM;
}

static void reduce_values(reducer *r)
{
    gmm_replay *replay = r->replay;

    for (int o = 0; o < gmm_blas_operand_count(&replay->small.kept.call); o++) {
        gmm_call_record changed = replay->small;
        if (replay->made[o] || !can_be_made(&changed.kept.call, o) || changed.kept.bytes[o] == 0)
            continue;
        char *data = make_numbers(&changed.kept, o);
        if (!data)
            return;
        changed.kept.call.operands[o].data = data;
        if (try_record(r, &changed))
            replay->made[o] = data;
        else
            free(data);
    }
}

static void describe(gmm_replay *replay, bool shows)
{
    const gmm_blas_call *was = &replay->record.kept.call, *now = &replay->small.kept.call;
    char *text = replay->reduced;
    size_t size = sizeof replay->reduced, length = 0;
    const char *separator = "";

    if (!shows) {
        snprintf(text, size, "Nothing was made smaller: in a process of its own the call does not go wrong.");
        return;
    }
    for (const char *s = "MNK"; *s; s++)
        if (gmm_blas_has_argument(was->routine, *s) && gmm_blas_size(was, *s) != gmm_blas_size(now, *s)) {
            length += (size_t)snprintf(text + length, size - length, "%s%c from %" PRId64 " to %" PRId64, separator, *s,
                                       gmm_blas_size(was, *s), gmm_blas_size(now, *s));
            separator = ", ";
        }
    for (int o = 0; o < gmm_blas_operand_count(was); o++)
        if (replay->made[o]) {
            length += (size_t)snprintf(text + length, size - length, "%sthe numbers of %c by a formula", separator,
                                       was->routine->operands[o].name);
            separator = ", ";
        }
    snprintf(text + length, size - length, "%s",
             length ? " (leading dimensions and all else as they were)." : "Nothing could be made smaller.");
}

gmm_status gmm_replay_reduce(gmm_replay *replay, const char *library, double seconds)
{
    gmm_trial_outcome outcome;

    if (!replay)
        return gmm_fail(GMM_ERR_NULL, "replay is NULL");
    reducer r = {.replay = replay,
                 .library = library ? library : replay->record.library,
                 .until = gmm_audit_seconds() + seconds};
    gmm_status status = gmm_replay_try(&replay->small, r.library, replay->small.trial, &outcome);
    if (status != GMM_OK)
        return status;
    free(replay->program);
    replay->program = NULL;
    if (outcome.bad) {
        replay->shown = outcome.verdict;
        reduce_values(&r);
        reduce_sizes(&r);
        reduce_values(&r);
        reduce_sizes(&r);
    }
    describe(replay, outcome.bad);
    return GMM_OK;
}
