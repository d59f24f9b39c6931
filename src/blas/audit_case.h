/* audit_case.h - run one case in this process, which the library may wreck. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_AUDIT_CASE_H
#define GMM_AUDIT_CASE_H

#include "blas/audit.h"
#include "blas/audit_memory.h"
#include "cpu/float_control.h"

/* A process that runs cases: its library, its memory, and where it is for whoever watches. */
typedef struct gmm_audit_bench {
    gmm_blas_library library;
    gmm_audit_memory memory;
    int32_t threads;                /* as it stands between cases */
    volatile int32_t *inside;       /* 1 while the library has control */
    char control[GMM_AUDIT_DETAIL]; /* how a call changed floating-point control; "": it did not */
    char loading[GMM_AUDIT_DETAIL]; /* how loading the library did */
} gmm_audit_bench;

void gmm_audit_case_run(gmm_audit_bench *bench, const gmm_audit_case *c, gmm_audit_outcome *outcome);

#endif
