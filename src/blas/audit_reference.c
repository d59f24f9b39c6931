/* audit_reference.c - see audit_reference.h: every routine as out := alpha P Q (+ alpha2 P2 Q2) + beta out, P and Q
 * dense. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit_reference.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "blas/givens.h"

/* Products of more multiplications than this are compared at some rows and columns only. */
#define MOST_OPERATIONS 4e6

typedef struct dense {
    int64_t rows, columns;
    double *re, *im; /* row after row */
} dense;

typedef struct term {
    dense p, q; /* q is held transposed */
    double alpha[2];
} term;

typedef struct reference {
    const gmm_audit_case *c;
    const gmm_audit_memory *memory;
    const gmm_blas_call *call;
    gmm_audit_outcome *outcome;
    gmm_audit_sink *sink; /* instead of a comparison */
    void *context;
    term terms[2];
    int term_count;
    double beta[2];
    bool is_complex, exact, failed;
    double unit; /* roundoff */
    double tiny; /* the smallest subnormal */
} reference;

static const char *saved_elements(const gmm_audit_operand *o)
{
    return o->saved + o->before;
}

/* Element (row, column) of an operand as the matrix that it stands for, before the call. */
static void element(const reference *ref, int operand, int64_t row, int64_t column, double value[2])
{
    const gmm_blas_operand_spec *spec = &ref->call->routine->operands[operand];
    bool mirrored = spec->form == GMM_FORM_SYMMETRIC || spec->form == GMM_FORM_HERMITIAN;
    int64_t at = gmm_blas_where(ref->call, operand, row, column);
    bool turned = at < 0 && mirrored;

    value[0] = value[1] = 0;
    if (spec->form == GMM_FORM_TRIANGULAR && row == column && ref->call->diag == 'U') {
        value[0] = 1;
        return;
    }
    if (turned)
        at = gmm_blas_where(ref->call, operand, column, row);
    if (at < 0)
        return;
    gmm_audit_load(ref->call->type, saved_elements(&ref->memory->operands[operand]), at, value);
    if (spec->form == GMM_FORM_HERMITIAN && row == column)
        value[1] = 0;
    if (spec->form == GMM_FORM_HERMITIAN && turned)
        value[1] = -value[1];
}

/* The matrix, its transpose ('T') or conjugate transpose ('C'); 'J' is conjugated alone. */
static dense build(reference *ref, int operand, char how)
{
    int64_t rows, columns;
    bool turned = how == 'T' || how == 'C', conjugated = how == 'C' || how == 'J';

    gmm_blas_stored_shape(ref->call, operand, &rows, &columns);
    dense d = {.rows = turned ? columns : rows, .columns = turned ? rows : columns};
    size_t count = (size_t)(rows > 0 && columns > 0 ? rows * columns : 0);
    d.re = malloc((count + 1) * sizeof *d.re);
    d.im = malloc((count + 1) * sizeof *d.im);
    ref->failed |= !d.re || !d.im;
    for (int64_t i = 0; i < rows && !ref->failed; i++)
        for (int64_t j = 0; j < columns; j++) {
            int64_t at = turned ? j * rows + i : i * columns + j;
            double value[2];
            element(ref, operand, i, j, value);
            d.re[at] = value[0];
            d.im[at] = conjugated ? -value[1] : value[1];
        }
    return d;
}

/* A 1 x 1 matrix of one. */
static dense one(reference *ref)
{
    dense d = {1, 1, calloc(1, sizeof(double)), calloc(1, sizeof(double))};

    ref->failed |= !d.re || !d.im;
    if (d.re)
        d.re[0] = 1;
    return d;
}

/* Add alpha P Q; `q_turned` is Q transposed. */
static void add_term(reference *ref, dense p, dense q_turned, const double alpha[2], bool conjugate_alpha)
{
    term *t = &ref->terms[ref->term_count++];

    *t = (term){p, q_turned, {alpha[0], conjugate_alpha ? -alpha[1] : alpha[1]}};
}

static char turn(char how)
{
    return how == 'N' ? 'T' : how == 'T' ? 'N' : 'J';
}

/* ---- terms by kind of sum ---------------------------------------------------------------------------------------- */

static void side_terms(reference *ref, int factor, char transpose, const double alpha[2])
{
    bool left = ref->call->side != 'R';
    bool vector = ref->call->routine->operands[1].form == GMM_FORM_VECTOR;

    if (left || vector)
        add_term(ref, build(ref, factor, transpose), build(ref, 1, 'T'), alpha, false);
    else
        add_term(ref, build(ref, 1, 'N'), build(ref, factor, turn(transpose)), alpha, false);
}

