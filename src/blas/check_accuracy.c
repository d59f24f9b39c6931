/* check_accuracy.c - results lie within the a-priori bound, which holds for every order of the sum. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    (void)random;
    c->judge = GMM_JUDGE_REFERENCE;
    c->verdict = GMM_AUDIT_ACCURACY;
    return true;
}

const gmm_blas_check gmm_check_accuracy = {
    .name = "accuracy",
    .summary = "results lie within the a-priori error bound",
    .prepare = prepare,
};
