/* call_element.c - see call_element.h: out := alpha P Q (+ alpha2 P2 Q2) + beta out, one element of it. */
/* SPDX-License-Identifier: MIT */
#include "blas/call_element.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "blas/audit_memory.h"
#include "blas/givens.h"

/* Factors: an operand as it is ('N'), transposed ('T'), conjugated ('J'), or both ('C'); operand -1 is a one. */
typedef struct factor {
    int operand;
    char how;
    bool after; /* its elements after the call */
} factor;

typedef struct term {
    factor p, q;
    int64_t length;
    double alpha[2];
} term;

typedef struct sum {
    term terms[2];
    int count;
    double beta[2];
    bool residual;
} sum;

static void stored(const gmm_call_view *v, const void *base, int operand, int64_t row, int64_t column, double value[2])
{
    const gmm_blas_operand_spec *spec = &v->call->routine->operands[operand];
    bool mirrored = spec->form == GMM_FORM_SYMMETRIC || spec->form == GMM_FORM_HERMITIAN;
    int64_t at = gmm_blas_where(v->call, operand, row, column);
    bool turned = at < 0 && mirrored;

    value[0] = value[1] = 0;
    if (spec->form == GMM_FORM_TRIANGULAR && row == column && v->call->diag == 'U') {
        value[0] = 1;
        return;
    }
    if (turned)
        at = gmm_blas_where(v->call, operand, column, row);
    if (at < 0)
        return;
    gmm_audit_load(v->call->type, base, at, value);
    if (spec->form == GMM_FORM_HERMITIAN)
        value[1] = row == column ? 0 : turned ? -value[1] : value[1];
}

static void element(const gmm_call_view *v, const factor *f, int64_t row, int64_t column, double value[2])
{
    bool turned = f->how == 'T' || f->how == 'C';

    if (f->operand < 0) {
        value[0] = 1;
        value[1] = 0;
        return;
    }
    stored(v, f->after ? v->after[f->operand] : v->before[f->operand], f->operand, turned ? column : row,
           turned ? row : column, value);
    if (f->how == 'C' || f->how == 'J')
        value[1] = -value[1];
}

static void add(sum *s, factor p, factor q, int64_t length, const double alpha[2], bool conjugate)
{
    s->terms[s->count++] = (term){p, q, length, {alpha[0], conjugate ? -alpha[1] : alpha[1]}};
}

/* A triangular, symmetric or Hermitian factor from its side. */
static void add_side(sum *s, const gmm_blas_call *call, char how, bool after, const double alpha[2])
{
    bool vector = call->routine->operands[1].form == GMM_FORM_VECTOR, left = vector || call->side != 'R';
    factor square = {0, how, false}, other = {1, 'N', after};
    int64_t length = vector ? call->n : gmm_blas_size(call, 'S');

    if (left)
        add(s, square, other, length, alpha, false);
    else
        add(s, other, square, length, alpha, false);
}

/* op(A) op(B)^T, with the conjugations of Hermitian updates, and the same with A and B exchanged. */
static void add_rank(sum *s, const gmm_blas_call *call, int second, bool twice, int64_t length, const double alpha[2])
{
    bool conjugates = call->routine->conjugates, rows = call->transpose_a == 'N';
    char p = call->transpose_a, q = rows ? (conjugates ? 'C' : 'T') : 'N';

    add(s, (factor){0, p, false}, (factor){second, q, false}, length, alpha, false);
    if (twice)
        add(s, (factor){second, p, false}, (factor){0, q, false}, length, alpha, conjugates);
}

/* `parameters` are rotm's, or NULL where only lengths are asked for. */
static void add_vectors(sum *s, const gmm_blas_call *call, int operand, const double *parameters)
{
    static const double one[2] = {1, 0};
    const factor unit = {-1, 'N', false};
    double sine = call->beta[0], h[2][2] = {{1, 1}, {1, 1}};

    switch (call->routine->sum) {
    case GMM_SUM_AXPY:
    case GMM_SUM_SCAL:
        add(s, (factor){0, 'N', false}, unit, 1, call->alpha, false);
        break;
    case GMM_SUM_COPY:
        add(s, (factor){0, 'N', false}, unit, 1, one, false);
        break;
    case GMM_SUM_SWAP:
        add(s, (factor){1 - operand, 'N', false}, unit, 1, one, false);
        break;
    case GMM_SUM_ROT:
        add(s, (factor){operand, 'N', false}, unit, 1, (double[2]){call->alpha[0], 0}, false);
        add(s, (factor){1 - operand, 'N', false}, unit, 1, (double[2]){operand ? -sine : sine, 0}, false);
        break;
    case GMM_SUM_ROTM:
        if (parameters)
            gmm_givens_matrix(parameters, h);
        add(s, (factor){operand, 'N', false}, unit, 1, (double[2]){h[operand][operand], 0}, false);
        add(s, (factor){1 - operand, 'N', false}, unit, 1, (double[2]){h[operand][1 - operand], 0}, false);
        break;
    case GMM_SUM_DOT:
        add(s, (factor){0, call->routine->conjugates ? 'C' : 'T', false}, (factor){1, 'N', false}, call->n, one, false);
        break;
    default:
        break;
    }
}

