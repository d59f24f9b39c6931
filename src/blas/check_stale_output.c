/* check_stale_output.c - what an output held does not matter if it is not to be read: beta = 0, alpha = 0 in trmm,
 * copy. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool applies(const gmm_blas_routine *routine)
{
    /* rotmg sets only the parameters that its flag asks for. */
    if (routine->sum == GMM_SUM_ROTMG)
        return false;
    for (int i = 0; i < GMM_BLAS_OPERANDS; i++)
        if (routine->operands[i].access == GMM_UPDATE_BETA || routine->operands[i].access == GMM_WRITE ||
            routine->operands[i].access == GMM_UPDATE_ALPHA)
            return routine->operands[i].access != GMM_UPDATE_ALPHA || gmm_blas_has_argument(routine, '*');
    return false;
}

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    static const uint8_t fills[] = {GMM_FILL_NAN, GMM_FILL_NAN, GMM_FILL_SIGNALING_NAN, GMM_FILL_INFINITY,
                                    GMM_FILL_LARGE};
    gmm_blas_sum sum = c->call.routine->sum;

    /* A gemv without rows or columns leaves y alone, by custom. */
    if (sum == GMM_SUM_GEMV && (c->call.n == 0 || (gmm_blas_has_argument(c->call.routine, 'M') && c->call.m == 0)))
        return false;
    c->call.beta[0] = c->call.beta[1] = 0;
    if (sum == GMM_SUM_TRIANGLE || sum == GMM_SUM_SOLVE)
        c->call.alpha[0] = c->call.alpha[1] = 0;
    c->judge = GMM_JUDGE_PAIR;
    /* Of syrk, herk, syr2k and her2k the text does not say so, though the reference ignores C. */
    c->verdict = sum == GMM_SUM_RANK_K || sum == GMM_SUM_RANK_2K ? GMM_AUDIT_DIFFERS : GMM_AUDIT_VIOLATION;
    c->settings[0].output = GMM_FILL_ZERO;
    c->settings[1].output = fills[gmm_audit_below(random, 5)];
    return true;
}

const gmm_blas_check gmm_check_stale_output = {
    .name = "stale_output",
    .summary = "an output that is not to be read (beta = 0) may hold NaN",
    .otherwise = "where it held zeros before",
    .applies = applies,
    .prepare = prepare,
};
