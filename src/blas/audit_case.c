/* audit_case.c - see audit_case.h: the call, or the two calls, and the judgement. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit_case.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "blas/audit_call.h"
#include "blas/audit_far.h"
#include "blas/audit_reference.h"

__attribute__((format(printf, 2, 3))) static void say(gmm_audit_outcome *o, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(o->detail, sizeof o->detail, format, arguments);
    va_end(arguments);
}

/* ---- nothing outside was written --------------------------------------------------------------------------------- */

/* Bytes of an element that the call may change. */
static size_t writable_bytes(const gmm_audit_operand *o, int64_t element, size_t element_bytes, bool output)
{
    if (!output || o->parts[element] == GMM_PART_NONE)
        return 0;
    return element_bytes;
}

static bool report_write(gmm_audit_outcome *o, const gmm_audit_case *c, int operand, int64_t byte, const char *where)
{
    char name = c->call.routine->operands[operand].name;
    bool own = c->judge == GMM_JUDGE_UNTOUCHED && gmm_blas_is_output(&c->call, operand);

    o->outside = !own;
    o->verdict = own ? c->verdict : GMM_AUDIT_MEMORY;
    o->operand = operand;
    o->element = byte / (int64_t)gmm_blas_element_bytes(c->call.type);
    say(o, "a write into %s of %c, at byte %lld from its first element", where, name, (long long)byte);
    return false;
}