static void rank_terms(reference *ref, int second, bool twice, char transpose, const double alpha[2])
{
    bool conjugates = ref->call->routine->conjugates;
    char other = conjugates ? (transpose == 'N' ? 'J' : 'T') : transpose; /* of conj(op(B)), held as Q transposed */

    add_term(ref, build(ref, 0, transpose), build(ref, second, other), alpha, false);
    if (twice)
        add_term(ref, build(ref, second, transpose), build(ref, 0, other), alpha, conjugates);
}

static void collect(reference *ref)
{
    static const double unity[2] = {1, 0};
    const gmm_blas_call *call = ref->call;
    const double *alpha = gmm_blas_has_argument(call->routine, '*') ? call->alpha : unity;
    bool dead = alpha[0] == 0 && alpha[1] == 0;

    ref->beta[0] = call->beta[0];
    ref->beta[1] = call->beta[1];
    if (!gmm_blas_has_argument(call->routine, '+'))
        ref->beta[0] = ref->beta[1] = 0;
    if (call->routine->sum == GMM_SUM_RANK_1 || call->routine->sum == GMM_SUM_RANK_2 ||
        call->routine->sum == GMM_SUM_AXPY)
        ref->beta[0] = 1;
    if (dead)
        return;
    switch (call->routine->sum) {
    case GMM_SUM_GEMM:
        add_term(ref, build(ref, 0, call->transpose_a), build(ref, 1, turn(call->transpose_b)), alpha, false);
        break;
    case GMM_SUM_GEMV:
        if (call->n > 0 && (call->m > 0 || !gmm_blas_has_argument(call->routine, 'M')))
            add_term(ref, build(ref, 0, call->transpose_a), build(ref, 1, 'T'), alpha, false);
        break;
    case GMM_SUM_SIDE:
        side_terms(ref, 0, 'N', alpha);
        break;
    case GMM_SUM_TRIANGLE:
        side_terms(ref, 0, call->transpose_a, alpha);
        break;
    case GMM_SUM_RANK_K:
        rank_terms(ref, 0, false, call->transpose_a, alpha);
        break;
    case GMM_SUM_RANK_2K:
        rank_terms(ref, 1, true, call->transpose_a, alpha);
        break;
    case GMM_SUM_RANK_1:
        rank_terms(ref, call->routine->operands[1].form == GMM_FORM_VECTOR ? 1 : 0, false, 'N', alpha);
        break;
    case GMM_SUM_RANK_2:
        rank_terms(ref, 1, true, 'N', alpha);
        break;
    case GMM_SUM_AXPY:
    case GMM_SUM_SCAL:
    case GMM_SUM_COPY:
        add_term(ref, build(ref, 0, 'N'), one(ref), alpha, false);
        break;
    case GMM_SUM_DOT:
        add_term(ref, build(ref, 0, call->routine->conjugates ? 'C' : 'T'), build(ref, 1, 'T'), alpha, false);
        break;
    default:
        break;
    }
}

static void release(reference *ref)
{
    for (int i = 0; i < ref->term_count; i++) {
        free(ref->terms[i].p.re);
        free(ref->terms[i].p.im);
        free(ref->terms[i].q.re);
        free(ref->terms[i].q.im);
    }
    ref->term_count = 0;
}

/* ---- sums -------------------------------------------------------------------------------------------------------- */

typedef struct sum {
    long double re, im;
    double magnitude; /* of |alpha| |P| |Q|, with |z| = |re| + |im| */
} sum;

/* Row i of P times column j of Q. f32 products are exact in double, which then has 29 bits to spare. */
static sum inner(const reference *ref, const term *t, int64_t i, int64_t j)
{
    int64_t n = t->p.columns;
    const double *pr = t->p.re + i * n, *pi = t->p.im + i * n, *qr = t->q.re + j * n, *qi = t->q.im + j * n;
    sum s = {0, 0, 0};

    if (!ref->is_complex && ref->unit > 1e-10 && ref->c->judge != GMM_JUDGE_SPECIAL) {
        double total = 0;
        for (int64_t k = 0; k < n; k++) {
            total += pr[k] * qr[k];
            s.magnitude += fabs(pr[k] * qr[k]);
        }
        s.re = total;
        return s;
    }
    for (int64_t k = 0; k < n; k++) {
        /* Values are never zero then: it is what lies outside a triangle or band. */
        if (ref->c->judge == GMM_JUDGE_SPECIAL && ((pr[k] == 0 && pi[k] == 0) || (qr[k] == 0 && qi[k] == 0)))
            continue;
        s.re += (long double)pr[k] * qr[k] - (long double)pi[k] * qi[k];
        s.im += (long double)pr[k] * qi[k] + (long double)pi[k] * qr[k];
        s.magnitude += (fabs(pr[k]) + fabs(pi[k])) * (fabs(qr[k]) + fabs(qi[k]));
    }
    return s;
}

