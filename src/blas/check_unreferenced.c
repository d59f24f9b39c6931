/* check_unreferenced.c - what is not referenced does not matter: other triangles, unit diagonals, padding, gaps, the
 * bytes around. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    /* With nothing to do (k = 0, beta = 1) a Hermitian diagonal keeps its imaginary part, whatever it is. */
    if (c->call.routine->sum == GMM_SUM_RANK_K || c->call.routine->sum == GMM_SUM_RANK_2K)
        c->call.k += c->call.k == 0;
    c->judge = GMM_JUDGE_PAIR;
    c->verdict = GMM_AUDIT_VIOLATION;
    c->settings[0].gaps = GMM_FILL_ZERO;
    c->settings[1].gaps = gmm_audit_below(random, 3) ? GMM_FILL_NAN : GMM_FILL_INFINITY;
    return true;
}

const gmm_blas_check gmm_check_unreferenced = {
    .name = "unreferenced",
    .summary = "unreferenced triangles, padding, gaps, bytes around may hold NaN",
    .otherwise = "with zeros there",
    .prepare = prepare,
};
