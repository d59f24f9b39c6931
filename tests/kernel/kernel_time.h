/* kernel_time.h - the part of kernel_check that times: what is timed, the work, the clock, the report. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_KERNEL_TIME_H
#define GMM_KERNEL_TIME_H

#include <stdio.h>

#include "kernels/kernel.h"

enum {
    TIME_REPETITIONS = 11,
    TIME_COLUMNS = 32, /* of one call of a dot kernel, as the library has it */
    TIME_K = 2048,     /* and no item has more */
    TIME_ROWS = 128    /* nor more rows */
};

typedef enum time_what {
    TIME_DOT,    /* rows times weights in codes */
    TIME_OUTER,  /* packed rows times a packed panel */
    TIME_PANEL,  /* packed rows times weights in codes, class by class */
    TIME_PACK,   /* rows of f32 into a panel */
    TIME_DECODE, /* codes into rows of f32 */
    TIME_INT8,   /* rounded rows times weights in codes: one row by dot, more by fill and outer */
    TIME_TILE,   /* packed rows times weights as they lie */
    TIME_SILU,   /* the activation of most models */
} time_what;

/* A kernel at one shape. A unit of its work is a weight (dot, decode), a multiply-add (outer, panel, int8, tile) or an
 * element (pack, silu). */
typedef struct time_item {
    const gmm_kernel *kernel; /* NULL: portable C for the same work */
    time_what what;
    gmm_weights weights; /* NULL format: outer, pack, silu */
    int64_t rows, k;
    bool from_memory;                  /* weights stream from memory; else they stay in the second-level cache */
    int64_t portable;                  /* number of the item that does the same in portable C */
    int64_t calls;                     /* in a sample */
    double units, bytes, operations;   /* of one call */
    double seconds[TIME_REPETITIONS];  /* for one unit */
    double clock_hz[TIME_REPETITIONS]; /* of the core at that time */
} time_item;

/* The middle of several values, and how far apart the quarters beside it are, as a share of it. */
typedef struct time_summary {
    double median, spread;
} time_summary;

time_summary time_summarize(const double values[TIME_REPETITIONS]);

/* What the machine can do at most, on one thread; 0: not measured. */
typedef struct time_ceilings {
    double clock_hz, fma_flops, bf16_flops, int8_ops, read_bytes; /* a second */
    int64_t memory_bytes, cache_bytes;                            /* that the weights of items take */
} time_ceilings;

/* Time kernels, print a table, and write it to `json` unless that is NULL. Returns main's exit status. */
int time_kernels(const gmm_kernel *const *kernels, int64_t count, FILE *json);

/* ---- the work ---- */

typedef struct time_memory time_memory;

/* Memory for all items: `memory_bytes` to stream from (0: none), `cache_bytes` to stay in a cache. NULL: there is none.
 */
time_memory *time_memory_make(int64_t memory_bytes, int64_t cache_bytes);
void time_memory_free(time_memory *memory);

/* Find how many calls make a sample of about a millisecond; fills in `units` and the like. */
void time_prepare(time_item *item, time_memory *memory);

/* Seconds for one unit, from one sample. */
double time_sample(const time_item *item, time_memory *memory);

/* ---- the clock ---- */

/* Seconds that this thread has run: the turns of other programs do not count. */
double time_now(void);

/* Cycles of the core a second, now, on this core. */
double time_clock_hz(void);

/* ---- the report ---- */

void time_print(const time_item *items, int64_t count, const time_ceilings *ceilings);

/* False if it could not be written. */
bool time_write_json(const time_item *items, int64_t count, const time_ceilings *ceilings, FILE *file);

#endif
