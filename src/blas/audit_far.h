/* audit_far.h - operands stretched until their last element is more than 2^31 elements, or bytes, from the first. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_AUDIT_FAR_H
#define GMM_AUDIT_FAR_H

#include "blas/audit_memory.h"

/* How far: the setting's `far`. */
enum {
    GMM_FAR_31 = 1, /* just past 2^31 elements */
    GMM_FAR_32 = 2  /* just past 2^32 */
};

/* Stretched copies of a case's operands, and what they took the place of. */
typedef struct gmm_audit_far {
    struct {
        char *map;
        size_t bytes;
        gmm_audit_operand near;
        int64_t near_step, far_step;
    } operands[GMM_BLAS_OPERANDS];
} gmm_audit_far;

/*
 * Set the steps of a call with small ones: the span over the number of its lines. Vectors end just past 2^29
 * elements where integers have 32 bits, which is past 2^31 bytes: the reference itself computes 2 n incx in such an
 * integer. False if no operand gets far, or one cannot because of that.
 */
bool gmm_audit_far_steps(gmm_blas_call *call, uint8_t how, int32_t integer_bits);

/* Where element `near` of a small array lies in the stretched one. */
int64_t gmm_audit_far_place(int64_t near_step, int64_t far_step, int64_t near);

/* Copy the operands that gmm_audit_place has placed into stretched arrays, which `call` and `memory` then have. False
 * without address space, or where the steps cannot be. */
bool gmm_audit_far_open(gmm_audit_far *far, gmm_audit_memory *memory, gmm_blas_call *call, uint8_t how,
                        int32_t integer_bits);

/* Give `memory` its own operands again. Those of `far` can be read until it is closed. */
void gmm_audit_far_put_back(gmm_audit_far *far, gmm_audit_memory *memory);
const char *gmm_audit_far_element(const gmm_audit_far *far, const gmm_audit_memory *memory, int operand, int64_t near);
void gmm_audit_far_close(gmm_audit_far *far);

/* Whether there is the address space for any case. GMM_ERR_MEMORY says how much is needed. */
gmm_status gmm_audit_far_available(void);

#endif
