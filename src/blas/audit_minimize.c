/* audit_minimize.c - make a failing case smaller, each step in a fresh process, and run its controls. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "blas/audit_state.h"
#include "blas/shrink.h"

/* Races and the like do not show every time. */
#define ATTEMPTS 3

typedef struct minimizer {
    gmm_audit *audit;
    gmm_audit_record *record;
    double until;
    gmm_status status;
} minimizer;

/* The case with leading dimensions as what they exceed the least by, so that sizes can be changed. */
static gmm_audit_case loosened(const gmm_audit_case *c)
{
    gmm_audit_case loose = *c;

    for (int i = 0; i < gmm_blas_operand_count(&c->call); i++)
        if (c->call.routine->operands[i].form != GMM_FORM_VECTOR)
            loose.call.operands[i].step -= gmm_blas_least_step(&c->call, i);
    return loose;
}

/* Take over a changed case if it fails as the record does. */
static bool try_case(minimizer *m, const gmm_audit_case *loose)
{
    gmm_audit_case c = *loose;
    gmm_audit_outcome outcome;

    gmm_audit_set_steps(&c);
    for (int attempt = 0; attempt < (c.settings[1].callers || c.settings[1].threads ? ATTEMPTS : 1); attempt++) {
        if (m->status || gmm_audit_seconds() > m->until)
            return false;
        m->status = gmm_audit_run_alone(m->audit, &c, &outcome);
        if (!m->status && gmm_audit_same_failure(m->record, &outcome)) {
            m->record->c = c;
            m->record->outcome = outcome;
            return true;
        }
    }
    return false;
}

typedef struct shrinking {
    minimizer *m;
    int64_t *(*part)(gmm_audit_case *);
} shrinking;

static bool fails_with(void *context, int64_t value)
{
    const shrinking *s = context;
    gmm_audit_case c = loosened(&s->m->record->c);

    *s->part(&c) = value;
    return try_case(s->m, &c);
}

/* Set a number of the case to the smallest that still fails. */
static bool shrink(minimizer *m, int64_t *(*part)(gmm_audit_case *))
{
    gmm_audit_case c = loosened(&m->record->c);
    int64_t now = *part(&c);

    return gmm_shrink(now, fails_with, &(shrinking){m, part}) < now;
}

static int64_t *part_m(gmm_audit_case *c)
{
    return &c->call.m;
}

static int64_t *part_n(gmm_audit_case *c)
{
    return &c->call.n;
}

static int64_t *part_k(gmm_audit_case *c)
{
    return &c->call.k;
}

static bool set_number(minimizer *m, int64_t *(*part)(gmm_audit_case *), int64_t value)
{
    gmm_audit_case c = loosened(&m->record->c);

    if (*part(&c) == value)
        return false;
    *part(&c) = value;
    return try_case(m, &c);
}

static int64_t *part_kl(gmm_audit_case *c)
{
    return &c->call.kl;
}

static int64_t *part_ku(gmm_audit_case *c)
{
    return &c->call.ku;
}

static bool shrink_sizes(minimizer *m)
{
    const gmm_blas_routine *r = m->record->routine;
    bool changed = false;

    if (gmm_blas_has_argument(r, 'M'))
        changed |= shrink(m, part_m);
    changed |= shrink(m, part_n);
    if (gmm_blas_has_argument(r, 'K'))
        changed |= shrink(m, part_k);
    if (gmm_blas_has_argument(r, 'L')) {
        changed |= set_number(m, part_kl, 0) || shrink(m, part_kl);
        changed |= set_number(m, part_ku, 0) || shrink(m, part_ku);
    }
    return changed;
}

/* Leading dimensions to their least, increments to 1, offsets to 0. */
static bool simplify_places(minimizer *m)
{
    bool changed = false;

    for (int i = 0; i < gmm_blas_operand_count(&m->record->c.call); i++) {
        bool vector = m->record->routine->operands[i].form == GMM_FORM_VECTOR;
        gmm_audit_case c = loosened(&m->record->c);
        int64_t simple = vector ? 1 : 0;
        if (c.call.operands[i].step != simple && c.judge != GMM_JUDGE_UNTOUCHED) {
            c.call.operands[i].step = simple;
            if (!try_case(m, &c) && vector && c.call.operands[i].step < -1) {
                c.call.operands[i].step = -1;
                changed |= try_case(m, &c);
            }
        }
        c = loosened(&m->record->c);
        if (c.call.operands[i].offset) {
            c.call.operands[i].offset = 0;
            bool aligned = try_case(m, &c);
            c.call.operands[i].offset = (int64_t)gmm_blas_real_bytes(c.call.type);
            changed |=
                aligned || (m->record->c.call.operands[i].offset != c.call.operands[i].offset && try_case(m, &c));
        }
    }
    return changed;
}

