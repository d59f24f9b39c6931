/* parallel.c - see parallel.h. */
/* SPDX-License-Identifier: MIT */
#include "threads/parallel.h"

#include <stdatomic.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/context.h"
#include "cpu/fp_env.h"

#ifdef _OPENMP
#include <omp.h>
#endif

typedef struct {
    void (*body)(void *arg, int64_t task);
    void *arg;
    int64_t tasks;
    _Atomic int64_t next;
} loop;

/* One worker: takes the next task until there is none. */
static void work(void *arg, int64_t worker)
{
    loop *shared = arg;
    gmm_fp_env saved = gmm_fp_enter();
    int64_t task;

    (void)worker;
    while ((task = atomic_fetch_add_explicit(&shared->next, 1, memory_order_relaxed)) < shared->tasks)
        shared->body(shared->arg, task);
    gmm_fp_leave(saved);
}

int32_t gmm_context_threads(const gmm_context *context)
{
    if (context && context->threads > 0)
        return context->threads;
#ifdef _OPENMP
    if (!context || !context->parallel_for)
        return omp_get_max_threads();
#endif
    return 1;
}

#ifdef _OPENMP
/* A forked process has one thread; GNU's OpenMP would wait there for those of its parent, without end. Any number of
 * threads gives the same results, so such a process works with one. */
static bool threads_are_elsewhere(void)
{
    static _Atomic pid_t owner; /* the first process that had threads; its children inherit the number */
    pid_t none = 0, self = getpid();

    return !atomic_compare_exchange_strong(&owner, &none, self) && none != self;
}
#endif

void gmm_parallel(const gmm_context *context, int64_t tasks, void (*body)(void *arg, int64_t task), void *arg)
{
    loop shared = {.body = body, .arg = arg, .tasks = tasks};
    int32_t threads = gmm_context_threads(context);
    int32_t workers = tasks < threads ? (int32_t)tasks : threads;

    if (workers <= 1) {
        work(&shared, 0);
        return;
    }
    if (context && context->parallel_for) {
        context->parallel_for(context->parallel_for_user, workers, work, &shared);
        return;
    }
#ifdef _OPENMP
    if (!threads_are_elsewhere()) {
#pragma omp parallel num_threads(workers)
        work(&shared, 0);
        return;
    }
#endif
    work(&shared, 0);
}
