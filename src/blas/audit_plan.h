/* audit_plan.h - which cases are run: a fixed sequence for each seed and selection. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_AUDIT_PLAN_H
#define GMM_AUDIT_PLAN_H

#include "blas/audit.h"

/* A check of a routine of a type: what cases take turns in. */
typedef struct gmm_audit_slot {
    const gmm_blas_check *check;
    const gmm_blas_routine *routine;
    char type;
} gmm_audit_slot;

typedef struct gmm_audit_plan {
    uint64_t seed;
    gmm_audit_slot *slots;
    size_t count;
} gmm_audit_plan;

/* Which interfaces a library has of a routine and type: bit 0 CBLAS, bit 1 Fortran. */
typedef unsigned gmm_audit_interfaces(const void *context, const gmm_blas_routine *routine, char type);

/* The slots of these checks and routines, comma-separated names, or NULL. GMM_ERR_ARGUMENT names an unknown word. */
gmm_status gmm_audit_plan_make(gmm_audit_plan *plan, uint64_t seed, const char *checks, const char *routines);

void gmm_audit_plan_free(gmm_audit_plan *plan);

/* Case number i. False if it has no meaning, or the library lacks the routine. */
bool gmm_audit_plan_case(const gmm_audit_plan *plan, int64_t i, gmm_audit_interfaces *interfaces, const void *context,
                         gmm_audit_case *c);

/* Set leading dimensions from what they exceed the least by, as cases are drawn and minimized: `step` of matrices is
 * that excess before, the leading dimension after. */
void gmm_audit_set_steps(gmm_audit_case *c);

#endif
