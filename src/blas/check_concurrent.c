/* check_concurrent.c - calls from several threads at once give what one alone gives. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    (void)random;
    c->judge = GMM_JUDGE_PAIR;
    c->verdict = GMM_AUDIT_STATE;
    c->settings[1].callers = 4;
    return true;
}

const gmm_blas_check gmm_check_concurrent = {
    .name = "concurrent",
    .summary = "calls from several threads at once do not disturb each other",
    .otherwise = "called alone",
    .prepare = prepare,
};
