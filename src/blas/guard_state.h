/* guard_state.h - the memory that a guard shares with every process that it watches: a file that all of them map. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_GUARD_STATE_H
#define GMM_GUARD_STATE_H

#include <stdatomic.h>
#include <stdint.h>

#include "blas/routine.h"

enum {
    GMM_GUARD_VERSION = 1,
    GMM_GUARD_MOST_ROUTINES = 64,
    GMM_GUARD_MOST_FINDINGS = 64,
    GMM_GUARD_VERDICTS = 8
};

/* The name of the variable that tells where the file is. */
#define GMM_GUARD_VARIABLE "GATHERMM_GUARD_STATE"

typedef struct gmm_guard_note {
    _Atomic uint32_t ready; /* set when the rest has been written */
    int32_t verdict;
    int64_t process;
    char routine[48], call[512], detail[256], library[512], path[1100];
    _Atomic uint64_t seen;
} gmm_guard_note;

typedef struct gmm_guard_state {
    uint32_t version;
    int32_t sample;
    char output[1024]; /* absolute */
    _Atomic uint64_t processes, unwatched;
    _Atomic uint32_t note_count;
    /* By place in the table of routines, type ("sdcz") and interface (CBLAS, Fortran). */
    _Atomic uint64_t calls[GMM_GUARD_MOST_ROUTINES][4][2];
    /* The note of each verdict, plus one; 0: none so far. */
    _Atomic uint32_t first[GMM_GUARD_MOST_ROUTINES][4][2][GMM_GUARD_VERDICTS];
    gmm_guard_note notes[GMM_GUARD_MOST_FINDINGS];
} gmm_guard_state;

#endif