static sum make_sum(const gmm_blas_call *call, int operand, const double *parameters)
{
    static const double one[2] = {1, 0}, minus_one[2] = {-1, 0};
    const double *alpha = gmm_blas_has_argument(call->routine, '*') ? call->alpha : one;
    gmm_blas_sum kind = call->routine->sum;
    bool dead = alpha[0] == 0 && alpha[1] == 0 && kind < GMM_SUM_ROT;
    sum s = {.count = 0};

    if (kind == GMM_SUM_RANK_1 || kind == GMM_SUM_RANK_2 || kind == GMM_SUM_AXPY)
        s.beta[0] = 1;
    else if (gmm_blas_has_argument(call->routine, '+') && kind != GMM_SUM_ROT)
        memcpy(s.beta, call->beta, sizeof s.beta);
    if (dead)
        return s;
    switch (kind) {
    case GMM_SUM_GEMM:
        add(&s, (factor){0, call->transpose_a, false}, (factor){1, call->transpose_b, false}, call->k, alpha, false);
        break;
    case GMM_SUM_GEMV:
        add(&s, (factor){0, call->transpose_a, false}, (factor){1, 'N', false}, gmm_blas_size(call, 'X'), alpha, false);
        break;
    case GMM_SUM_SIDE:
        add_side(&s, call, 'N', false, alpha);
        break;
    case GMM_SUM_TRIANGLE:
        add_side(&s, call, call->transpose_a, false, alpha);
        break;
    case GMM_SUM_SOLVE: /* alpha B - op(T) X = 0 */
        s.residual = true;
        memcpy(s.beta, alpha, sizeof s.beta);
        add_side(&s, call, call->transpose_a, true, minus_one);
        break;
    case GMM_SUM_RANK_K:
        add_rank(&s, call, 0, false, call->k, alpha);
        break;
    case GMM_SUM_RANK_2K:
        add_rank(&s, call, 1, true, call->k, alpha);
        break;
    case GMM_SUM_RANK_1:
        add_rank(&s, call, call->routine->operands[1].form == GMM_FORM_VECTOR ? 1 : 0, false, 1, alpha);
        break;
    case GMM_SUM_RANK_2:
        add_rank(&s, call, 1, true, 1, alpha);
        break;
    default:
        add_vectors(&s, call, operand, parameters);
    }
    return s;
}

int64_t gmm_call_sum_length(const gmm_blas_call *call)
{
    sum s = make_sum(call, 0, NULL);
    int64_t length = 1;

    for (int t = 0; t < s.count; t++)
        length += s.terms[t].length;
    return length;
}

bool gmm_call_needs_whole_output(const gmm_blas_call *call)
{
    gmm_blas_sum kind = call->routine->sum;

    return kind == GMM_SUM_TRIANGLE || kind == GMM_SUM_SOLVE || kind == GMM_SUM_SCAL || kind == GMM_SUM_SWAP ||
           kind >= GMM_SUM_ROT;
}

/* ---- the numbers ------------------------------------------------------------------------------------------------- */

typedef struct total {
    long double re, im;
    double magnitude;
} total;

static total inner(const gmm_call_view *v, const term *t, int64_t row, int64_t column)
{
    total x = {0, 0, 0};

    for (int64_t k = 0; k < t->length; k++) {
        double p[2], q[2];
        element(v, &t->p, row, k, p);
        element(v, &t->q, k, column, q);
        x.re += (long double)p[0] * q[0] - (long double)p[1] * q[1];
        x.im += (long double)p[0] * q[1] + (long double)p[1] * q[0];
        x.magnitude += (fabs(p[0]) + fabs(p[1])) * (fabs(q[0]) + fabs(q[1]));
    }
    return x;
}

static double roundoff(char type)
{
    return gmm_blas_real_bytes(type) == sizeof(float) ? 0x1p-24 : 0x1p-53;
}

static double gamma_of(char type, double n)
{
    double u = roundoff(type);

    return n * u / (1 - n * u);
}

static double largest(char type)
{
    return gmm_blas_real_bytes(type) == sizeof(float) ? (double)FLT_MAX : DBL_MAX;
}

/* A program may flush subnormals: the smallest normal number is what an addition may lose. */
static double smallest(char type)
{
    return gmm_blas_real_bytes(type) == sizeof(float) ? (double)FLT_MIN : DBL_MIN;
}

