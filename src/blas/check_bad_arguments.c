/* check_bad_arguments.c - a call with a wrong argument is reported, and writes nothing. */
/* SPDX-License-Identifier: MIT */
#include "blas/audit.h"

static bool applies(const gmm_blas_routine *routine)
{
    return gmm_blas_level(routine) > 1;
}

static bool prepare(gmm_audit_case *c, gmm_audit_random *random)
{
    gmm_blas_call *call = &c->call;
    const gmm_blas_routine *r = call->routine;
    int operand = (int)gmm_audit_below(random, gmm_blas_operand_count(call));
    bool packed = r->operands[operand].storage == GMM_STORED_PACKED,
         vector = r->operands[operand].form == GMM_FORM_VECTOR;

    call->m += call->m == 0;
    call->n += call->n == 0;
    call->k += call->k == 0;
    c->judge = GMM_JUDGE_UNTOUCHED;
    c->verdict = GMM_AUDIT_VIOLATION;
    switch (gmm_audit_below(random, 4)) {
    case 0: /* a size below zero */
        if (gmm_blas_has_argument(r, 'M') && gmm_audit_below(random, 2))
            call->m = -1;
        else
            call->n = -1;
        break;
    case 1: /* a flag that is none */
        if (gmm_blas_has_argument(r, 't'))
            call->transpose_a = 'X';
        else if (gmm_blas_has_argument(r, 'u'))
            call->uplo = 'X';
        else
            call->n = -1;
        break;
    default: /* an increment of zero, a leading dimension that is too small */
        if (packed)
            call->n = -1;
        else
            call->operands[operand].step = vector ? 0 : -1;
        /* The row-major wrappers of netlib's CBLAS copy x for some complex routines, and then do not see its zero. */
        if (vector && call->row_major && gmm_blas_is_complex(call->type))
            c->verdict = GMM_AUDIT_DIFFERS;
    }
    return true;
}

const gmm_blas_check gmm_check_bad_arguments = {
    .name = "bad_arguments",
    .summary = "a wrong argument leaves the outputs alone",
    .applies = applies,
    .prepare = prepare,
};
