/* float_control.h - how this thread's floating-point unit rounds, flushes and traps; a called function must leave it.
 */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_FLOAT_CONTROL_H
#define GMM_FLOAT_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* On x86-64 the control bits of MXCSR, the control word and the tag word of the x87; on AArch64 FPCR. */
typedef struct gmm_float_control {
    uint32_t vector, x87, tags;
} gmm_float_control;

/* Ways to set it, other than what it is. */
typedef enum gmm_float_mode {
    GMM_FLOAT_AS_IT_IS,
    GMM_FLOAT_FLUSHING,  /* subnormals are flushed to zero and taken as zero */
    GMM_FLOAT_TRUNCATING /* rounds toward zero */
} gmm_float_mode;

/* All zero on CPUs that are not known here, for which nothing is ever different. */
gmm_float_control gmm_float_control_read(void);
void gmm_float_control_write(const gmm_float_control *control);
gmm_float_control gmm_float_control_of(const gmm_float_control *control, gmm_float_mode mode);

/* Whether both are the same; if not, `text` says how `after` differs: "MXCSR 0x1f80, now 0x9f80: flush to zero". */
bool gmm_float_control_same(const gmm_float_control *before, const gmm_float_control *after, char *text, size_t size);

#endif
