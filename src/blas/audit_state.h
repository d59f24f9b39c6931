/* audit_state.h - what an audit has found so far. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_AUDIT_STATE_H
#define GMM_AUDIT_STATE_H

#include "blas/audit_plan.h"
#include "blas/audit_worker.h"

enum {
    GMM_AUDIT_MOST_CONTROLS = 16,
    GMM_AUDIT_TEXT = 512
};

/* A control: the failing case with one thing changed. */
typedef struct gmm_audit_trial {
    const char *name;
    gmm_audit_case c;
    gmm_audit_outcome outcome;
} gmm_audit_trial;

typedef struct gmm_audit_record {
    const gmm_blas_check *check; /* for what every check watches not the case's own */
    const gmm_blas_routine *routine;
    char type;
    bool fortran;
    gmm_audit_verdict verdict;
    int64_t failed;
    gmm_audit_case c; /* the smallest so far */
    gmm_audit_outcome outcome;
    bool alone; /* it fails in a fresh process, without other cases before */
    bool minimized;
    gmm_audit_trial controls[GMM_AUDIT_MOST_CONTROLS];
    size_t control_count;
    char symbol[GMM_BLAS_NAME_BYTES], call[GMM_AUDIT_TEXT];
    char *reproduction;
} gmm_audit_record;

/* Of each check, routine, type and interface. */
typedef struct gmm_audit_tally {
    int64_t cases, deaths, unconfirmed;
    int64_t retired_from; /* the case from which it is left out, for it dies or hangs too often; 0: none */
} gmm_audit_tally;

/* The result of a case that was held against the reference and is right. */
typedef struct gmm_audit_bits {
    int64_t number; /* of the case */
    uint64_t hash;
} gmm_audit_bits;

struct gmm_audit {
    gmm_audit_crew crew;
    gmm_audit_plan plan;
    char *library, *environment, *checks, *routines;
    int64_t next, cases;
    gmm_audit_record *records;
    size_t record_count, record_room;
    gmm_audit_bits *bits; /* in the order of numbers */
    size_t bit_count, bit_room;
    gmm_audit_tally *tallies;
    int32_t *waits; /* of each check: hangs that wait, which cost seconds each */
    /* How wrong arguments end, for the notes. */
    int64_t refusals_returned, refusals_exited, refusals_aborted;
    int32_t refusal_status;
    char notes[4][160];
    char kernels[32][64];
    size_t kernel_count;
    bool kernels_known;
};

/* Case number i as this library gets it; false if it has none. */
bool gmm_audit_case_at(const gmm_audit *audit, int64_t i, gmm_audit_case *c);

/* Run one case alone in a fresh process. */
gmm_status gmm_audit_run_alone(gmm_audit *audit, const gmm_audit_case *c, gmm_audit_outcome *outcome);

/* Whether an outcome is the failure of this record. */
bool gmm_audit_same_failure(const gmm_audit_record *record, const gmm_audit_outcome *outcome);

/* Make the texts of a record anew after its case has changed. */
void gmm_audit_describe(const gmm_audit *audit, gmm_audit_record *record);

#endif
