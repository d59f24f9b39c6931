/* check_degenerate.c - sizes of 0, 1 and 2 in all combinations: quick returns, k = 0, and calls that never return. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    gmm_blas_call *call = &c->call;
    int64_t *const sizes[] = {&call->m, &call->n, &call->k, &call->kl, &call->ku};
    int64_t which = gmm_audit_below(random, 243);

    for (int i = 0; i < 5; i++, which /= 3)
        *sizes[i] = which % 3;
    if (gmm_audit_below(random, 2))
        *sizes[gmm_audit_below(random, 3)] = 0;
    c->judge = GMM_JUDGE_REFERENCE;
    c->values = GMM_VALUES_INTEGERS;
    if (call->routine->sum == GMM_SUM_SOLVE || call->routine->sum == GMM_SUM_NRM2 || call->routine->sum >= GMM_SUM_ROTG)
        c->values = GMM_VALUES_REALS;
    /* That gemv without columns leaves y alone is a custom, not a promise. */
    c->verdict = call->routine->sum == GMM_SUM_GEMV ? GMM_AUDIT_DIFFERS : GMM_AUDIT_VIOLATION;
    if (call->routine->sum == GMM_SUM_IAMAX)
        c->verdict = GMM_AUDIT_DIFFERS;
    return true;
}

const gmm_blas_check gmm_check_degenerate = {
    .name = "degenerate",
    .summary = "sizes of zero return at once and do what the text says",
    .prepare = prepare,
};
