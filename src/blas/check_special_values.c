/* check_special_values.c - a NaN or an infinity in an operand reaches what depends on it, and nothing else. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool applies(const gmm_blas_routine *routine)
{
    return routine->sum != GMM_SUM_IAMAX && routine->sum != GMM_SUM_SOLVE && routine->sum < GMM_SUM_ROTM;
}

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    c->judge = GMM_JUDGE_SPECIAL;
    c->verdict = GMM_AUDIT_DIFFERS;
    c->values = GMM_VALUES_INTEGERS;
    if (gmm_blas_has_argument(c->call.routine, '*') && c->call.alpha[0] == 0)
        c->call.alpha[0] = 1;
    c->special_operand = (int32_t)gmm_audit_below(random, gmm_blas_operand_count(&c->call));
    c->special_element = gmm_audit_below(random, 1 << 20);
    c->special = gmm_audit_below(random, 2) ? GMM_FILL_NAN : GMM_FILL_INFINITY;
    return true;
}

const gmm_blas_check gmm_check_special_values = {
    .name = "special_values",
    .summary = "NaN and Inf reach the results that depend on them alone",
    .applies = applies,
    .prepare = prepare,
};
