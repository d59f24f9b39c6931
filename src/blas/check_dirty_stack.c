/* check_dirty_stack.c - what lies in the dead frame below the caller does not matter. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    (void)random;
    c->judge = GMM_JUDGE_PAIR;
    c->verdict = GMM_AUDIT_STATE;
    c->settings[0].stack = GMM_FILL_ZERO;
    c->settings[1].stack = GMM_FILL_NAN;
    return true;
}

const gmm_blas_check gmm_check_dirty_stack = {
    .name = "dirty_stack",
    .summary = "the result does not depend on what the stack held",
    .otherwise = "with zeros on the stack",
    .prepare = prepare,
};
