/* call_trial.c - see call_trial.h. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include "blas/call_trial.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "blas/audit_memory.h"
#include "blas/call_lines.h"

enum {
    MARGIN_BYTES = 256,
    BOUNDARY = 64,
    MOST_NOT_FINITE = 64 /* elements that are looked into although the sum is not short */
};

/* ---- names ------------------------------------------------------------------------------------------------------- */

static int unread_output(const gmm_blas_call *call)
{
    for (int o = 0; o < gmm_blas_operand_count(call); o++)
        if (gmm_blas_is_output(call, o) && gmm_audit_is_unread(call, o))
            return o;
    return -1;
}

bool gmm_trial_applies(const gmm_blas_call *call, gmm_trial trial)
{
    if (trial == GMM_TRIAL_ZERO || trial == GMM_TRIAL_FINITE || trial == GMM_TRIAL_NAN)
        return unread_output(call) >= 0;
    return true;
}

void gmm_trial_name(const gmm_blas_call *call, gmm_trial trial, char *name)
{
    static const char *const names[] = {
        "as it was", "%c holds zeros", "%c holds ones", "%c holds NaN", "operands on 64-byte boundaries", "one thread"};
    int unread = unread_output(call);

    /* The names are constants, with at most one %c. */
    const char *percent = strchr(names[trial], '%');
    if (percent)
        snprintf(name, 48, "%c%s", unread < 0 ? 'C' : call->routine->operands[unread].name, percent + 2);
    else
        snprintf(name, 48, "%s", names[trial]);
}

/* ---- judging ----------------------------------------------------------------------------------------------------- */

static bool is_finite(const double value[2])
{
    return isfinite(value[0]) && isfinite(value[1]);
}

static void blame(const gmm_call_view *view, int operand, int64_t row, int64_t column, const gmm_call_expected *e,
                  gmm_trial_outcome *o)
{
    char place[80];

    o->bad = true;
    o->operand = operand;
    o->row = row;
    o->column = column;
    o->expected = *e;
    o->verdict = is_finite(e->got) ? GMM_GUARD_ACCURACY : GMM_GUARD_VIOLATION;
    if (operand < 0)
        snprintf(place, sizeof place, "the result");
    else if (view->call->routine->operands[operand].form == GMM_FORM_VECTOR)
        snprintf(place, sizeof place, "%c[%" PRId64 "]", view->call->routine->operands[operand].name - 'A' + 'a', row);
    else
        snprintf(place, sizeof place, "%c(%" PRId64 ", %" PRId64 ")", view->call->routine->operands[operand].name, row,
                 column);
    if (view->call->routine->sum == GMM_SUM_SOLVE && operand >= 0)
        snprintf(o->detail, sizeof o->detail, "the residual at %s is %.9g; at most %.3g is allowed", place,
                 fmax(fabs(e->got[0]), fabs(e->got[1])), e->bound);
    else if (gmm_blas_is_complex(view->call->type))
        snprintf(o->detail, sizeof o->detail, "%s is (%.9g, %.9g); it should be (%.9g, %.9g) within %.3g", place,
                 e->got[0], e->got[1], e->want[0], e->want[1], e->bound);
    else
        snprintf(o->detail, sizeof o->detail, "%s is %.9g; it should be %.9g within %.3g", place, e->got[0], e->want[0],
                 e->bound);
}

static uint64_t mixed(int64_t row, int64_t column)
{
    return gmm_audit_mix((uint64_t)row * 0x9E3779B97F4A7C15u ^ gmm_audit_mix((uint64_t)column));
}