static bool nothing_outside(const gmm_audit_case *c, const gmm_audit_memory *m, gmm_audit_outcome *outcome)
{
    for (int i = 0; i < m->count; i++) {
        const gmm_audit_operand *o = &m->operands[i];
        const char *before = o->saved, *now = o->base - o->before;
        bool output = gmm_blas_is_output(&c->call, i);
        int64_t begin = (int64_t)o->before;
        if (c->judge == GMM_JUDGE_UNTOUCHED)
            output = false;
        for (int64_t b = 0; b < begin; b++)
            if (before[b] != now[b])
                return report_write(outcome, c, i, b - begin, "what lies before");
        for (int64_t e = 0; e < o->extent; e++) {
            size_t at = (size_t)begin + (size_t)e * m->element_bytes;
            if (!writable_bytes(o, e, m->element_bytes, output) && memcmp(before + at, now + at, m->element_bytes))
                return report_write(outcome, c, i, e * (int64_t)m->element_bytes,
                                    gmm_blas_is_output(&c->call, i)
                                        ? c->judge == GMM_JUDGE_UNTOUCHED ? "the output" : "a part not referenced"
                                        : "an operand that is only read, the elements");
        }
        size_t end = (size_t)begin + o->bytes;
        for (size_t b = end; b < end + o->after; b++)
            if (before[b] != now[b])
                return report_write(outcome, c, i, (int64_t)b - begin, "what lies behind");
    }
    return true;
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static bool same_number(double a, double b)
{
    return (isnan(a) && isnan(b)) || !memcmp(&a, &b, sizeof a);
}

static void hash_number(uint64_t *hash, double x)
{
    uint64_t bits = 1;

    if (!isnan(x))
        memcpy(&bits, &x, sizeof bits);
    *hash = gmm_audit_mix(*hash ^ bits);
}

static uint64_t hash_outputs(const gmm_audit_case *c, const gmm_audit_memory *m, const gmm_blas_result *result)
{
    uint64_t hash = (uint64_t)result->index;

    hash_number(&hash, result->value[0]);
    hash_number(&hash, result->value[1]);
    for (int i = 0; i < m->count; i++)
        for (int64_t e = 0; gmm_blas_is_output(&c->call, i) && e < m->operands[i].extent; e++) {
            double value[2];
            if (m->operands[i].parts[e] == GMM_PART_NONE)
                continue;
            gmm_audit_load(c->call.type, m->operands[i].base, e, value);
            hash_number(&hash, value[0]);
            hash_number(&hash, value[1]);
        }
    return hash;
}

/* Outputs now against those kept from the first call. */
static bool same_outputs(const gmm_audit_case *c, const gmm_audit_memory *m, gmm_audit_outcome *outcome)
{
    for (int i = 0; i < m->count; i++) {
        const gmm_audit_operand *o = &m->operands[i];
        for (int64_t e = 0; gmm_blas_is_output(&c->call, i) && e < o->extent; e++) {
            if (o->parts[e] == GMM_PART_NONE)
                continue;
            gmm_audit_load(c->call.type, o->base, e, outcome->got);
            gmm_audit_load(c->call.type, o->first, e, outcome->want);
            outcome->operand = i;
            outcome->element = e;
            if (!same_number(outcome->got[0], outcome->want[0]) || !same_number(outcome->got[1], outcome->want[1]))
                return false;
        }
    }
    return true;
}

static bool same_results(const gmm_blas_result *a, const gmm_blas_result *b, gmm_audit_outcome *outcome)
{
    bool same = same_number(a->value[0], b->value[0]) && same_number(a->value[1], b->value[1]) && a->index == b->index;

    if (same)
        return true;
    outcome->operand = -1;
    memcpy(outcome->want, a->value, sizeof outcome->want);
    memcpy(outcome->got, b->value, sizeof outcome->got);
    if (a->index != b->index) {
        outcome->want[0] = (double)a->index;
        outcome->got[0] = (double)b->index;
    }
    return false;
}

/* With as many digits as tell neighbours apart; a NaN's sign means nothing. */
static void number_text(char type, const double value[2], char text[64])
{
    int digits = gmm_blas_real_bytes(type) == sizeof(float) ? 9 : 17;
    double re = isnan(value[0]) ? fabs(value[0]) : value[0], im = isnan(value[1]) ? fabs(value[1]) : value[1];

    if (gmm_blas_is_complex(type))
        snprintf(text, 64, "(%.*g, %.*g)", digits, re, digits, im);
    else
        snprintf(text, 64, "%.*g", digits, re);
}

/* "c[3] is 5<instead>7<when>" */
static void describe_numbers(const gmm_audit_case *c, gmm_audit_outcome *o, const char *instead, const char *when)
{
    char got[64], want[64], place[48] = "the result";

    number_text(c->call.type, o->got, got);
    number_text(c->call.type, o->want, want);
    if (o->operand >= 0)
        snprintf(place, sizeof place, "%c[%lld]", c->call.routine->operands[o->operand].name - 'A' + 'a',
                 (long long)o->element);
    if (o->bound > 0)
        say(o, "%s is %s%s%s%s, more than %.3g off", place, got, instead, want, when, o->bound);
    else
        say(o, "%s is %s%s%s%s%s", place, got, instead, want, *when ? " " : "", when);
}

/* ---- judging ----------------------------------------------------------------------------------------------------- */

static void judge_pair(gmm_audit_bench *bench, const gmm_audit_case *c, const gmm_blas_result *first,
                       gmm_audit_outcome *o)
{
    gmm_blas_result second, again;
    gmm_audit_outcome repeated = *o;
    bool same;

    if (!gmm_audit_keep_first(&bench->memory)) {
        o->ran = false;
        return;
    }
    if (!gmm_audit_call(bench, c, &c->settings[1], &second, &same)) {
        o->ran = false;
        return;
    }
    if (!nothing_outside(c, &bench->memory, o))
        return;
    if (same && same_outputs(c, &bench->memory, o) && same_results(first, &second, o))
        return;
    o->verdict = c->verdict;
    if (same)
        describe_numbers(c, o, ", but ", c->check->otherwise ? c->check->otherwise : "");
    else
        say(o, "of %d threads that make the call at once one gets other bits", c->settings[1].callers);
    /* Does it repeat itself at all? */
    if (gmm_audit_call(bench, c, &c->settings[0], &again, &same) && c->verdict != GMM_AUDIT_STATE &&
        (!same_outputs(c, &bench->memory, &repeated) || !same_results(first, &again, &repeated))) {
        o->verdict = GMM_AUDIT_NONREPRO;
        o->operand = repeated.operand;
        o->element = repeated.element;
        memcpy(o->got, repeated.got, sizeof o->got);
        memcpy(o->want, repeated.want, sizeof o->want);
        describe_numbers(c, o, " when the same call is repeated, and was ", "");
    }
}

/* Zeros of either sign are one: another kernel may add in another order, from another zero. */
static bool equal_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* Numbers of stretched operands against those kept from the call on small ones. */
static bool same_far(const gmm_audit_case *c, const gmm_audit_memory *m, const gmm_audit_far *far, gmm_audit_outcome *o)
{
    for (int i = 0; i < m->count; i++) {
        const gmm_audit_operand *near = &m->operands[i];
        const char *kept = gmm_blas_is_output(&c->call, i) ? near->first : near->base;
        for (int64_t e = 0; e < near->extent; e++) {
            if (near->parts[e] == GMM_PART_NONE)
                continue;
            gmm_audit_load(c->call.type, gmm_audit_far_element(far, m, i, e), 0, o->got);
            gmm_audit_load(c->call.type, kept, e, o->want);
            if (near->parts[e] == GMM_PART_REAL && !gmm_blas_is_output(&c->call, i))
                o->got[1] = o->want[1];
            o->operand = i;
            o->element = gmm_audit_far_place(far->operands[i].near_step, far->operands[i].far_step, e);
            if (!equal_number(o->got[0], o->want[0]) || !equal_number(o->got[1], o->want[1]))
                return false;
        }
    }
    return true;
}

static bool equal_results(const gmm_blas_result *a, const gmm_blas_result *b, gmm_audit_outcome *o)
{
    return (equal_number(a->value[0], b->value[0]) && equal_number(a->value[1], b->value[1]) && a->index == b->index) ||
           same_results(a, b, o);
}

static void judge_far(gmm_audit_bench *bench, const gmm_audit_case *c, const gmm_blas_result *first,
                      gmm_audit_outcome *o)
{
    int32_t bits = bench->library.info.integer_bits;
    gmm_blas_call call;
    gmm_audit_far far;

    o->ran = gmm_audit_keep_first(&bench->memory) && gmm_audit_place(&bench->memory, c, &c->settings[0], &call) &&
             gmm_audit_far_open(&far, &bench->memory, &call, c->settings[1].far, bits);
    if (!o->ran)
        return;
    call.hidden_result = bench->library.complex_return == GMM_COMPLEX_HIDDEN;
    gmm_blas_result result = gmm_audit_call_watched(
        bench, &c->settings[0], &call, gmm_blas_function(&bench->library, call.routine, call.type, call.fortran));
    gmm_audit_far_put_back(&far, &bench->memory);
    if (!same_far(c, &bench->memory, &far, o) || !equal_results(first, &result, o)) {
        o->verdict = c->verdict;
        describe_numbers(c, o, ", but ", c->check->otherwise);
    }
    gmm_audit_far_close(&far);
}

static void judge_reference(gmm_audit_bench *bench, const gmm_audit_case *c, const gmm_blas_result *result,
                            gmm_audit_outcome *o)
{
    if (gmm_audit_reference(c, &bench->memory, result, o))
        return;
    if (c->judge == GMM_JUDGE_SPECIAL) {
        o->verdict = c->verdict;
        describe_numbers(c, o, "; a sum of all its terms is ", "");
        return;
    }
    o->verdict = c->verdict;
    describe_numbers(c, o, c->call.routine->sum == GMM_SUM_SOLVE ? " (residual), should be " : ", should be ", "");
}

static void run_judged(gmm_audit_bench *bench, const gmm_audit_case *c, gmm_audit_outcome *o)
{
    gmm_blas_result result = {{0, 0}, -1};
    bool same;

    memset(o, 0, sizeof *o);
    o->ran = gmm_audit_call(bench, c, &c->settings[0], &result, &same);
    if (!o->ran || !nothing_outside(c, &bench->memory, o))
        return;
    o->hash = hash_outputs(c, &bench->memory, &result);
    if (c->judge == GMM_JUDGE_PAIR)
        judge_pair(bench, c, &result, o);
    else if (c->judge == GMM_JUDGE_REFERENCE || c->judge == GMM_JUDGE_SPECIAL)
        judge_reference(bench, c, &result, o);
    else if (c->judge == GMM_JUDGE_FAR)
        judge_far(bench, c, &result, o);
}

void gmm_audit_case_run(gmm_audit_bench *bench, const gmm_audit_case *c, gmm_audit_outcome *o)
{
    bench->control[0] = '\0';
    run_judged(bench, c, o);
    if (!o->ran || o->verdict)
        return;
    o->control = bench->control[0] != '\0';
    o->loading = !o->control && bench->loading[0] && c->check == &gmm_check_float_control;
    if (!o->control && !o->loading)
        return;
    o->verdict = GMM_AUDIT_STATE;
    say(o, "%s%.200s", o->loading ? "when the library is loaded: " : "", o->loading ? bench->loading : bench->control);
}
