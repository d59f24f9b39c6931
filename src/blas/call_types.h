/* call_types.h - the C types of a routine's arguments, as the programs declare them that show a call. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CALL_TYPES_H
#define GMM_CALL_TYPES_H

#include "blas/blas_call.h"

/* Is this argument of gmm_blas_routine.arguments a flag? */
bool gmm_blas_is_flag(char argument);

/* Is alpha ('*') or beta ('+') passed by value? */
bool gmm_blas_by_value(const gmm_blas_call *call, char argument);

/* "real" and "integer" are types of those programs. An argument may be two, with a comma between: operand and step. */
const char *gmm_blas_result_type(const gmm_blas_routine *routine);
const char *gmm_blas_argument_type(const gmm_blas_call *call, char argument);

#endif
