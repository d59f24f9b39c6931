/* check_float_control.c - rounding, flushing and traps are the caller's: a call leaves them as it found them. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"
#include "cpu/float_control.h"

/* Every call of every check is watched for this; here the caller's own setting is an unusual one too, which a library
 * that sets it back to what is usual does not leave. */
static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    c->judge = GMM_JUDGE_RETURNS;
    c->verdict = GMM_AUDIT_STATE;
    c->settings[0].float_mode = (uint8_t)gmm_audit_below(random, GMM_FLOAT_TRUNCATING + 1);
    return true;
}

const gmm_blas_check gmm_check_float_control = {
    .name = "float_control",
    .summary = "rounding, flushing to zero and traps are left alone",
    .prepare = prepare,
};
