/* dead_stack.h - dirty the stack below a caller, as calls that have returned leave it. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_DEAD_STACK_H
#define GMM_DEAD_STACK_H

#include <stdint.h>

enum {
    GMM_DEAD_STACK_FRAME_BYTES = 16384
};

/* Fill `frames` frames below the caller's with copies of `pattern`, then leave them. What is called next finds them
 * where its own locals are to lie: call it right after. */
void gmm_dead_stack_fill(uint64_t pattern, int frames);

#endif