static void judge_output(const gmm_call_view *view, int operand, double operations, gmm_trial_outcome *o)
{
    const gmm_blas_call *call = view->call;
    int64_t rows, columns, not_finite = 0;

    gmm_blas_stored_shape(call, operand, &rows, &columns);
    double share = operations / ((double)rows * (double)columns * (double)gmm_call_sum_length(call));
    double most_not_finite = fmin(MOST_NOT_FINITE, 1 + 100 * operations / (double)gmm_call_sum_length(call));
    for (int64_t i = 0; i < rows && !o->bad; i++)
        for (int64_t j = 0; j < columns && !o->bad; j++) {
            gmm_call_expected e;
            double got[2];
            int64_t at = gmm_blas_where(call, operand, i, j);
            if (at < 0)
                continue;
            gmm_audit_load(call->type, view->after[operand], at, got);
            bool finite = is_finite(got), corner = (i == 0 || i == rows - 1) && (j == 0 || j == columns - 1);
            if (finite ? !corner && (double)(mixed(i, j) >> 11) * 0x1p-53 >= share
                       : (double)not_finite >= most_not_finite)
                continue;
            not_finite += !finite;
            gmm_call_expect(view, operand, i, j, &e);
            if (!gmm_call_expected_holds(&e))
                blame(view, operand, i, j, &e, o);
        }
}

void gmm_trial_judge(const gmm_call_view *view, double operations, gmm_trial_outcome *o)
{
    const gmm_blas_call *call = view->call;
    gmm_call_expected e;

    *o = (gmm_trial_outcome){.ran = true, .operand = -1};
    if (gmm_call_is_empty(call))
        return;
    for (int i = 0; i < gmm_blas_operand_count(call) && !o->bad; i++)
        if (gmm_blas_is_output(call, i))
            judge_output(view, i, operations, o);
    gmm_blas_sum kind = call->routine->sum;
    if (!o->bad && (kind == GMM_SUM_DOT || kind == GMM_SUM_NRM2 || kind == GMM_SUM_ASUM || kind == GMM_SUM_IAMAX)) {
        gmm_call_expect(view, -1, 0, 0, &e);
        if (!gmm_call_expected_holds(&e))
            blame(view, -1, 0, 0, &e, o);
    }
}

/* ---- clean memory ------------------------------------------------------------------------------------------------ */

void gmm_trial_pattern(char *bytes, size_t count)
{
    static const unsigned char pattern[8] = {0x5A, 0x5A, 0xFA, 0x7F, 0x5A, 0x5A, 0xFA, 0x7F}; /* NaN as either type */

    for (size_t i = 0; i < count; i++)
        bytes[i] = (char)pattern[i % sizeof pattern];
}

typedef struct place {
    char *map, *base;
    size_t map_bytes;
} place;

