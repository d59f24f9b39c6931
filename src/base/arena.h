/* arena.h - working memory of calls: taken piece by piece, given back all at once, kept for the next call. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_ARENA_H
#define GMM_ARENA_H

#include <stddef.h>
#include <stdint.h>

/* A call's working memory. Opaque. */
typedef struct gmm_arena gmm_arena;

enum {
    GMM_POOL_ARENAS = 16, /* more calls at a time than this allocate anew */
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

/* Give everything back. A call like this one will then find all its memory in one piece. NULL is allowed. */
void gmm_arena_end(gmm_pool *pool, gmm_arena *arena);

/* Free what a pool keeps; no call may be using it. */
void gmm_pool_clear(gmm_pool *pool);

#endif
