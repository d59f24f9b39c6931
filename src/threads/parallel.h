/* parallel.h - the one parallel loop: OpenMP inside, or the host program's own. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_PARALLEL_H
#define GMM_PARALLEL_H

#include <stdint.h>

#include "gathermm/gathermm.h"

/* Call body(arg, task) once for every task in [0, tasks), in any order, on up to gmm_context_threads(context) threads,
 * under the default floating-point environment; return when all are done. Tasks are handed out one by one as threads
 * become free. */
void gmm_parallel(const gmm_context *context, int64_t tasks, void (*body)(void *arg, int64_t task), void *arg);

#endif
