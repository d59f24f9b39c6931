/* guarded.h - memory between two pages that may not be touched. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_GUARDED_H
#define GMM_GUARDED_H

#include <stdbool.h>
#include <stddef.h>

/* The side on which the data touches its guard page; the other side is at most a page away from the other guard page.
 */
typedef enum gmm_guard_side {
    GMM_GUARD_BEFORE,
    GMM_GUARD_AFTER
} gmm_guard_side;

typedef struct gmm_guarded {
    char *data;
    size_t size_bytes;
    char *map; /* guard page, pages with the data, guard page */
    size_t map_bytes;
} gmm_guarded;

/* Zeroed memory at `shift_bytes` from the guard page of that side. BEFORE: the data's address is shift_bytes beyond a
 * page, so mod 64 too. What the pages hold besides the data is filled with a pattern. Fails the test if there is no
 * memory. */
void gmm_guarded_make(gmm_guarded *guarded, size_t size_bytes, gmm_guard_side side, size_t shift_bytes);

/* Does the rest of the pages still hold the pattern? */
bool gmm_guarded_intact(const gmm_guarded *guarded);

/* Make the data read-only: a write to it ends the test. */
void gmm_guarded_seal(const gmm_guarded *guarded);

/* Make the data writable again. */
void gmm_guarded_unseal(const gmm_guarded *guarded);

void gmm_guarded_free(gmm_guarded *guarded);

#endif
