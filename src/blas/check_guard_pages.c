/* check_guard_pages.c - nothing outside the operands is touched: each ends, or begins, where the mapped memory does. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    c->judge = GMM_JUDGE_RETURNS;
    c->verdict = GMM_AUDIT_MEMORY;
    c->settings[0].placement = gmm_audit_below(random, 3) ? GMM_PLACED_END : GMM_PLACED_START;
    return true;
}

const gmm_blas_check gmm_check_guard_pages = {
    .name = "guard_pages",
    .summary = "no read or write beyond what must exist",
    .prepare = prepare,
};
