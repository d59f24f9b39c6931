/* audit_worker.h - processes that load a library and run cases; they may crash, hang, exit or write wildly. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_AUDIT_WORKER_H
#define GMM_AUDIT_WORKER_H

#include "blas/audit.h"

enum {
    GMM_AUDIT_BATCH = 512,
    GMM_AUDIT_MOST_ROUTINES = 96
};

/* The detail of a hang that uses no processor time. */
#define GMM_AUDIT_WAITS "it waits and does not return"

/* What all workers of an audit share. */
typedef struct gmm_audit_crew {
    const char *library, *environment;
    int32_t threads;
    double budget, deadline; /* seconds from the start, and the end by gmm_audit_seconds; 0 and never */
    gmm_blas_info info;      /* as the first worker saw it */
    uint8_t interfaces[GMM_AUDIT_MOST_ROUTINES][4]; /* by routine and place in "sdcz": bit 0 CBLAS, bit 1 Fortran */
    bool hidden_result;                             /* complex numbers are returned through an address */
    size_t cblas, fortran;                          /* numbers of its symbol forms; beyond the list: none */
    struct gmm_audit_shared *shared;                /* memory that workers report in */
} gmm_audit_crew;

/* Load the library in a process and see what it has. Statuses as of gmm_audit_create. */
gmm_status gmm_audit_crew_start(gmm_audit_crew *crew, const char *library, const char *environment, int32_t threads,
                                double budget);

void gmm_audit_crew_end(gmm_audit_crew *crew);

/*
 * Run up to GMM_AUDIT_BATCH cases, all in one fresh process, until the clock of gmm_audit_seconds says `until`; at
 * least one. If it dies in a case, that is the case's outcome, and a fresh process goes on with the next one. *ran
 * tells how many outcomes there are. GMM_ERR_MEMORY if there can be no process.
 */
gmm_status gmm_audit_crew_run(gmm_audit_crew *crew, const gmm_audit_case *cases, int count, double until,
                              gmm_audit_outcome *outcomes, int *ran);

/* Seconds of a clock that never goes back. */
double gmm_audit_seconds(void);

#endif
