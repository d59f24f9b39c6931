/* context.h - what a gmm_context holds; made by core/context.c, read by cpu and threads. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CONTEXT_H
#define GMM_CONTEXT_H

#include "base/arena.h"
#include "gathermm/gathermm.h"

struct gmm_context {
    int32_t threads;   /* 0: OpenMP's default */
    uint32_t cpu_mask; /* gmm_cpu bits to leave unused, beyond GMM_CPU_MASK */
    gmm_parallel_for *parallel_for;
    void *parallel_for_user;
    gmm_pool *pool;                /* of calls */
    gmm_pool *worker_pool;         /* of workers that call products themselves: arenas of another size */
    gmm_arithmetic arithmetic;     /* never DEFAULT */
    struct gmm_provider *provider; /* a BLAS, or NULL; not the context's to free */
};

/* Working memory for calls with this context (NULL: the default one). */
gmm_pool *gmm_context_pool(const gmm_context *context);

/* The same for threads that work on parts of such a call. */
gmm_pool *gmm_context_worker_pool(const gmm_context *context);

/* The context for one of them: a copy (NULL: of the default one) with one thread. */
gmm_context gmm_context_of_worker(const gmm_context *context);

/* The arithmetic of products with this context: never GMM_ARITHMETIC_DEFAULT. */
static inline gmm_arithmetic gmm_context_arithmetic(const gmm_context *context)
{
    return context ? context->arithmetic : GMM_ARITHMETIC_F32;
}

#endif