static bool set_flag(minimizer *m, size_t offset, char value)
{
    gmm_audit_case c = loosened(&m->record->c);
    char *flag = (char *)&c.call + offset;

    if (*flag == value)
        return false;
    *flag = value;
    return try_case(m, &c);
}

static bool simplify_flags(minimizer *m)
{
    const gmm_blas_routine *r = m->record->routine;
    bool changed = false;

    if (m->record->c.judge == GMM_JUDGE_UNTOUCHED)
        return false;
    if (gmm_blas_has_argument(r, 't'))
        changed |= set_flag(m, offsetof(gmm_blas_call, transpose_a), 'N');
    if (gmm_blas_has_argument(r, 'r'))
        changed |= set_flag(m, offsetof(gmm_blas_call, transpose_b), 'N');
    if (gmm_blas_has_argument(r, 's'))
        changed |= set_flag(m, offsetof(gmm_blas_call, side), 'L');
    if (gmm_blas_has_argument(r, 'u'))
        changed |= set_flag(m, offsetof(gmm_blas_call, uplo), 'U');
    if (gmm_blas_has_argument(r, 'd'))
        changed |= set_flag(m, offsetof(gmm_blas_call, diag), 'N');
    return changed;
}

static bool set_factor(minimizer *m, bool beta, double value)
{
    gmm_audit_case c = loosened(&m->record->c);
    double *factor = beta ? c.call.beta : c.call.alpha;

    if (factor[0] == value && factor[1] == 0)
        return false;
    if (factor[0] == 0 && factor[1] == 0) /* zero is what many cases are about */
        return false;
    factor[0] = value;
    factor[1] = 0;
    return try_case(m, &c);
}

static bool simplify_values(minimizer *m)
{
    const gmm_blas_routine *r = m->record->routine;
    bool changed = false;

    if (gmm_blas_has_argument(r, '*'))
        changed |= set_factor(m, false, 1);
    if (gmm_blas_has_argument(r, '+'))
        changed |= set_factor(m, true, 0) || set_factor(m, true, 1);
    gmm_audit_case c = loosened(&m->record->c);
    if (c.values == GMM_VALUES_REALS) {
        c.values = GMM_VALUES_INTEGERS;
        changed |= try_case(m, &c);
    }
    c = loosened(&m->record->c);
    if (c.values != GMM_VALUES_ONES) {
        c.values = GMM_VALUES_ONES;
        changed |= try_case(m, &c);
    }
    c = loosened(&m->record->c);
    if (c.special_operand >= 0 && c.special_element) {
        c.special_element = 0;
        changed |= try_case(m, &c);
    }
    return changed;
}

/* A failure that needs other calls before it: do unrelated products over NaN do? Then it can be shown from the start.
 */
static void find_history(minimizer *m)
{
    gmm_audit_case c = loosened(&m->record->c);

    c.judge = GMM_JUDGE_PAIR;
    c.verdict = GMM_AUDIT_STATE;
    memset(c.settings, 0, sizeof c.settings);
    c.settings[0].earlier = GMM_FILL_ZERO;
    c.settings[1].earlier = GMM_FILL_NAN;
    m->record->alone = try_case(m, &c);
}

/* ---- controls ---------------------------------------------------------------------------------------------------- */

static gmm_audit_case *add_control(gmm_audit_record *r, const char *name)
{
    gmm_audit_trial *trial = &r->controls[r->control_count];

    if (r->control_count == GMM_AUDIT_MOST_CONTROLS)
        return NULL;
    r->control_count++;
    *trial = (gmm_audit_trial){.name = name, .c = loosened(&r->c)};
    return &trial->c;
}

