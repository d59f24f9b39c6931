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

/* All arguments, separated by commas, and the hidden lengths of Fortran's characters. */
static void write_list(FILE *to, const gmm_blas_call *call, const char *first, gmm_blas_write_argument *argument,
                       const void *context)
{
    const char *separator = *first ? ", " : "";
    int operand = 0, flags = 0;

    fprintf(to, "(%s", first);
    for (const char *a = call->routine->arguments; *a; a++) {
        if (*a == 'o' && call->fortran)
            continue;
        fprintf(to, "%s", separator);
        separator = ", ";
        if (argument)
            argument(to, context, *a, &operand);
        else
            fprintf(to, "%s", gmm_blas_argument_type(call, *a));
        flags += gmm_blas_is_flag(*a);
    }
    for (; call->fortran && flags; flags--)
        fprintf(to, argument ? ", 1" : ", size_t");
    fprintf(to, ")");
}

void gmm_blas_write_prototype(FILE *to, const gmm_blas_call *call, const char *symbol, bool hidden)
{
    fprintf(to, "%s %s", hidden ? "void" : gmm_blas_result_type(call->routine), symbol);
    write_list(to, call, hidden ? "void *" : "", NULL, NULL);
    fprintf(to, ";\n");
}

void gmm_blas_write_call(FILE *to, const gmm_blas_call *call, const char *symbol, bool hidden,
                         gmm_blas_write_argument *argument, const void *context)
{
    const gmm_blas_routine *r = call->routine;
    bool value = r->complex_value && !hidden, number = strcmp(gmm_blas_result_type(r), "void") != 0;

    if (!r->fortran_void || r->complex_value)
        fprintf(to, "    real complex_result[2];\n");
    fprintf(to, "\n    %s%s",
            value                         ? "const complex_real value = "
            : number && !r->complex_value ? "result[0] = (double)"
                                          : "",
            symbol);
    write_list(to, call, hidden ? "complex_result" : "", argument, context);
    fprintf(to, "%s;\n", r->sum == GMM_SUM_IAMAX && call->fortran ? " - 1" : "");
    if (value)
        fprintf(to, "    memcpy(complex_result, &value, sizeof value);\n");
    if (!r->fortran_void || r->complex_value)
        fprintf(to, "    result[0] = complex_result[0];\n    result[1] = complex_result[1];\n");
}
