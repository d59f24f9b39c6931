/* check_integers.c - sums of small integers are exact in any order: no tolerance, so nothing that is lost can hide. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool applies(const gmm_blas_routine *routine)
{
    return routine->sum != GMM_SUM_SOLVE && routine->sum != GMM_SUM_NRM2 && routine->sum < GMM_SUM_ROTG;
}

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    (void)random;
    c->judge = GMM_JUDGE_REFERENCE;
    c->verdict = GMM_AUDIT_ACCURACY;
    c->values = GMM_VALUES_INTEGERS;
    return true;
}

const gmm_blas_check gmm_check_integers = {
    .name = "integers",
    .summary = "sums of small integers are exact",
    .applies = applies,
    .prepare = prepare,
};
