/* check_registers.c - what the vector registers hold does not matter. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    (void)random;
    c->judge = GMM_JUDGE_PAIR;
    c->verdict = GMM_AUDIT_STATE;
    c->settings[0].registers = GMM_FILL_ZERO;
    c->settings[1].registers = GMM_FILL_NAN;
    return true;
}

const gmm_blas_check gmm_check_registers = {
    .name = "registers",
    .summary = "the result does not depend on what registers held",
    .otherwise = "with zeros in registers",
    .prepare = prepare,
};
