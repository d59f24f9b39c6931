/* check_alignment.c - the same numbers at other addresses give the same bits. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    (void)random;
    c->judge = GMM_JUDGE_PAIR;
    c->verdict = GMM_AUDIT_NONREPRO;
    c->settings[0].aligned = 1;
    return true;
}

const gmm_blas_check gmm_check_alignment = {
    .name = "alignment",
    .summary = "bits do not vary with alignment",
    .otherwise = "when all are aligned",
    .prepare = prepare,
};
