/* check_canaries.c - nothing but the output is written: padding, gaps, the other triangle, operands that are only read.
 */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    c->judge = GMM_JUDGE_RETURNS;
    c->verdict = GMM_AUDIT_MEMORY;
    for (int i = 0; i < gmm_blas_operand_count(&c->call); i++)
        if (c->call.routine->operands[i].form != GMM_FORM_VECTOR)
            c->call.operands[i].step += 1 + gmm_audit_below(random, 4);
    return true;
}

const gmm_blas_check gmm_check_canaries = {
    .name = "canaries",
    .summary = "no write but to the elements of the output",
    .prepare = prepare,
};