/* What of the settings a case dirties, and how else it could be. */
static uint8_t *dirtied(gmm_audit_case *c)
{
    gmm_audit_setting *s = &c->settings[1];

    return s->output      ? &s->output
           : s->inputs    ? &s->inputs
           : s->gaps      ? &s->gaps
           : s->earlier   ? &s->earlier
           : s->stack     ? &s->stack
           : s->registers ? &s->registers
                          : NULL;
}

static void list_controls(gmm_audit_record *r)
{
    static const char *const fill_names[] = {
        NULL, "zeros instead", "quiet NaN instead", "signaling NaN instead", "infinity instead", "1e30 instead"};
    gmm_audit_case *c, base = r->c;
    uint8_t *dirt = dirtied(&base);
    bool untouched = base.judge == GMM_JUDGE_UNTOUCHED;

    r->control_count = 0;
    for (uint8_t fill = GMM_FILL_ZERO; dirt && fill <= GMM_FILL_LARGE; fill++)
        if (fill != *dirt &&
            (fill == GMM_FILL_ZERO || fill == GMM_FILL_NAN || fill == GMM_FILL_INFINITY ||
             (fill == GMM_FILL_LARGE && base.settings[1].output)) &&
            (c = add_control(r, fill_names[fill])))
            *dirtied(c) = fill;
    bool offset = false;
    for (int i = 0; i < gmm_blas_operand_count(&base.call); i++)
        offset |= base.call.operands[i].offset != 0;
    if (offset && (c = add_control(r, "all operands aligned to 64 bytes")))
        for (int i = 0; i < GMM_BLAS_OPERANDS; i++)
            c->call.operands[i].offset = 0;
    if (base.settings[0].placement && (c = add_control(r, "operands within other memory")))
        c->settings[0].placement = GMM_PLACED_MIDDLE;
    if (!untouched && gmm_blas_has_argument(r->routine, 'M') && (c = add_control(r, "M + 1")))
        c->call.m++;
    if (!untouched && (c = add_control(r, "N + 1")))
        c->call.n++;
    if (!untouched && gmm_blas_has_argument(r->routine, 'K') && (c = add_control(r, "K + 1")))
        c->call.k++;
    if (!base.settings[1].threads && (c = add_control(r, "one thread")))
        c->settings[0].threads = c->settings[1].threads = 1;
    if (!untouched && !r->fortran && gmm_blas_has_argument(r->routine, 'o') && (c = add_control(r, "the other order")))
        c->call.row_major = !c->call.row_major;
}

static void run_controls(minimizer *m)
{
    gmm_audit_record *r = m->record;

    list_controls(r);
    for (size_t i = 0; i < r->control_count && !m->status; i++) {
        gmm_audit_set_steps(&r->controls[i].c);
        m->status = gmm_audit_run_alone(m->audit, &r->controls[i].c, &r->controls[i].outcome);
        if (!r->controls[i].outcome.ran) { /* without a meaning, or without a way to set threads */
            memmove(&r->controls[i], &r->controls[i + 1], (r->control_count - i - 1) * sizeof r->controls[0]);
            r->control_count--;
            i--;
        }
    }
}

gmm_status gmm_audit_minimize(gmm_audit *audit, size_t i, double seconds)
{
    if (!audit)
        return gmm_fail(GMM_ERR_NULL, "audit is NULL");
    if (i >= audit->record_count)
        return gmm_fail(GMM_ERR_ARGUMENT, "finding %zu; there are %zu", i, audit->record_count);
    minimizer m = {.audit = audit, .record = &audit->records[i], .until = gmm_audit_seconds() + seconds};
    if (!m.record->alone)
        find_history(&m);
    for (int round = 0; round < 4 && m.record->alone && !m.status; round++) {
        bool changed = shrink_sizes(&m);
        changed |= simplify_flags(&m);
        changed |= simplify_places(&m);
        changed |= simplify_values(&m);
        if (!changed || gmm_audit_seconds() > m.until)
            break;
    }
    if (m.record->alone && !m.status)
        run_controls(&m);
    m.record->minimized = m.record->alone;
    free(m.record->reproduction);
    m.record->reproduction = NULL;
    gmm_audit_describe(audit, m.record);
    return m.status;
}
