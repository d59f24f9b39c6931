/* call_element.h - what one element of a call's result should be, with its bound, and without any memory. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CALL_ELEMENT_H
#define GMM_CALL_ELEMENT_H

#include "blas/blas_call.h"

/*
 * The audit's reference (audit_reference.h) copies operands into dense matrices of doubles, which a program that is
 * watched has no room for. This one reads the operands where they lie, one element of the result at a time.
 */
typedef struct gmm_call_view {
    const gmm_blas_call *call;
    const void *before[GMM_BLAS_OPERANDS]; /* from each array's first element */
    const void *after[GMM_BLAS_OPERANDS];
    const double *own;             /* the element before the call, where `before` no longer has it; or NULL */
    const gmm_blas_result *result; /* of a function */
} gmm_call_view;

typedef struct gmm_call_expected {
    double got[2], want[2];
    double bound; /* |got - want| may be this */
    bool open;    /* NaN or infinity on the way is right: operands that are not finite, or so large as to overflow */
} gmm_call_expected;

/*
 * Element (row, column) of an output, or the number that is returned if `operand` is -1. Of a triangular system `got`
 * is the residual of the equation that the element belongs to, and `want` is 0.
 */
void gmm_call_expect(const gmm_call_view *view, int operand, int64_t row, int64_t column, gmm_call_expected *expected);

/* Whether `got` is as wanted. */
bool gmm_call_expected_holds(const gmm_call_expected *expected);

/* Multiplications that gmm_call_expect takes for one element. */
int64_t gmm_call_sum_length(const gmm_blas_call *call);

/* Whether it needs outputs as they were before, whole and not only the element: solving and multiplying in place. */
bool gmm_call_needs_whole_output(const gmm_blas_call *call);

#endif
