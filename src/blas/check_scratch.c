/* check_scratch.c - what earlier, unrelated calls left in the library's buffers does not matter. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    c->judge = GMM_JUDGE_PAIR;
    c->verdict = GMM_AUDIT_STATE;
    c->settings[0].earlier = GMM_FILL_ZERO;
    c->settings[1].earlier = gmm_audit_below(random, 4) ? GMM_FILL_NAN : GMM_FILL_INFINITY;
    return true;
}

const gmm_blas_check gmm_check_scratch = {
    .name = "scratch",
    .summary = "the result does not depend on the numbers of earlier calls",
    .otherwise = "after the same calls with zeros",
    .prepare = prepare,
};
