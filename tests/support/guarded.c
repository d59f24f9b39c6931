/* guarded.c - see guarded.h. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "guarded.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmocka_test.h"

/* In the slack around the data; as f32, f16 or bf16 a number like any other, so that a read of it shows in a sum. */
#define PATTERN 0x5A

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void protect(const gmm_guarded *guarded, int protection)
{
    size_t page = page_bytes();

    if (mprotect(guarded->map + page, guarded->map_bytes - 2 * page, protection) != 0)
        fail_msg("mprotect of %zu bytes failed", guarded->map_bytes);
}

void gmm_guarded_make(gmm_guarded *guarded, size_t size_bytes, gmm_guard_side side, size_t shift_bytes)
{
    size_t page = page_bytes(), pages = (size_bytes + shift_bytes + page - 1) / page * page;
    char *map;

    if (pages == 0)
        pages = page;
    guarded->map_bytes = pages + 2 * page;
    map = mmap(NULL, guarded->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        fail_msg("mmap of %zu bytes failed", guarded->map_bytes);
    guarded->map = map;
    guarded->size_bytes = size_bytes;
    guarded->data = side == GMM_GUARD_BEFORE ? map + page + shift_bytes : map + page + pages - shift_bytes - size_bytes;
    protect(guarded, PROT_READ | PROT_WRITE);
    memset(map + page, PATTERN, (size_t)(guarded->data - (map + page)));
    memset(guarded->data + size_bytes, PATTERN, (size_t)(map + page + pages - (guarded->data + size_bytes)));
}

bool gmm_guarded_intact(const gmm_guarded *guarded)
{
    const char *begin = guarded->map + page_bytes(), *end = guarded->map + guarded->map_bytes - page_bytes();

    for (const char *at = begin; at < guarded->data; at++)
        if (*at != PATTERN)
            return false;
    for (const char *at = guarded->data + guarded->size_bytes; at < end; at++)
        if (*at != PATTERN)
            return false;
    return true;
}

void gmm_guarded_seal(const gmm_guarded *guarded)
{
    protect(guarded, PROT_READ);
}

void gmm_guarded_unseal(const gmm_guarded *guarded)
{
    protect(guarded, PROT_READ | PROT_WRITE);
}

void gmm_guarded_free(gmm_guarded *guarded)
{
    if (guarded->map)
        munmap(guarded->map, guarded->map_bytes);
    memset(guarded, 0, sizeof *guarded);
}