static double gamma_of(const reference *ref, double n)
{
    return n * ref->unit / (1 - n * ref->unit);
}

/* alpha P Q + ... + beta out at (i, j); `inner_length` gets K. */
static void want_at(const reference *ref, int64_t i, int64_t j, const double before[2], double want[2], double *bound,
                    double *magnitude)
{
    long double re = 0, im = 0;
    double product = 0, own = 0, length = 0;
    const double *b = ref->beta;

    for (int t = 0; t < ref->term_count; t++) {
        const term *x = &ref->terms[t];
        sum s = inner(ref, x, i, j);
        re += x->alpha[0] * s.re - x->alpha[1] * s.im;
        im += x->alpha[0] * s.im + x->alpha[1] * s.re;
        product += (fabs(x->alpha[0]) + fabs(x->alpha[1])) * s.magnitude;
        length += (double)x->p.columns;
    }
    if (b[0] != 0 || b[1] != 0) {
        re += (long double)b[0] * before[0] - (long double)b[1] * before[1];
        im += (long double)b[0] * before[1] + (long double)b[1] * before[0];
        own = (fabs(b[0]) + fabs(b[1])) * (fabs(before[0]) + fabs(before[1]));
    }
    want[0] = (double)re;
    want[1] = (double)im;
    *magnitude = product + own;
    /* C takes part in every addition where the sum is added to it term by term, as in netlib's gemm. */
    *bound = gmm_blas_bound(ref->call->routine, ref->call->type, length) * (product + own);
    *bound += (length + 2) * ref->tiny * (ref->is_complex ? 2 : 1);
}

/* ---- judging ----------------------------------------------------------------------------------------------------- */

static bool disagree(const reference *ref, int operand, int64_t at, const double got[2], const double want[2],
                     double bound)
{
    gmm_audit_outcome *o = ref->outcome;

    o->operand = operand;
    o->element = at;
    memcpy(o->got, got, sizeof o->got);
    memcpy(o->want, want, sizeof o->want);
    o->bound = bound;
    return false;
}

/* One number that was computed, or should be. */
static bool judge(const reference *ref, int operand, int64_t at, const double got[2], const double want[2],
                  double bound, double magnitude)
{
    bool special = ref->c->judge == GMM_JUDGE_SPECIAL, finite = isfinite(magnitude) != 0;

    if (ref->exact)
        bound = 0;
    if (ref->sink)
        ref->sink(ref->context, operand, at, want, bound, finite);
    else if (special ? (isfinite(got[0]) && isfinite(got[1])) != finite
                     : !(fabs(got[0] - want[0]) <= bound && fabs(got[1] - want[1]) <= bound))
        return disagree(ref, operand, at, got, want, bound);
    return true;
}

/* Rows and columns near either end are always looked at: that is where tails are lost. */
static bool sampled(const reference *ref, int64_t i, int64_t count, double share)
{
    uint64_t h = gmm_audit_mix(ref->c->seed ^ (uint64_t)i);

    return ref->sink || share >= 1 || i < 2 || i >= count - 9 || (double)(h >> 11) * 0x1p-53 < share;
}

/* The imaginary part of a Hermitian diagonal becomes zero, unless the call has nothing to do. */
static bool needs_zero_imaginary(const reference *ref, int operand)
{
    const gmm_blas_call *call = ref->call;
    bool alpha = call->alpha[0] != 0 || call->alpha[1] != 0, beta_one = ref->beta[0] == 1 && ref->beta[1] == 0;
    bool k = !gmm_blas_has_argument(call->routine, 'K') || call->k > 0;

    (void)operand;
    return !(beta_one && (!alpha || !k));
}

