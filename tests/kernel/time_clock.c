/* time_clock.c - seconds, and the cycles of this core in them. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <time.h>

#include "kernel_time.h"

double time_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* A chain of additions, each of which waits for the one before: one cycle each on every core of today. The time stamp
 * counter would not do: it ticks at one rate whatever the core's clock is. Both operands are registers, since newer
 * Intel cores (from Golden Cove on) add small constants without taking a cycle. */
static double chain(int64_t links)
{
    uint64_t sum = 0, step = 1;
    double begin = time_now();

    for (int64_t i = 0; i < links; i += 16)
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++) {
            sum += step;
            __asm__ volatile("" : "+r"(sum), "+r"(step)); /* nobody knows what they are now */
        }
    return time_now() - begin;
}

double time_clock_hz(void)
{
    enum {
        LINKS = 1 << 18,
        TRIES = 5
    };
    double best = chain(LINKS);

    for (int i = 1; i < TRIES; i++) {
        double seconds = chain(LINKS);
        best = seconds < best ? seconds : best;
    }
    return LINKS / best;
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

time_summary time_summarize(const double values[TIME_REPETITIONS])
{
    double sorted[TIME_REPETITIONS];

    for (int i = 0; i < TIME_REPETITIONS; i++)
        sorted[i] = values[i];
    qsort(sorted, TIME_REPETITIONS, sizeof *sorted, rising);
    double median = sorted[TIME_REPETITIONS / 2];
    return (time_summary){median, (sorted[TIME_REPETITIONS * 3 / 4] - sorted[TIME_REPETITIONS / 4]) / median};
}
