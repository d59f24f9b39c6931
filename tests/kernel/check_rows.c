/* check_rows.c - rows of which each touches a page that may not be touched. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmocka_test.h"
#include "kernel_check.h"

void check_rows_make(check_rows *rows, gmm_random *random, int64_t count, int64_t bytes, gmm_guard_side side,
                     size_t shift)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (size_t)bytes, used = (size + shift + page - 1) / page * page;
    size_t step = (used ? used : page) + page;
    int64_t begin = (int64_t)(side == GMM_GUARD_BEFORE ? shift : step - page - size - shift);

    rows->map_bytes = page + (size_t)count * step;
    rows->map = mmap(NULL, rows->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (rows->map == MAP_FAILED)
        fail_msg("mmap of %zu bytes failed", rows->map_bytes);
    for (int64_t i = 0; i <= count; i++)
        if (mprotect(rows->map + (size_t)i * step, page, PROT_NONE) != 0)
            fail_msg("mprotect failed");
    bool down = gmm_random_chance(random, 30);
    rows->step = down ? -(int64_t)step : (int64_t)step;
    rows->first = rows->map + page + begin + (down ? (count - 1) * (int64_t)step : 0);
}

void check_rows_free(check_rows *rows)
{
    munmap(rows->map, rows->map_bytes);
}

float *check_floats(gmm_guarded *memory, int64_t count)
{
    gmm_guarded_make(memory, (size_t)count * sizeof(float), GMM_GUARD_AFTER, 0);
    memset(memory->data, 0xff, memory->size_bytes);
    return (float *)(void *)memory->data;
}
