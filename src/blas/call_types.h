/* call_types.h - the C types of a routine's arguments, as the programs declare them that show a call. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CALL_TYPES_H
#define GMM_CALL_TYPES_H

#include <stdio.h>

#include "blas/blas_call.h"

/* Is this argument of gmm_blas_routine.arguments a flag? */
bool gmm_blas_is_flag(char argument);

/* Is alpha ('*') or beta ('+') passed by value? */
bool gmm_blas_by_value(const gmm_blas_call *call, char argument);

/* "real" and "integer" are types of those programs. An argument may be two, with a comma between: operand and step. */
const char *gmm_blas_result_type(const gmm_blas_routine *routine);
const char *gmm_blas_argument_type(const gmm_blas_call *call, char argument);

/* "void cblas_sgemm(int, int, ...);" for a call of `symbol`. `hidden`: of a complex number, by an address first. */
void gmm_blas_write_prototype(FILE *to, const gmm_blas_call *call, const char *symbol, bool hidden);

/* Writes the value of an argument of the table; *operand is the number of the next operand. */
typedef void gmm_blas_write_argument(FILE *to, const void *context, char argument, int *operand);

/* The statements that make the call and put what it returns into result[2]; a variable complex_result is declared if it
 * is needed. */
void gmm_blas_write_call(FILE *to, const gmm_blas_call *call, const char *symbol, bool hidden,
                         gmm_blas_write_argument *argument, const void *context);

#endif