static bool check_output(const reference *ref, int operand)
{
    const gmm_audit_operand *o = &ref->memory->operands[operand];
    int64_t rows, columns, length = 0;
    double share;

    gmm_blas_stored_shape(ref->call, operand, &rows, &columns);
    for (int t = 0; t < ref->term_count; t++)
        length += ref->terms[t].p.columns;
    share = sqrt(MOST_OPERATIONS / ((double)rows * (double)columns * (double)(length + 1) * (ref->is_complex ? 4 : 1)));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; sampled(ref, i, rows, share) && j < columns; j++) {
            int64_t at = gmm_blas_where(ref->call, operand, i, j);
            double got[2], before[2], want[2], bound, magnitude;
            if (at < 0 || !sampled(ref, j + 7919, columns + 7919, share))
                continue;
            gmm_audit_load(ref->call->type, o->base, at, got);
            gmm_audit_load(ref->call->type, saved_elements(o), at, before);
            if (o->parts[at] == GMM_PART_REAL) {
                before[1] = 0;
                if (!needs_zero_imaginary(ref, operand))
                    got[1] = 0;
            }
            want_at(ref, i, j, before, want, &bound, &magnitude);
            if (o->parts[at] == GMM_PART_REAL)
                want[1] = 0;
            if (!judge(ref, operand, at, got, want, bound, magnitude))
                return false;
        }
    return true;
}

/* op(T) X = alpha B: the residual of X. */
static bool check_solution(reference *ref)
{
    const gmm_blas_call *call = ref->call;
    bool vector = call->routine->operands[1].form == GMM_FORM_VECTOR, left = vector || call->side != 'R';
    const gmm_audit_operand *o = &ref->memory->operands[1];
    double alpha[2] = {1, 0}, minus_one[2] = {-1, 0};
    int64_t rows, columns;
    gmm_audit_memory after = *ref->memory;

    if (gmm_blas_has_argument(call->routine, '*'))
        memcpy(alpha, call->alpha, sizeof alpha);
    if (alpha[0] == 0 && alpha[1] == 0) /* B := 0 */
        return check_output(ref, 1);
    /* The solution takes the place of what was saved, and the right-hand side that of what came out. */
    after.operands[1].saved = after.operands[1].base - o->before;
    ref->memory = &after;
    dense t = build(ref, 0, left ? call->transpose_a : turn(call->transpose_a));
    dense x = build(ref, 1, left ? 'T' : 'N');
    ref->memory = NULL;
    add_term(ref, left ? t : x, left ? x : t, minus_one, false);
    memcpy(ref->beta, alpha, sizeof ref->beta);
    gmm_blas_stored_shape(call, 1, &rows, &columns);
    double share = sqrt(MOST_OPERATIONS / ((double)rows * (double)columns * (double)(rows + columns + 1)));
    for (int64_t i = 0; i < rows && !ref->failed; i++)
        for (int64_t j = 0; sampled(ref, i, rows, share) && j < columns; j++) {
            int64_t at = gmm_blas_where(call, 1, i, j);
            double before[2], rest[2], bound, magnitude, solution[2];
            static const double none[2] = {0, 0};
            gmm_audit_load(call->type, saved_elements(o), at, before);
            gmm_audit_load(call->type, o->base, at, solution);
            want_at(ref, i, j, before, rest, &bound, &magnitude);
            if (ref->c->judge == GMM_JUDGE_SPECIAL
                    ? (isfinite(solution[0]) && isfinite(solution[1])) || !isfinite(magnitude)
                    : fabs(rest[0]) <= bound && fabs(rest[1]) <= bound)
                continue;
            return disagree(ref, 1, at, rest, none, bound);
        }
    return true;
}

