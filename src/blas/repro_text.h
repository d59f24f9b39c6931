/* repro_text.h - the parts of a reproduction that do not change, line by line, each list ended by NULL. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_REPRO_TEXT_H
#define GMM_REPRO_TEXT_H

#include <stddef.h>

extern const char *const gmm_repro_head[];
extern const char *const gmm_repro_mix[]; /* of guard's programs, too */
extern const char *const gmm_repro_memory[];
extern const char *const gmm_repro_place[];
extern const char *const gmm_repro_pattern[];
extern const char *const gmm_repro_stack[];
extern const char *const gmm_repro_registers[];
extern const char *const gmm_repro_earlier[];
extern const char *const gmm_repro_threads[];
extern const char *const gmm_repro_callers[];
extern const char *const gmm_repro_far[];
extern const char *const gmm_repro_control[];
extern const char *const gmm_repro_main[];

#endif
