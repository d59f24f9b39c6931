/* check_alpha_zero.c - if alpha is 0 the values of the factors do not matter. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool applies(const gmm_blas_routine *routine)
{
    return gmm_blas_has_argument(routine, '*') && routine->sum != GMM_SUM_SCAL && routine->sum != GMM_SUM_ROT &&
           routine->sum != GMM_SUM_ROTMG;
}

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    gmm_blas_sum sum = c->call.routine->sum;
    bool promised = sum == GMM_SUM_GEMM || sum == GMM_SUM_TRIANGLE || sum == GMM_SUM_SOLVE;

    c->call.alpha[0] = c->call.alpha[1] = 0;
    c->judge = GMM_JUDGE_PAIR;
    c->verdict = promised ? GMM_AUDIT_VIOLATION : GMM_AUDIT_DIFFERS;
    c->settings[1].inputs = gmm_audit_below(random, 3) ? GMM_FILL_NAN : GMM_FILL_INFINITY;
    return true;
}

const gmm_blas_check gmm_check_alpha_zero = {
    .name = "alpha_zero",
    .summary = "if alpha is 0, NaN in the factors does not reach the result",
    .otherwise = "with ordinary numbers in the factors",
    .applies = applies,
    .prepare = prepare,
};