/* nrm2, asum, iamax. */
static void expect_measure(const gmm_call_view *v, gmm_call_expected *e)
{
    const gmm_blas_call *call = v->call;
    bool is_complex = gmm_blas_is_complex(call->type), single = gmm_blas_real_bytes(call->type) == sizeof(float);
    gmm_blas_sum kind = call->routine->sum;
    double most = -1, n = (double)call->n * (is_complex ? 2 : 1);
    long double all = 0;
    int64_t index = -1;

    for (int64_t i = 0; i < call->n; i++) {
        double x[2], size;
        stored(v, v->before[0], 0, i, 0, x);
        size = fabs(x[0]) + fabs(x[1]);
        all += kind == GMM_SUM_NRM2 ? (long double)x[0] * x[0] + (long double)x[1] * x[1] : (long double)size;
        if (is_complex && single)
            size = (double)(float)size; /* what is equal then keeps the first index */
        if (size > most) {
            most = size;
            index = i;
        }
    }
    e->got[0] = kind == GMM_SUM_IAMAX ? (double)v->result->index : v->result->value[0];
    if (kind == GMM_SUM_IAMAX) {
        e->want[0] = (double)index;
        e->open = !isfinite((double)all);
    } else if (kind == GMM_SUM_NRM2) {
        e->want[0] = (double)sqrtl(all);
        e->bound = (n / 2 + 4) * roundoff(call->type) * e->want[0] + smallest(call->type);
    } else {
        e->want[0] = (double)all;
        e->bound = gamma_of(call->type, n) * e->want[0] + n * smallest(call->type);
    }
    if (kind != GMM_SUM_IAMAX)
        e->open = !(e->want[0] <= largest(call->type) / 2);
}

void gmm_call_expect(const gmm_call_view *v, int operand, int64_t row, int64_t column, gmm_call_expected *e)
{
    const gmm_blas_call *call = v->call;
    gmm_blas_sum kind = call->routine->sum;
    bool is_complex = gmm_blas_is_complex(call->type);
    long double re = 0, im = 0;
    double product = 0, unscaled = 0, own = 0, length = 0, before[2] = {0, 0};

    memset(e, 0, sizeof *e);
    if (kind == GMM_SUM_NRM2 || kind == GMM_SUM_ASUM || kind == GMM_SUM_IAMAX) {
        expect_measure(v, e);
        return;
    }
    if (kind == GMM_SUM_ROTG || kind == GMM_SUM_ROTMG) {
        gmm_givens came = gmm_givens_load(call, v->before), out = gmm_givens_load(call, v->after);
        gmm_givens_expect(call, &came, &out, operand, row, e);
        return;
    }
    double parameters[5][2] = {{0}};
    for (int64_t i = 0; i < 5 && kind == GMM_SUM_ROTM; i++)
        gmm_audit_load(call->type, v->before[2], i, parameters[i]);
    const double five[5] = {parameters[0][0], parameters[1][0], parameters[2][0], parameters[3][0], parameters[4][0]};
    sum s = make_sum(call, operand, five);
    for (int t = 0; t < s.count; t++) {
        const term *x = &s.terms[t];
        total part = inner(v, x, row, column);
        re += x->alpha[0] * part.re - x->alpha[1] * part.im;
        im += x->alpha[0] * part.im + x->alpha[1] * part.re;
        unscaled += part.magnitude; /* alpha may be multiplied with the sum, which must not overflow before */
        product += (fabs(x->alpha[0]) + fabs(x->alpha[1])) * part.magnitude;
        length += (double)x->length;
    }
    if (s.beta[0] != 0 || s.beta[1] != 0) {
        if (v->own)
            memcpy(before, v->own, sizeof before);
        else
            stored(v, v->before[operand], operand, row, column, before);
        if (call->routine->operands[operand].form == GMM_FORM_HERMITIAN && row == column)
            before[1] = 0;
        re += (long double)s.beta[0] * before[0] - (long double)s.beta[1] * before[1];
        im += (long double)s.beta[0] * before[1] + (long double)s.beta[1] * before[0];
        own = (fabs(s.beta[0]) + fabs(s.beta[1])) * (fabs(before[0]) + fabs(before[1]));
    }
    /* C may be added to term by term, as netlib's gemm does: it has the factor of the rest. */
    e->bound = gmm_blas_bound(call->routine, call->type, (double)length) * (product + own);
    e->bound += (length + 2) * smallest(call->type) * (is_complex ? 2 : 1);
    e->open = !(product + unscaled + own <= largest(call->type) / 2);
    if (s.residual) {
        e->got[0] = (double)re;
        e->got[1] = (double)im;
        return;
    }
    e->want[0] = (double)re;
    e->want[1] = is_complex ? (double)im : 0;
    if (operand < 0)
        memcpy(e->got, v->result->value, sizeof e->got);
    else
        stored(v, v->after[operand], operand, row, column, e->got);
}

bool gmm_call_expected_holds(const gmm_call_expected *e)
{
    return e->open || (fabs(e->got[0] - e->want[0]) <= e->bound && fabs(e->got[1] - e->want[1]) <= e->bound);
}
