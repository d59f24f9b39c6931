/* progress.h - a bar on stderr while a long command works, if a person may be looking. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_PROGRESS_H
#define GMM_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress {
    bool shown; /* stderr is a terminal that can return to the start of a line */
    uint64_t total, done;
    const char *unit;    /* what is counted: "rows"; NULL: bytes, and sizes are shown */
    double begin, drawn; /* seconds of a monotonic clock */
} progress;

/* Seconds of a clock that never goes back. */
double monotonic_seconds(void);

/* Begin; nothing is ever shown if `quiet`, or if stderr is not a terminal, or a dumb one. */
void progress_start(progress *p, uint64_t total, const char *unit, bool quiet);

/* Count more; redraw if the last time is a tenth of a second ago. `doing` names the work at hand. */
void progress_add(progress *p, uint64_t more, const char *doing);

/* Wipe the line for text of another kind; the next progress_add draws it again. */
void progress_wipe(progress *p);

/* Wipe the line and show no more. */
void progress_end(progress *p);

#endif
