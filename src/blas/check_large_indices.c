/* check_large_indices.c - elements more than 2^31 from the first, by leading dimensions and increments. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"
#include "blas/audit_far.h"

/* Sums of integers only: their bits do not vary with the way in which the library goes. */
static bool applies(const gmm_blas_routine *routine)
{
    return routine->sum != GMM_SUM_SOLVE && routine->sum != GMM_SUM_NRM2 && routine->sum < GMM_SUM_ROTG;
}

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    gmm_blas_call *call = &c->call;
    int level = gmm_blas_level(call->routine);
    bool either = level == 2 || (level == 1 && call->routine->operands[1].form == GMM_FORM_VECTOR);

    call->m = 3 + gmm_audit_below(random, 12);
    call->n = 3 + gmm_audit_below(random, 12);
    call->k = level == 2 ? gmm_audit_below(random, 3) : 3 + gmm_audit_below(random, 12);
    call->kl = gmm_audit_below(random, 3);
    call->ku = gmm_audit_below(random, 3);
    for (int i = 0; i < gmm_blas_operand_count(call); i++) {
        bool vector = call->routine->operands[i].form == GMM_FORM_VECTOR;
        call->operands[i].step = !vector ? 0 : either && gmm_audit_below(random, 3) == 0 ? -1 : 1;
    }
    c->judge = GMM_JUDGE_FAR;
    c->values = GMM_VALUES_INTEGERS;
    c->verdict = GMM_AUDIT_VIOLATION;
    c->settings[1].far = gmm_audit_below(random, 2) ? GMM_FAR_31 : GMM_FAR_32;
    return true;
}

const gmm_blas_check gmm_check_large_indices = {
    .name = "large_indices",
    .summary = "elements more than 2^31 apart are found",
    .otherwise = "where they lie close together",
    .on_request = true,
    .applies = applies,
    .prepare = prepare,
};
