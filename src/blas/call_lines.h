/* call_lines.h - the elements of an operand as runs that lie side by side in memory: to scan, sum, copy, compare them.
 */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CALL_LINES_H
#define GMM_CALL_LINES_H

#include "blas/blas_call.h"

/* Elements start, start + 1, ... start + length - 1, counted from the array's first. */
typedef struct gmm_call_line {
    int64_t start, length;
} gmm_call_line;

/* How many lines an operand has, 0 if it is empty, and line number i; the starts rise with i. Only what is stored
 * counts: of a triangle its own half, of a band what lies within the matrix. */
int64_t gmm_call_line_count(const gmm_blas_call *call, int operand);
gmm_call_line gmm_call_line_at(const gmm_blas_call *call, int operand, int64_t i);

/* Whether all arguments are such that the call can be made; if not, `why` says which one is not: "lda is 3, at least 4
 * is allowed". */
bool gmm_call_is_legal(const gmm_blas_call *call, char *why, size_t why_size);

/* Whether the call has anything to write or to return. */
bool gmm_call_is_empty(const gmm_blas_call *call);

/* Whether two operands at `a` and `b`, with the call's shapes and steps, have a byte in common. */
bool gmm_call_overlap(const gmm_blas_call *call, int a, int b);

/* Whether all elements of an operand at `base` are finite. Looks at bits: it raises no floating-point exception. */
bool gmm_call_is_finite(const gmm_blas_call *call, int operand, const void *base);

/* Whether the numbers that may influence the result are all finite: alpha, beta, operands that are read. `before` holds
 * the operands as they were before the call. */
bool gmm_call_inputs_are_finite(const gmm_blas_call *call, const void *const before[GMM_BLAS_OPERANDS]);

#endif