/* Substitution, row after row of T or from the last one. */
static bool expect_solution(reference *ref)
{
    const gmm_blas_call *call = ref->call;
    bool vector = call->routine->operands[1].form == GMM_FORM_VECTOR, left = vector || call->side != 'R';
    bool lower = (call->uplo == 'L') == ((call->transpose_a == 'N') == left);
    double alpha[2] = {1, 0}, largest = 0;

    if (gmm_blas_has_argument(call->routine, '*'))
        memcpy(alpha, call->alpha, sizeof alpha);
    /* From the right it is the transposed system. */
    dense t = build(ref, 0, left ? call->transpose_a : turn(call->transpose_a));
    dense x = build(ref, 1, left ? 'N' : 'T');
    ref->terms[0] = (term){t, x, {0, 0}};
    ref->term_count = 1;
    for (int64_t j = 0; j < x.columns && !ref->failed; j++)
        for (int64_t step = 0; step < x.rows; step++) {
            int64_t i = lower ? step : x.rows - 1 - step, at = i * x.columns + j;
            long double re = (long double)alpha[0] * x.re[at] - (long double)alpha[1] * x.im[at],
                        im = (long double)alpha[0] * x.im[at] + (long double)alpha[1] * x.re[at];
            for (int64_t k = lower ? 0 : i + 1; k < (lower ? i : x.rows); k++) {
                int64_t from = i * t.columns + k, to = k * x.columns + j;
                re -= (long double)t.re[from] * x.re[to] - (long double)t.im[from] * x.im[to];
                im -= (long double)t.re[from] * x.im[to] + (long double)t.im[from] * x.re[to];
            }
            long double dr = t.re[i * t.columns + i], di = t.im[i * t.columns + i], d = dr * dr + di * di;
            x.re[at] = (double)((re * dr + im * di) / d);
            x.im[at] = (double)((im * dr - re * di) / d);
            largest = fmax(largest, fabs(x.re[at]) + fabs(x.im[at]));
        }
    for (int64_t i = 0; i < x.rows && !ref->failed; i++)
        for (int64_t j = 0; j < x.columns; j++) {
            double want[2] = {x.re[i * x.columns + j], x.im[i * x.columns + j]};
            int64_t at = left ? gmm_blas_where(call, 1, i, j) : gmm_blas_where(call, 1, j, i);
            ref->sink(ref->context, 1, at, want, 100 * (double)x.rows * ref->unit * largest, true);
        }
    return true;
}

/* rot, and rotm by its parameters. */
static bool check_rotation(reference *ref)
{
    static const double none[2] = {0, 0};
    const double cosine = ref->call->alpha[0], sine = ref->call->beta[0];
    double h[2][2] = {{cosine, sine}, {-sine, cosine}}, p[5][2];
    bool right = true;

    if (ref->call->routine->sum == GMM_SUM_ROTM) {
        for (int64_t i = 0; i < 5; i++)
            element(ref, 2, i, 0, p[i]);
        gmm_givens_matrix((double[5]){p[0][0], p[1][0], p[2][0], p[3][0], p[4][0]}, h);
    }

    for (int out = 0; out < 2 && right; out++) {
        add_term(ref, build(ref, 1 - out, 'N'), one(ref), (double[2]){h[out][1 - out], 0}, false);
        memcpy(ref->beta, none, sizeof none);
        ref->beta[0] = h[out][out];
        right = ref->failed || check_output(ref, out);
        release(ref);
    }
    return right;
}

/* rotg and rotmg, by the equations that define them; where numbers are asked for, netlib's choice. */
static bool check_givens(const reference *ref)
{
    const void *saved[GMM_BLAS_OPERANDS] = {NULL}, *base[GMM_BLAS_OPERANDS] = {NULL};
    const gmm_blas_call *call = ref->call;
    int count = gmm_blas_operand_count(call);

    for (int o = 0; o < count; o++) {
        saved[o] = saved_elements(&ref->memory->operands[o]);
        base[o] = ref->memory->operands[o].base;
    }
    gmm_givens before = gmm_givens_load(call, saved), after = gmm_givens_load(call, base);
    if (ref->sink)
        gmm_givens_solve(call, &before, &after);
    for (int o = 0; o < count; o++)
        for (int64_t i = 0; i < gmm_blas_size(call, call->routine->operands[o].rows); i++) {
            gmm_call_expected e;
            gmm_givens_expect(call, &before, &after, o, i, &e);
            const double number[2] = {after.operands[o][i], 0};
            if (ref->sink && !e.open && !isnan(number[0]))
                ref->sink(ref->context, o, i, number, gmm_givens_bound(call->type, number[0]), true);
            else if (!ref->sink && !gmm_call_expected_holds(&e))
                return disagree(ref, o, i, e.got, e.want, e.bound);
        }
    return true;
}

static bool check_swap(reference *ref)
{
    bool right = true;

    memset(ref->beta, 0, sizeof ref->beta);
    for (int out = 0; out < 2 && right; out++) {
        add_term(ref, build(ref, 1 - out, 'N'), one(ref), (double[2]){1, 0}, false);
        right = ref->failed || check_output(ref, out);
        release(ref);
    }
    return right;
}

