/* host_loops.c - see host_loops.h. */
/* SPDX-License-Identifier: MIT */
#include "host_loops.h"

#include <pthread.h>
#include <stdlib.h>

void gmm_loop_reversed(void *user, int64_t count, void (*body)(void *arg, int64_t i), void *arg)
{
    (void)user;
    for (int64_t i = count - 1; i >= 0; i--)
        body(arg, i);
}

typedef struct worker {
    int64_t first, count;
    void (*body)(void *arg, int64_t i);
    void *arg;
} worker;

static void *work(void *arg)
{
    const worker *w = arg;

    for (int64_t i = w->first; i < w->count; i += 3)
        w->body(w->arg, i);
    return NULL;
}

void gmm_loop_three_threads(void *user, int64_t count, void (*body)(void *arg, int64_t i), void *arg)
{
    pthread_t threads[3];
    worker workers[3];

    ++*(int64_t *)user;
    for (int i = 0; i < 3; i++) {
        workers[i] = (worker){i, count, body, arg};
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
            abort();
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
}
