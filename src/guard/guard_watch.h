/* guard_watch.h - what the parts of the guard that watch calls share. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_GUARD_WATCH_H
#define GMM_GUARD_WATCH_H

#include "blas/call_trial.h"
#include "blas/guard_state.h"
#include "guard/guard_slots.h"

/* The shared memory; of this process alone if there is no file. Set before the first call is watched. */
extern gmm_guard_state *gmm_guard_shared;

/* Why a call is looked into. */
enum {
    GMM_GUARD_NOT_FINITE = 1, /* an output or the result holds NaN or infinity */
    GMM_GUARD_CHANGED = 2,    /* an operand that is only read, or a gap, is not as it was */
    GMM_GUARD_WRONG = 4,      /* an element is not as the reference says */
    GMM_GUARD_FRESH = 8       /* the first call of this shape, alignment and kind */
};

typedef struct gmm_guard_watch {
    gmm_guard_slot *slot;
    gmm_blas_call call; /* data: the program's operands */
    gmm_blas_result result;
    int integer_bits;
    gmm_blas_complex_return complex_return;
    int reasons;
    char *kept[GMM_BLAS_OPERANDS]; /* elements of an output before the call, line after line; NULL: not kept */
} gmm_guard_watch;

/* Read a call's arguments; *result_at is where a complex result goes, or NULL. False if it is of a kind that is not
 * known. */
bool gmm_guard_decode(const gmm_guard_slot *slot, const gmm_guard_arguments *arguments, int integer_bits,
                      gmm_blas_complex_return complex_return, gmm_blas_call *call, const void **result_at);

/* Look into a call that has been made. */
void gmm_guard_examine(const gmm_guard_watch *watch);

/* The program's error in a call that has not been made yet. */
void gmm_guard_blame_caller(const gmm_guard_watch *watch, const char *why);

/* The library of a slot: the width of its integers, 0 if it cannot be found out; *library gets it, or NULL. */
int gmm_guard_library(const gmm_guard_slot *slot, const gmm_blas_library **library);

/* Outcomes of trials; those that did not run are not `ran`. */
typedef struct gmm_guard_report {
    const gmm_guard_watch *watch;
    const gmm_kept_call *kept; /* NULL: the operands are not to be written */
    gmm_guard_verdict verdict;
    gmm_trial trial; /* that showed it; as it was, if the program's own call did */
    const gmm_trial_outcome *worst;
    const char *detail;
    const gmm_trial_outcome *trials; /* [GMM_TRIALS], or NULL */
} gmm_guard_report;

/* Note a finding; the first of its kind is written to files. */
void gmm_guard_note_finding(const gmm_guard_report *report);

/* Whether this kind has been noted so often that looking again is of no use. */
bool gmm_guard_is_known(const gmm_guard_slot *slot, gmm_guard_verdict verdict, uint64_t times);

#endif
