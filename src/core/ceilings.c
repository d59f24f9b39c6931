/* ceilings.c - measure what the machine can do: threads that begin together, and their rates in windows of time. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* madvise, _SC_PHYS_PAGES */
#include "gathermm/ceilings.h"

#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/context.h"
#include "base/error.h"
#include "cpu/cpu.h"
#include "kernels/ceiling.h"
#include "threads/parallel.h"

static const struct {
    const char *name, *unit, *about;
} ceilings[] = {
    {"read", "GB/s", "streaming read from memory"},
    {"fma_f32", "GFLOP/s", "f32 multiply-adds"},
    {"dot_bf16", "GFLOP/s", "bf16 dot products into f32 (vdpbf16ps)"},
    {"dot_int8", "Gop/s", "u8 by i8 dot products into i32, in 16 bits with AVX2"},
};

#define CEILING_COUNT (sizeof ceilings / sizeof ceilings[0])

enum {
    MIN_WINDOWS = 3,
    MAX_SECONDS = 3600,
    BLOCK_BYTES = 1 << 20,      /* between two looks at the clock: tens of microseconds, */
    BLOCK_OPERATIONS = 1 << 24, /* in portable C about one millisecond */
    PAGE_BYTES = 4096,          /* the smallest there are */
    HUGE_PAGE_BYTES = 2 << 20,
    ARRIVAL_NS = 1000000000, /* for threads that OpenMP has yet to make */
};

static const int64_t window_ns = 10000000;

/* Whether the threads of a measurement are all there. */
enum {
    GATHERING,
    COMPLETE,
    INCOMPLETE
};

typedef struct {
    const gmm_ceiling *ceiling;
    int32_t threads;
    int32_t windows;
    int64_t duration_ns;
    int64_t block_steps;
    char *bytes;        /* NULL if nothing is read */
    int64_t part_bytes; /* each thread's share, whole blocks */
    double *rates;      /* [threads][windows], work a nanosecond */
    _Atomic int32_t arrived, touched;
    _Atomic int state;
    _Atomic int64_t begin_ns; /* 0: not yet */
} measurement;

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Wait for the other threads. A parallel loop that runs its tasks one after the other would wait for ever. */
static bool all_arrive(measurement *m)
{
    int64_t deadline = now_ns() + ARRIVAL_NS;
    int gathering = GATHERING;

    if (atomic_fetch_add(&m->arrived, 1) + 1 == m->threads)
        atomic_compare_exchange_strong(&m->state, &gathering, COMPLETE);
    while (atomic_load(&m->state) == GATHERING) {
        sched_yield();
        gathering = GATHERING;
        if (now_ns() > deadline)
            atomic_compare_exchange_strong(&m->state, &gathering, INCOMPLETE);
    }
    return atomic_load(&m->state) == COMPLETE;
}

/* Touch each page of this thread's part and wait until all have; returns when the measurement begins. */
static int64_t begin_together(measurement *m, char *part)
{
    for (int64_t at = 0; part && at < m->part_bytes; at += PAGE_BYTES)
        part[at] = 1;
    if (atomic_fetch_add(&m->touched, 1) + 1 == m->threads)
        atomic_store(&m->begin_ns, now_ns());
    while (!atomic_load(&m->begin_ns))
        sched_yield();
    return atomic_load(&m->begin_ns);
}

/* One thread's measurement. */
static void work(void *arg, int64_t thread)
{
    measurement *m = arg;
    char *part = m->bytes ? m->bytes + thread * m->part_bytes : NULL;
    double *rates = m->rates + thread * m->windows;
    int64_t at = 0;
    volatile float result;

    if (!all_arrive(m))
        return;
    int64_t begin = begin_together(m, part), before = now_ns(), now;
    for (int32_t window = 0; window < m->windows; window++) {
        int64_t end = begin + m->duration_ns * (window + 1) / m->windows, blocks = 0;
        do {
            result = m->ceiling->run(part ? part + at : NULL, m->block_steps);
            at = at + BLOCK_BYTES < m->part_bytes ? at + BLOCK_BYTES : 0;
            blocks++;
            now = now_ns();
        } while (now < end);
        rates[window] = (double)(blocks * m->block_steps * m->ceiling->step_work) / (double)(now - before);
        before = now;
    }
    (void)result;
}

/* ---- memory to read ---------------------------------------------------------------------------------------------- */

static gmm_status allocate_bytes(measurement *m)
{
    int64_t bytes = 3 * gmm_cache_bytes();

#ifdef _SC_PHYS_PAGES
    int64_t quarter = (int64_t)sysconf(_SC_PHYS_PAGES) / 4 * sysconf(_SC_PAGESIZE);
    bytes = quarter > 0 && quarter < bytes ? quarter : bytes;
#endif
    m->part_bytes = (bytes / m->threads / HUGE_PAGE_BYTES + 1) * HUGE_PAGE_BYTES;
    size_t size = (size_t)m->part_bytes * (size_t)m->threads;
    m->bytes = aligned_alloc(HUGE_PAGE_BYTES, size);
    if (!m->bytes)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for %zu bytes to read", size);
#ifdef MADV_HUGEPAGE
    madvise(m->bytes, size, MADV_HUGEPAGE); /* small pages do where it is refused */
#endif
    return GMM_OK;
}

