/* givens.h - what rotm's parameters mean, and what rotg and rotmg should give: checked by the equations that define it.
 */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_GIVENS_H
#define GMM_GIVENS_H

#include "blas/call_element.h"

/* The operands of a call of rotg or rotmg as numbers. */
typedef struct gmm_givens {
    double operands[GMM_BLAS_OPERANDS][5];
} gmm_givens;

gmm_givens gmm_givens_load(const gmm_blas_call *call, const void *const base[GMM_BLAS_OPERANDS]);

/* The matrix that five parameters stand for. */
void gmm_givens_matrix(const double parameters[5], double h[2][2]);

/*
 * What element `row` of an operand should be, given what came in and what came out. rotg's r may have either sign, and
 * c and s go with it. Of rotmg `got` is one of the equations
 *
 *     x1' = h11 x1 + h12 y1,  d2' (h21 x1 + h22 y1) = 0,  H^T diag(d1', d2') H = diag(d1, d2)
 *
 * and `want` is what it should give. Open: parameters that the flag does not ask for; negative d1 and d2; numbers so
 * large or small that squares leave the type's range.
 */
void gmm_givens_expect(const gmm_blas_call *call, const gmm_givens *before, const gmm_givens *after, int operand,
                       int64_t row, gmm_call_expected *expected);

/* What netlib's reference gives, in wider arithmetic, for programs that compare numbers; NaN: left alone. And what such
 * a number may be off. */
void gmm_givens_solve(const gmm_blas_call *call, const gmm_givens *before, gmm_givens *after);
double gmm_givens_bound(char type, double want);

#endif
