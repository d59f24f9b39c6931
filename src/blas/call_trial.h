/* call_trial.h - make a call again in clean memory with one thing changed, and judge the result of a call. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CALL_TRIAL_H
#define GMM_CALL_TRIAL_H

#include "blas/call_element.h"
#include "gathermm/guard.h"

/* What is changed; call_trial.c has their names. */
typedef enum gmm_trial {
    GMM_TRIAL_AS_IT_WAS,  /* the same bytes, at the same offsets from a 64-byte boundary */
    GMM_TRIAL_ZERO,       /* outputs that are not to be read hold zeros */
    GMM_TRIAL_FINITE,     /* ... ones */
    GMM_TRIAL_NAN,        /* ... NaN */
    GMM_TRIAL_ALIGNED,    /* all operands on a 64-byte boundary */
    GMM_TRIAL_ONE_THREAD, /* whoever runs it sets the threads */
    GMM_TRIALS
} gmm_trial;

/* "as it was", "C holds zeros", ... for a call; `name` is of 48 bytes. */
void gmm_trial_name(const gmm_blas_call *call, gmm_trial trial, char *name);

/* Whether it differs from the first for this call. */
bool gmm_trial_applies(const gmm_blas_call *call, gmm_trial trial);

/* A call whose operands are kept as they were before it: call.operands[].data, of `extent` elements each, with a
 * pattern in the gaps, where nothing of the call lies. call.operands[].offset is that of the original. */
typedef struct gmm_kept_call {
    gmm_blas_call call;
    int integer_bits;
    size_t bytes[GMM_BLAS_OPERANDS];
} gmm_kept_call;

typedef struct gmm_trial_outcome {
    bool ran; /* false: no memory */
    bool bad;
    gmm_guard_verdict verdict;
    int operand; /* -1: the returned value */
    int64_t row, column;
    gmm_call_expected expected;
    char detail[256];
} gmm_trial_outcome;

/* Fill an operand's bytes with the pattern of gaps: NaN of a payload of its own. */
void gmm_trial_pattern(char *bytes, size_t count);

/* Make the call and judge it. About `operations` multiplications are spent on the comparison. */
void gmm_trial_run(const gmm_kept_call *kept, gmm_blas_any_function *function, gmm_trial trial, double operations,
                   gmm_trial_outcome *outcome);

/* Judge outputs and result alone: all that is not finite, some of the rest. */
void gmm_trial_judge(const gmm_call_view *view, double operations, gmm_trial_outcome *outcome);

#endif
