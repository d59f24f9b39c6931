/* dead_stack.c - see dead_stack.h. */
/* SPDX-License-Identifier: MIT */
#include "cpu/dead_stack.h"

enum {
    FRAME_WORDS = GMM_DEAD_STACK_FRAME_BYTES / 8
};

static void fill_frame(uint64_t pattern, int frames);

/* Through a pointer that the compiler must not see through: each frame is to be a frame of its own, below the caller's,
 * also where the whole program is compiled as one. */
static void (*volatile filler)(uint64_t, int) = fill_frame;

static void fill_frame(uint64_t pattern, int frames)
{
    volatile uint64_t frame[FRAME_WORDS];

    for (int i = 0; i < FRAME_WORDS; i++)
        frame[i] = pattern;
    if (frames > 1)
        filler(pattern, frames - 1);
    (void)frame[FRAME_WORDS - 1]; /* after the call, which therefore cannot take this frame's place */
}

void gmm_dead_stack_fill(uint64_t pattern, int frames)
{
    filler(pattern, frames);
}
