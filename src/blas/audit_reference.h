/* audit_reference.h - what a call should have computed, with the bound within which it may differ. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_AUDIT_REFERENCE_H
#define GMM_AUDIT_REFERENCE_H

#include "blas/audit.h"
#include "blas/audit_memory.h"

/*
 * Compare outputs and result of a call that was just made with sums of our own over the operands as they were saved.
 * `allowed` is what the judge allows: GMM_JUDGE_REFERENCE the a-priori bound (zero with integer values), or
 * GMM_JUDGE_SPECIAL numbers that are finite where they should be. A disagreement is written into the outcome and makes
 * it false; so does a lack of memory, which leaves the outcome alone.
 */
bool gmm_audit_reference(const gmm_audit_case *c, const gmm_audit_memory *memory, const gmm_blas_result *result,
                         gmm_audit_outcome *outcome);

/* Takes what an element should be; `operand` is -1 for the returned value. `finite` is what the judge of special values
 * asks. */
typedef void gmm_audit_sink(void *context, int operand, int64_t element, const double want[2], double bound,
                            bool finite);

/* Hand out all that a call should compute, for operands that were placed and not yet called with. False without memory.
 * Solutions of triangular systems come with a bound that is generous, not proven. */
bool gmm_audit_expect(const gmm_audit_case *c, const gmm_audit_memory *memory, gmm_audit_sink *sink, void *context);

#endif
