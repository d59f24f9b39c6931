/* check_increments.c - vectors with gaps and backwards. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool applies(const gmm_blas_routine *routine)
{
    if (gmm_blas_level(routine) == 3 || routine->sum >= GMM_SUM_ROTG)
        return false;
    /* Of one vector in level 1 a negative increment means nothing, or not the same everywhere. */
    return gmm_blas_level(routine) == 2 || routine->operands[1].form == GMM_FORM_VECTOR;
}

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    static const int64_t steps[] = {-1, -2, -3, -7, 2, 3, 5, 16};

    for (int i = 0; i < gmm_blas_operand_count(&c->call); i++)
        if (c->call.routine->operands[i].form == GMM_FORM_VECTOR &&
            c->call.routine->operands[i].storage == GMM_STORED_FULL)
            c->call.operands[i].step = steps[gmm_audit_below(random, 8)];
    c->judge = GMM_JUDGE_REFERENCE;
    c->values = c->call.routine->sum == GMM_SUM_SOLVE ? GMM_VALUES_REALS : GMM_VALUES_INTEGERS;
    c->verdict = GMM_AUDIT_VIOLATION;
    return true;
}

const gmm_blas_check gmm_check_increments = {
    .name = "increments",
    .summary = "increments of either sign address what the text says",
    .applies = applies,
    .prepare = prepare,
};
