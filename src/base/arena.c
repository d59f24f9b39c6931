/* arena.c - see arena.h. */
/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    ALIGNMENT = 64
};

/* Memory that came when the arena's own was used up; in a list until the call ends. */
typedef struct extra {
    struct extra *next;
    size_t bytes;
} extra;

struct gmm_arena {
    char *memory;
    size_t bytes, used;
    extra *extras;
};

gmm_arena *gmm_arena_begin(gmm_pool *pool)
{
    for (int i = 0; i < GMM_POOL_ARENAS; i++) {
        gmm_arena *arena = atomic_exchange_explicit(&pool->arenas[i], NULL, memory_order_acquire);
        if (arena)
            return arena;
    }
    return calloc(1, sizeof(gmm_arena));
}

void *gmm_arena_take(gmm_arena *arena, int64_t count, size_t size)
{
    size_t bytes;

    if (count < 0 || __builtin_mul_overflow((uint64_t)count, size, &bytes) ||
        __builtin_add_overflow(bytes, (size_t)(2 * ALIGNMENT - 1), &bytes))
        return NULL;
    bytes = bytes / ALIGNMENT * ALIGNMENT; /* rounded up, and at least one */
    if (arena->bytes - arena->used >= bytes) {
        void *taken = arena->memory + arena->used;
        arena->used += bytes;
        return taken;
    }
    size_t whole;
    if (__builtin_add_overflow(bytes, (size_t)ALIGNMENT, &whole))
        return NULL;
    extra *more = aligned_alloc(ALIGNMENT, whole);
    if (!more)
        return NULL;
    *more = (extra){.next = arena->extras, .bytes = bytes};
    arena->extras = more;
    return (char *)more + ALIGNMENT;
}

static void destroy(gmm_arena *arena)
{
    free(arena->memory);
    free(arena);
}

/* Make the arena's memory, of which nothing is taken, of so many bytes: none if that is more than is kept. */
static void resize(gmm_arena *arena, size_t bytes)
{
    free(arena->memory);
    arena->bytes = bytes > GMM_ARENA_KEPT_BYTES ? 0 : bytes;
    arena->memory = arena->bytes > 0 ? aligned_alloc(ALIGNMENT, arena->bytes) : NULL;
    if (!arena->memory)
        arena->bytes = 0;
}

void gmm_arena_reset(gmm_arena *arena)
{
    size_t needed = arena->used;

    while (arena->extras) {
        extra *first = arena->extras;
        arena->extras = first->next;
        needed += first->bytes;
        free(first);
    }
    arena->used = 0;
    if (needed > arena->bytes || arena->bytes > GMM_ARENA_KEPT_BYTES)
        resize(arena, needed);
}

void gmm_arena_end(gmm_pool *pool, gmm_arena *arena)
{
    if (!arena)
        return;
    gmm_arena_reset(arena);
    for (int i = 0; i < GMM_POOL_ARENAS; i++) {
        gmm_arena *none = NULL;
        if (atomic_compare_exchange_strong_explicit(&pool->arenas[i], &none, arena, memory_order_release,
                                                    memory_order_relaxed))
            return;
    }
    destroy(arena);
}

bool gmm_arenas_begin(gmm_pool *pool, gmm_arena **arenas, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!(arenas[i] = gmm_arena_begin(pool))) {
            gmm_arenas_end(pool, arenas, i);
            return false;
        }
    return true;
}

void gmm_arenas_end(gmm_pool *pool, gmm_arena **arenas, int64_t count)
{
    size_t most = 0;

    for (int64_t i = 0; i < count; i++) {
        gmm_arena_reset(arenas[i]);
        most = arenas[i]->bytes > most ? arenas[i]->bytes : most;
    }
    for (int64_t i = 0; i < count; i++) {
        if (arenas[i]->bytes < most)
            resize(arenas[i], most);
        gmm_arena_end(pool, arenas[i]);
    }
}

void gmm_pool_clear(gmm_pool *pool)
{
    for (int i = 0; i < GMM_POOL_ARENAS; i++) {
        gmm_arena *arena = atomic_exchange_explicit(&pool->arenas[i], NULL, memory_order_acquire);
        if (arena)
            destroy(arena);
    }
}