/* ---- the public calls -------------------------------------------------------------------------------------------- */

static const gmm_ceiling *choose(const char *what, uint32_t features)
{
    for (size_t i = 0; gmm_ceilings[i]; i++)
        if (!strcmp(gmm_ceilings[i]->what, what) && !(gmm_ceilings[i]->needs & ~features))
            return gmm_ceilings[i];
    return NULL;
}

bool gmm_ceiling_at(const gmm_context *context, size_t i, gmm_ceiling_info *info)
{
    uint32_t usable;

    if (i >= CEILING_COUNT || gmm_cpu_usable(context, &usable))
        return false;
    const gmm_ceiling *chosen = choose(ceilings[i].name, usable);
    *info = (gmm_ceiling_info){
        .name = ceilings[i].name,
        .unit = ceilings[i].unit,
        .about = ceilings[i].about,
        .kernel = chosen ? chosen->name : NULL,
        .usable = chosen != NULL,
    };
    return true;
}

/* The loop to measure with, after a check of all arguments. */
static gmm_status check_arguments(const gmm_context *context, const char *name, int32_t threads, double seconds,
                                  const gmm_ceiling_result *result, const gmm_ceiling **ceiling)
{
    uint32_t usable;
    gmm_status status;
    size_t i = 0;

    if (!name || !result)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", name ? "result" : "name");
    if (threads < 0)
        return gmm_fail(GMM_ERR_ARGUMENT, "threads is %" PRId32 "; it may be 0 (the context's) or more", threads);
    if (!(seconds > 0 && seconds <= MAX_SECONDS))
        return gmm_fail(GMM_ERR_ARGUMENT, "seconds is %g; it may be more than 0, up to %d", seconds, MAX_SECONDS);
    if ((status = gmm_cpu_usable(context, &usable)))
        return status;
    while (i < CEILING_COUNT && strcmp(ceilings[i].name, name))
        i++;
    if (i == CEILING_COUNT)
        return gmm_fail(GMM_ERR_ARGUMENT, "\"%.64s\" is no ceiling; there are read, fma_f32, dot_bf16, dot_int8", name);
    *ceiling = choose(name, usable);
    if (!*ceiling)
        return gmm_fail(GMM_ERR_ARGUMENT, "%s needs instructions that this CPU lacks or a mask forbids", name);
    return GMM_OK;
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Adds up the threads of each window, in place. */
static gmm_ceiling_result summarize(const measurement *m)
{
    double *sums = m->rates;

    for (int32_t thread = 1; thread < m->threads; thread++)
        for (int32_t window = 0; window < m->windows; window++)
            sums[window] += m->rates[(int64_t)thread * m->windows + window];
    qsort(sums, (size_t)m->windows, sizeof *sums, rising);
    return (gmm_ceiling_result){
        .best = sums[m->windows - 1],
        .median = (sums[(m->windows - 1) / 2] + sums[m->windows / 2]) / 2,
        .windows = m->windows,
    };
}

gmm_status gmm_ceiling_measure(const gmm_context *context, const char *name, int32_t threads, double seconds,
                               gmm_ceiling_result *result)
{
    gmm_context with = context ? *context : (gmm_context){0};
    measurement m = {.threads = threads ? threads : gmm_context_threads(context)};
    gmm_status status = check_arguments(context, name, threads, seconds, result, &m.ceiling);

    if (status)
        return status;
    m.duration_ns = (int64_t)(seconds * 1e9) + 1;
    m.windows = (int32_t)(m.duration_ns / window_ns > MIN_WINDOWS ? m.duration_ns / window_ns : MIN_WINDOWS);
    bool reads = !strcmp(name, "read");
    m.block_steps = (reads ? BLOCK_BYTES : BLOCK_OPERATIONS) / m.ceiling->step_work;
    m.rates = calloc((size_t)m.threads * (size_t)m.windows, sizeof *m.rates);
    if (!m.rates)
        status = gmm_fail(GMM_ERR_MEMORY, "no memory for %" PRId32 " threads", m.threads);
    if (!status && reads)
        status = allocate_bytes(&m);
    if (!status) {
        with.threads = m.threads;
        gmm_parallel(&with, m.threads, work, &m);
        if (atomic_load(&m.state) != COMPLETE)
            status = gmm_fail(GMM_ERR_ARGUMENT,
                              "threads is %" PRId32 "; the parallel loop does not run so many at once", m.threads);
    }
    if (!status)
        *result = summarize(&m);
    free(m.bytes);
    free(m.rates);
    return status;
}
