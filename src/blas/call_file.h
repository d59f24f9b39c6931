/* call_file.h - a BLAS call in a file, with its operands: written by a guard, read by a replay. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CALL_FILE_H
#define GMM_CALL_FILE_H

#include "blas/call_trial.h"

typedef struct gmm_call_record {
    gmm_kept_call kept;
    gmm_guard_verdict verdict;
    gmm_trial trial; /* that showed it */
    int operand;     /* where it was wrong; -1: in the returned value */
    int64_t row, column;
    gmm_call_expected expected;
    char detail[256];
    char library[512];
    char symbol[64];                    /* as this library writes it: "scipy_cblas_sgemm64_" */
    int64_t data_at[GMM_BLAS_OPERANDS]; /* where each operand begins in the file */
} gmm_call_record;

/* Write to a file that is open and empty; sets data_at. False as errno says. */
bool gmm_call_file_write(int descriptor, gmm_call_record *record);

/* Read a file; the operands lie in *memory, for free(). GMM_ERR_FILE, GMM_ERR_MALFORMED, GMM_ERR_MEMORY with a detail.
 */
gmm_status gmm_call_file_read(const char *path, gmm_call_record *record, void **memory);

#endif
