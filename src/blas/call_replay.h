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
};

#endif
