/* call_replay.h - what a replay is. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CALL_REPLAY_H
#define GMM_CALL_REPLAY_H

#include "blas/call_file.h"

struct gmm_replay {
    gmm_call_record record;
    void *memory; /* the file */
    char *path;
    char symbol[GMM_BLAS_NAME_BYTES], call[512];
    char *program; /* NULL until it is asked for */
    /* What the program makes: the record, or after gmm_replay_reduce a smaller call. */
    gmm_call_record small;
    gmm_guard_verdict shown;       /* of the record's call in a process of its own */
    char *made[GMM_BLAS_OPERANDS]; /* operands whose numbers are by the formula */
    char reduced[256];             /* what was made smaller, in words; "": nothing was tried */
};

/* Make a record's call in a process of its own. The statuses of gmm_replay_run; a call that does not return there, or
 * dies, or whose control this library cannot have, is not `bad`. */
gmm_status gmm_replay_try(const gmm_call_record *record, const char *library, gmm_trial trial,
                          gmm_trial_outcome *outcome);

#endif
