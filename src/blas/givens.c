/* givens.c - see givens.h. */
/* SPDX-License-Identifier: MIT */
#include "blas/givens.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "blas/audit_memory.h"

/* Roundings on the way to the numbers of either routine, and in the equations: rotg takes 4 for r and two more for c
 * and s, of which z is the inverse; rotmg 6 for u = 1 + q2 / q1, one more for each number, and five products of them.
 */
enum {
    ROUNDINGS = 16
};

/* Netlib keeps d1 and d2 between 4096^-2 and 4096^2, by powers of 4096, which are exact. */
#define SCALE 4096.0L

enum {
    A,
    B,
    C,
    S,
    D1 = 0,
    D2,
    X1,
    PARAMETERS
};

static double roundoff(char type)
{
    return gmm_blas_real_bytes(type) == sizeof(float) ? 0x1p-24 : 0x1p-53;
}

/* A program may flush subnormals. */
static double smallest(char type)
{
    return gmm_blas_real_bytes(type) == sizeof(float) ? (double)FLT_MIN : DBL_MIN;
}

double gmm_givens_bound(char type, double want)
{
    double nu = ROUNDINGS * roundoff(type);

    return nu / (1 - nu) * fabs(want) + smallest(type);
}

gmm_givens gmm_givens_load(const gmm_blas_call *call, const void *const base[GMM_BLAS_OPERANDS])
{
    gmm_givens g = {{{0}}};
    double value[2];

    for (int o = 0; o < gmm_blas_operand_count(call); o++)
        for (int64_t i = 0; i < gmm_blas_size(call, call->routine->operands[o].rows) && i < 5; i++) {
            gmm_audit_load(call->type, base[o], i, value);
            g.operands[o][i] = value[0];
        }
    return g;
}

void gmm_givens_matrix(const double p[5], double h[2][2])
{
    bool identity = p[0] == -2, diagonal_is_one = p[0] == 0, other_is_one = p[0] > 0;

    h[0][0] = identity || diagonal_is_one ? 1 : p[1];
    h[1][0] = identity ? 0 : other_is_one ? -1 : p[2];
    h[0][1] = identity ? 0 : other_is_one ? 1 : p[3];
    h[1][1] = identity || diagonal_is_one ? 1 : p[4];
}

/* Whether squares, and products of three, stay within the type's range: not looked at otherwise. */
static bool is_moderate(char type, double x)
{
    double limit = gmm_blas_real_bytes(type) == sizeof(float) ? 0x1p30 : 0x1p250;

    return x == 0 || (fabs(x) < limit && fabs(x) > 1 / limit);
}

/* ---- rotg -------------------------------------------------------------------------------------------------------- */

static void rotate(double a, double b, double sign, gmm_givens *g)
{
    double r = copysign((double)hypotl((long double)a, (long double)b), sign);
    double c = r == 0 ? 1 : a / r, s = r == 0 ? 0 : b / r;

    g->operands[A][0] = r;
    g->operands[B][0] = r == 0 ? 0 : fabs(a) > fabs(b) ? s : c != 0 ? 1 / c : 1;
    g->operands[C][0] = c;
    g->operands[S][0] = s;
}

static void expect_rotation(const gmm_blas_call *call, const gmm_givens *before, const gmm_givens *after, int operand,
                            gmm_call_expected *e)
{
    double a = before->operands[A][0], b = before->operands[B][0];
    gmm_givens want;

    rotate(a, b, after->operands[A][0], &want);
    e->got[0] = after->operands[operand][0];
    e->want[0] = want.operands[operand][0];
    e->bound = gmm_givens_bound(call->type, e->want[0]);
    e->open = !is_moderate(call->type, a) || !is_moderate(call->type, b);
}

/* ---- rotmg ------------------------------------------------------------------------------------------------------- */

/* Sets *got to what an equation gives, with the bound of its terms. */
static void equation(char type, double one, double other, double want, gmm_call_expected *e)
{
    e->got[0] = one + other;
    e->want[0] = want;
    e->bound = gmm_givens_bound(type, fabs(one) + fabs(other) + fabs(want));
}

