/* check_threads.c - another number of threads gives the same bits. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    (void)random;
    c->judge = GMM_JUDGE_PAIR;
    c->verdict = GMM_AUDIT_NONREPRO;
    c->settings[0].threads = 1;
    c->settings[1].threads = 2;
    return true;
}

const gmm_blas_check gmm_check_threads = {
    .name = "threads",
    .summary = "bits do not vary with the number of threads",
    .otherwise = "with one thread",
    .prepare = prepare,
};
