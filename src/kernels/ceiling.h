/* ceiling.h - a loop that measures what the machine can do: one const descriptor a file, listed in ceiling_list.h. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CEILING_H
#define GMM_CEILING_H

#include <stdint.h>

typedef struct gmm_ceiling {
    const char *name;  /* ceiling_<what>_<isa>: also the file's name and, after gmm_, the symbol's */
    const char *what;  /* the public name, in the table of core/ceilings.c */
    uint32_t needs;    /* gmm_cpu bits */
    int64_t step_work; /* bytes that one step reads, a power of two up to 1 MiB; or operations that it does */
    /* Do `steps` steps; `bytes` is 64-byte aligned, and NULL where nothing is read. The result hangs on all the work,
     * so that no compiler leaves any out. */
    float (*run)(const char *bytes, int64_t steps);
} gmm_ceiling;

/* Every loop, the best for its ceiling first, NULL at the end; built from ceiling_list.h. */
extern const gmm_ceiling *const gmm_ceilings[];

#endif
