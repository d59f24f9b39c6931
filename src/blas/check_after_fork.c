/* check_after_fork.c - a child of a process that has used the library can use it too. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    (void)random;
    c->judge = GMM_JUDGE_PAIR;
    c->verdict = GMM_AUDIT_STATE;
    c->settings[1].process = 1;
    return true;
}

const gmm_blas_check gmm_check_after_fork = {
    .name = "after_fork",
    .summary = "a forked child computes what its parent does",
    .otherwise = "without a fork",
    .prepare = prepare,
};
