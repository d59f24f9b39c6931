/* shrink.h - the smallest number with which something still fails. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_SHRINK_H
#define GMM_SHRINK_H

#include <stdbool.h>
#include <stdint.h>

/* Whether it fails with this value; one that does is taken over by whoever answers. */
typedef bool gmm_shrink_fails(void *context, int64_t value);

/* Try smaller values than `now`, 1 at least. Returns the smallest that failed, or `now`. */
int64_t gmm_shrink(int64_t now, gmm_shrink_fails *fails, void *context);

#endif