static void expect_modified(const gmm_blas_call *call, const gmm_givens *before, const gmm_givens *after, int operand,
                            int64_t row, gmm_call_expected *e)
{
    double d1 = before->operands[D1][0], d2 = before->operands[D2][0], x1 = before->operands[X1][0],
           y1 = call->alpha[0], h[2][2];
    double d[2] = {after->operands[D1][0], after->operands[D2][0]};
    const double *p = after->operands[PARAMETERS];
    bool nothing = d2 == 0 || y1 == 0;

    gmm_givens_matrix(p, h);
    if (!(d1 >= 0) || !(d2 >= 0) || !is_moderate(call->type, d1) || !is_moderate(call->type, d2) ||
        !is_moderate(call->type, x1) || !is_moderate(call->type, y1))
        e->open = true;
    else if (operand == PARAMETERS && row == 0) {
        bool legal = p[0] == -1 || p[0] == 0 || p[0] == 1;
        e->got[0] = p[0];
        e->want[0] = legal && !nothing ? p[0] : nothing ? -2 : -1;
    } else if (operand == X1)
        equation(call->type, h[0][0] * x1, h[0][1] * y1, after->operands[X1][0], e);
    else if (operand == PARAMETERS && row == 2 && !nothing)
        equation(call->type, d[1] * h[1][0] * x1, d[1] * h[1][1] * y1, 0, e);
    else if (operand == PARAMETERS && row == 3 && !nothing)
        equation(call->type, d[0] * h[0][0] * h[0][1], d[1] * h[1][0] * h[1][1], 0, e);
    else if (operand == PARAMETERS)
        e->open = true;
    else
        equation(call->type, d[0] * h[0][operand] * h[0][operand], d[1] * h[1][operand] * h[1][operand],
                 before->operands[operand][0], e);
}

/* One of d1 and d2, with the row of H and the number that go with it. */
static void rescale(long double *d, long double *x, long double row[2])
{
    while (*d != 0 && (fabsl(*d) <= 1 / (SCALE * SCALE) || fabsl(*d) >= SCALE * SCALE)) {
        long double by = fabsl(*d) < 1 ? SCALE : 1 / SCALE;
        *d *= by * by;
        *x /= by;
        row[0] /= by;
        row[1] /= by;
    }
}

static void solve_modified(const gmm_blas_call *call, const gmm_givens *before, gmm_givens *after)
{
    long double d[2] = {(long double)before->operands[D1][0], (long double)before->operands[D2][0]};
    long double x = (long double)before->operands[X1][0], y = (long double)call->alpha[0], none = 0;
    long double q1 = d[0] * x * x, q2 = d[1] * y * y, h[2][2] = {{1, 0}, {0, 1}};
    double *p = after->operands[PARAMETERS];

    *after = *before;
    p[1] = p[2] = p[3] = p[4] = (double)NAN;
    if (d[0] < 0 || (q2 < 0 && fabsl(q1) <= fabsl(q2))) {
        p[0] = -1;
        p[1] = p[2] = p[3] = p[4] = after->operands[D1][0] = after->operands[D2][0] = after->operands[X1][0] = 0;
        return;
    }
    if (q2 == 0) {
        p[0] = -2;
        return;
    }
    bool first = fabsl(q1) > fabsl(q2);
    long double u = first ? 1 + q2 / q1 : 1 + q1 / q2, d1 = d[0];
    if (first) {
        h[1][0] = -y / x;
        h[0][1] = d[1] * y / (d[0] * x);
        x *= u;
    } else {
        h[0][0] = d[0] * x / (d[1] * y);
        h[1][1] = x / y;
        h[0][1] = 1;
        h[1][0] = -1;
        x = y * u;
    }
    d[0] = (first ? d1 : d[1]) / u;
    d[1] = (first ? d[1] : d1) / u;
    long double scaled[2] = {d[0], d[1]};
    rescale(&d[0], &x, h[0]);
    rescale(&d[1], &none, h[1]);
    p[0] = d[0] != scaled[0] || d[1] != scaled[1] ? -1 : first ? 0 : 1;
    after->operands[D1][0] = (double)d[0];
    after->operands[D2][0] = (double)d[1];
    after->operands[X1][0] = (double)x;
    if (p[0] != 0) {
        p[1] = (double)h[0][0];
        p[4] = (double)h[1][1];
    }
    if (p[0] != 1) {
        p[2] = (double)h[1][0];
        p[3] = (double)h[0][1];
    }
}

/* ---- either ------------------------------------------------------------------------------------------------------ */

void gmm_givens_expect(const gmm_blas_call *call, const gmm_givens *before, const gmm_givens *after, int operand,
                       int64_t row, gmm_call_expected *e)
{
    memset(e, 0, sizeof *e);
    if (call->routine->sum == GMM_SUM_ROTG)
        expect_rotation(call, before, after, operand, e);
    else
        expect_modified(call, before, after, operand, row, e);
}

void gmm_givens_solve(const gmm_blas_call *call, const gmm_givens *before, gmm_givens *after)
{
    double a = before->operands[A][0], b = before->operands[B][0];

    *after = *before;
    if (call->routine->sum == GMM_SUM_ROTG)
        rotate(a, b, fabs(a) > fabs(b) ? a : b, after);
    else
        solve_modified(call, before, after);
}
