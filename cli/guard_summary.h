/* guard_summary.h - what a guard has found, for people on stderr and for programs as JSON. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_GUARD_SUMMARY_H
#define GMM_GUARD_SUMMARY_H

#include "gathermm/guard.h"

/* Write the programs that repeat findings, print the summary, write JSON to `json` unless it is NULL. `wait_status` is
 * how the program ended. EXIT_FINE if nothing was found or the program failed by itself, EXIT_FOUND, or
 * EXIT_COULD_NOT_RUN after a complaint. */
int guard_summary(const gmm_guard *guard, const char *json, int wait_status);

#endif