static bool open_place(place *p, const gmm_kept_call *kept, int operand, bool aligned)
{
    size_t offset = aligned ? 0 : (size_t)kept->call.operands[operand].offset % BOUNDARY;

    p->map_bytes = kept->bytes[operand] + 2 * (size_t)(MARGIN_BYTES + BOUNDARY);
    void *map = mmap(NULL, p->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    p->map = map == MAP_FAILED ? NULL : map;
    if (!p->map)
        return false;
    p->base = p->map + MARGIN_BYTES + offset;
    gmm_trial_pattern(p->map, (size_t)(p->base - p->map));
    memcpy(p->base, kept->call.operands[operand].data, kept->bytes[operand]);
    gmm_trial_pattern(p->base + kept->bytes[operand], p->map_bytes - (size_t)(p->base - p->map) - kept->bytes[operand]);
    return true;
}

static void fill_unread(const gmm_blas_call *call, int operand, char *base, gmm_trial trial)
{
    static const double one[2] = {1, 0}, zero[2] = {0, 0};
    int64_t lines = gmm_call_line_count(call, operand);
    size_t bytes = gmm_blas_element_bytes(call->type);

    for (int64_t i = 0; i < lines; i++) {
        gmm_call_line line = gmm_call_line_at(call, operand, i);
        for (int64_t j = line.start; j < line.start + line.length; j++)
            if (trial == GMM_TRIAL_NAN)
                gmm_trial_pattern(base + (size_t)j * bytes, bytes);
            else
                gmm_audit_store(call->type, base, j, trial == GMM_TRIAL_FINITE ? one : zero);
    }
}

/* Whether bytes [from, to) of the map are still those of the pattern, which begins anew at `origin`. */
static bool is_pattern(const char *bytes, size_t count)
{
    char pattern[64];

    for (size_t at = 0; at < count; at += sizeof pattern) {
        size_t length = count - at < sizeof pattern ? count - at : sizeof pattern;
        gmm_trial_pattern(pattern, length);
        if (memcmp(bytes + at, pattern, length))
            return false;
    }
    return true;
}

/* The first byte that is not as it was, of those that a call must leave alone; -1 if there is none. */
static int64_t first_change(const gmm_kept_call *kept, int operand, const char *base)
{
    const gmm_blas_call *call = &kept->call;
    const char *was = call->operands[operand].data;
    size_t bytes = gmm_blas_element_bytes(call->type), at = 0;
    int64_t lines = gmm_blas_is_output(call, operand) ? gmm_call_line_count(call, operand) : 0;

    for (int64_t i = 0; i <= lines; i++) {
        gmm_call_line line = i < lines ? gmm_call_line_at(call, operand, i) : (gmm_call_line){0, 0};
        size_t end = i < lines ? (size_t)line.start * bytes : kept->bytes[operand];
        if (end > at && memcmp(base + at, was + at, end - at))
            for (; at < end; at++)
                if (base[at] != was[at])
                    return (int64_t)at;
        at = (size_t)(line.start + line.length) * bytes;
    }
    return -1;
}

static void check_memory(const gmm_kept_call *kept, const place *p, int operand, gmm_trial_outcome *o)
{
    char name = kept->call.routine->operands[operand].name;
    int64_t changed = first_change(kept, operand, p->base);
    size_t before = (size_t)(p->base - p->map);
    bool outside = !is_pattern(p->map, before) ||
                   !is_pattern(p->base + kept->bytes[operand], p->map_bytes - before - kept->bytes[operand]);

    if (o->bad || (changed < 0 && !outside))
        return;
    o->bad = true;
    o->verdict = GMM_GUARD_MEMORY;
    o->operand = operand;
    if (outside)
        snprintf(o->detail, sizeof o->detail, "memory before or behind %c was changed", name);
    else
        snprintf(o->detail, sizeof o->detail, "%s of %c was changed, at byte %" PRId64,
                 gmm_blas_is_output(&kept->call, operand) ? "a gap" : "an element or a gap", name, changed);
}

void gmm_trial_run(const gmm_kept_call *kept, gmm_blas_any_function *function, gmm_trial trial, double operations,
                   gmm_trial_outcome *o)
{
    gmm_blas_call call = kept->call;
    int count = gmm_blas_operand_count(&call);
    place places[GMM_BLAS_OPERANDS] = {{NULL, NULL, 0}};
    gmm_call_view view = {.call = &kept->call};

    *o = (gmm_trial_outcome){.ran = true, .operand = -1};
    for (int i = 0; i < count; i++) {
        o->ran &= open_place(&places[i], kept, i, trial == GMM_TRIAL_ALIGNED);
        if (!o->ran)
            break;
        if (gmm_blas_is_output(&call, i) && gmm_audit_is_unread(&call, i) &&
            (trial == GMM_TRIAL_ZERO || trial == GMM_TRIAL_FINITE || trial == GMM_TRIAL_NAN))
            fill_unread(&call, i, places[i].base, trial);
        call.operands[i].data = places[i].base;
        view.before[i] = kept->call.operands[i].data;
        view.after[i] = places[i].base;
    }
    if (o->ran) {
        gmm_blas_result result = gmm_blas_invoke(&call, function, kept->integer_bits);
        view.result = &result;
        gmm_trial_judge(&view, operations, o);
        for (int i = 0; i < count; i++)
            check_memory(kept, &places[i], i, o);
    }
    for (int i = 0; i < count; i++)
        if (places[i].map)
            munmap(places[i].map, places[i].map_bytes);
}

const char *gmm_guard_verdict_text(gmm_guard_verdict verdict)
{
    static const char *const texts[] = {"FINE", "VIOLATION", "MEMORY", "STATE", "ACCURACY", "CALLER", "CRASH", "HANG"};

    return (unsigned)verdict < sizeof texts / sizeof texts[0] ? texts[verdict] : "";
}
