/* call_types.c - see call_types.h. */
/* SPDX-License-Identifier: MIT */
#include "blas/call_types.h"

#include <string.h>

bool gmm_blas_is_flag(char argument)
{
    return strchr("sutrd", argument) != NULL;
}

bool gmm_blas_by_value(const gmm_blas_call *call, char argument)
{
    bool real = argument == '*' ? call->routine->real_alpha : call->routine->real_beta;

    return !call->fortran && (real || !gmm_blas_is_complex(call->type));
}

const char *gmm_blas_result_type(const gmm_blas_routine *r)
{
    if (r->complex_value)
        return "complex_real";
    bool number = r->sum == GMM_SUM_NRM2 || r->sum == GMM_SUM_ASUM || (r->sum == GMM_SUM_DOT && r->fortran_void);

    return r->sum == GMM_SUM_IAMAX ? "integer" : number ? "real" : "void";
}

const char *gmm_blas_argument_type(const gmm_blas_call *call, char argument)
{
    if (argument == 'o' || gmm_blas_is_flag(argument))
        return call->fortran ? "const char *" : "int";
    if (strchr("MNKLU", argument))
        return call->fortran ? "const integer *" : "integer";
    if (strchr("*+", argument))
        return gmm_blas_by_value(call, argument) ? "real" : "const void *";
    if (strchr("ABCXY", argument))
        return call->fortran ? "void *, const integer *" : "void *, integer";
    return "void *";
}