/* nrm2, asum and iamax, whose result is of one vector. */
static bool check_measure(const reference *ref, const gmm_blas_result *result)
{
    long double total = 0;
    double largest = -1, bound, want[2] = {0, 0}, got[2] = {result->value[0], 0};
    int64_t n = ref->call->n, index = -1;
    gmm_blas_sum kind = ref->call->routine->sum;

    for (int64_t i = 0; i < n; i++) {
        double v[2], size;
        element(ref, 0, i, 0, v);
        size = fabs(v[0]) + fabs(v[1]);
        total += kind == GMM_SUM_NRM2 ? (long double)v[0] * v[0] + (long double)v[1] * v[1] : (long double)size;
        /* Complex sizes are rounded to the type: what is equal then keeps the first index. */
        if (ref->is_complex && ref->unit > 1e-10)
            size = (double)(float)size;
        if (size > largest) {
            largest = size;
            index = i;
        }
    }
    if (kind == GMM_SUM_IAMAX) {
        /* CBLAS has no answer for "none": netlib's gives 0. */
        want[0] = (double)(n > 0 ? index : ref->call->fortran ? -1 : 0);
        got[0] = (double)result->index;
        return judge(ref, -1, 0, got, want, 0, 0);
    }
    if (kind == GMM_SUM_NRM2) {
        want[0] = (double)sqrtl(total);
        bound = ((double)(ref->is_complex ? 2 * n : n) / 2 + 4) * ref->unit * want[0] + ref->tiny;
    } else {
        want[0] = (double)total;
        bound = gamma_of(ref, (double)(ref->is_complex ? 2 * n : n)) * want[0];
    }
    return judge(ref, -1, 0, got, want, bound, want[0]);
}

static bool check_dot(const reference *ref, const gmm_blas_result *result)
{
    static const double none[2] = {0, 0};
    double want[2], bound, magnitude;

    want_at(ref, 0, 0, none, want, &bound, &magnitude);
    return judge(ref, -1, 0, result->value, want, bound, magnitude);
}

static reference begin(const gmm_audit_case *c, const gmm_audit_memory *memory)
{
    bool single = gmm_blas_real_bytes(c->call.type) == sizeof(float);
    gmm_blas_sum kind = c->call.routine->sum;

    return (reference){.c = c,
                       .memory = memory,
                       .call = &c->call,
                       .is_complex = gmm_blas_is_complex(c->call.type),
                       .exact = c->values != GMM_VALUES_REALS && kind != GMM_SUM_SOLVE && kind != GMM_SUM_NRM2 &&
                                kind < GMM_SUM_ROTG,
                       .unit = single ? 0x1p-24 : 0x1p-53,
                       .tiny = single ? 0x1p-149 : 0x1p-1074};
}

static bool walk(reference *ref, const gmm_blas_result *result)
{
    const gmm_audit_memory *memory = ref->memory;
    const gmm_blas_call *call = ref->call;
    gmm_blas_sum kind = call->routine->sum;
    bool right = true;

    if (kind == GMM_SUM_NRM2 || kind == GMM_SUM_ASUM || kind == GMM_SUM_IAMAX)
        return check_measure(ref, result);
    if (kind == GMM_SUM_SOLVE) {
        right = ref->sink ? expect_solution(ref) : check_solution(ref);
    } else if (kind == GMM_SUM_ROTG || kind == GMM_SUM_ROTMG) {
        right = check_givens(ref);
    } else if (kind == GMM_SUM_ROT || kind == GMM_SUM_ROTM) {
        right = check_rotation(ref);
    } else if (kind == GMM_SUM_SWAP) {
        right = check_swap(ref);
    } else {
        collect(ref);
        /* A gemv without columns leaves y alone, whatever beta. */
        if (kind == GMM_SUM_GEMV && gmm_blas_has_argument(call->routine, 'M') && (call->m == 0 || call->n == 0)) {
            ref->beta[0] = 1;
            ref->beta[1] = 0;
        }
        if (kind == GMM_SUM_DOT)
            right = ref->failed || check_dot(ref, result);
        for (int i = 0; i < memory->count && right && !ref->failed; i++)
            if (gmm_blas_is_output(call, i))
                right = check_output(ref, i);
    }
    release(ref);
    return right && !ref->failed;
}

bool gmm_audit_reference(const gmm_audit_case *c, const gmm_audit_memory *memory, const gmm_blas_result *result,
                         gmm_audit_outcome *outcome)
{
    reference ref = begin(c, memory);

    ref.outcome = outcome;
    return walk(&ref, result);
}

bool gmm_audit_expect(const gmm_audit_case *c, const gmm_audit_memory *memory, gmm_audit_sink *sink, void *context)
{
    gmm_blas_result none = {{0, 0}, 0};
    reference ref = begin(c, memory);

    ref.sink = sink;
    ref.context = context;
    return walk(&ref, &none);
}
