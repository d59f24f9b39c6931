/* audit_call.h - make a case's call in one setting. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_AUDIT_CALL_H
#define GMM_AUDIT_CALL_H

#include "blas/audit_case.h"

/*
 * Place the operands, dirty what the setting says, and make the call. False, with the outcome's `ran` false, if that
 * cannot be: no such routine, no room, no way to set threads. *same is false if of several callers one got other bits.
 */
bool gmm_audit_call(gmm_audit_bench *bench, const gmm_audit_case *c, const gmm_audit_setting *setting,
                    gmm_blas_result *result, bool *same);

/* Make a call that is placed already, with the stack, registers and floating-point control of `setting`. Control is set
 * back, and noted if the library changed it. */
gmm_blas_result gmm_audit_call_watched(gmm_audit_bench *bench, const gmm_audit_setting *setting,
                                       const gmm_blas_call *call, gmm_blas_any_function *function);

#endif
