/* host_loops.h - parallel loops that a host might bring, as options of a context. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_HOST_LOOPS_H
#define GMM_HOST_LOOPS_H

#include <stdint.h>

/* On the calling thread, last item first. */
void gmm_loop_reversed(void *user, int64_t count, void (*body)(void *arg, int64_t i), void *arg);

/* On three POSIX threads, each taking every third item; *user, an int64_t, counts the calls. */
void gmm_loop_three_threads(void *user, int64_t count, void (*body)(void *arg, int64_t i), void *arg);

#endif
