/* arena.h - working memory of calls: taken piece by piece, given back all at once, kept for the next call. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_ARENA_H
#define GMM_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A call's working memory. Opaque. */
typedef struct gmm_arena gmm_arena;

enum {
    GMM_POOL_ARENAS = 256, /* more at a time than this are allocated anew */
};

/* The most bytes that a pool keeps for one arena; a call that needs more gives it all back to the system when it ends.
 * Under the address sanitizer every piece is an allocation of its own, which is what it can watch. */
#if defined(__has_feature) /* clang */
#if __has_feature(address_sanitizer)
#define GMM_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__) /* gcc */
#define GMM_ADDRESS_SANITIZER
#endif
#if defined(GMM_ADDRESS_SANITIZER)
#define GMM_ARENA_KEPT_BYTES ((size_t)0)
#else
#define GMM_ARENA_KEPT_BYTES ((size_t)256 << 20)
#endif

/* Arenas that no call is using. All zero is an empty pool. */
typedef struct gmm_pool {
    _Atomic(gmm_arena *) arenas[GMM_POOL_ARENAS];
} gmm_pool;

/* An arena for one call, with what an earlier call allocated; NULL when there is no memory. Any threads, no locks. */
gmm_arena *gmm_arena_begin(gmm_pool *pool);

/* Memory for count things of `size` bytes, aligned to 64 bytes, not initialised; NULL when there is none, or when the
 * product overflows or count is negative. count 0 is good for an address. Valid until gmm_arena_end. One thread at a
 * time. */
void *gmm_arena_take(gmm_arena *arena, int64_t count, size_t size);

/* Give everything back, for the same call's next step: one like the last will find all its memory in one piece. */
void gmm_arena_reset(gmm_arena *arena);

/* Give everything back, and the arena itself. A call like this one will then find all its memory in one piece. NULL is
 * allowed. */
void gmm_arena_end(gmm_pool *pool, gmm_arena *arena);

/* The same for `count` arenas, one for each worker of a call; false when there is no memory, and then none is begun. */
bool gmm_arenas_begin(gmm_pool *pool, gmm_arena **arenas, int64_t count);

/* Each gets as much memory as the one that has most: the next time the work may be shared otherwise. */
void gmm_arenas_end(gmm_pool *pool, gmm_arena **arenas, int64_t count);

/* Free what a pool keeps; no call may be using it. */
void gmm_pool_clear(gmm_pool *pool);

#endif
