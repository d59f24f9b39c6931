/* checkpoint_memory.c - which parts of a checkpoint's files are in memory, and advice about them. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* madvise, mincore */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "checkpoint/checkpoint_open.h"

/* Pages asked about at a time. */
#define CHUNK_PAGES 4096

typedef struct advising {
    size_t page;
    int advice;
} advising;

/* Advice is for whole pages. Those at the ends may belong to a neighbour too: it is read again, or ahead, no more. */
static void advise(void *user, const void *data, size_t size_bytes)
{
    const advising *a = user;
    uintptr_t begin = (uintptr_t)data / a->page * a->page;

    if (size_bytes > 0)
        (void)madvise((void *)begin, (uintptr_t)data + size_bytes - begin, a->advice);
}

void gmm_memory_drop(const void *data, size_t size_bytes)
{
    advising a = {(size_t)sysconf(_SC_PAGESIZE), MADV_DONTNEED};

    advise(&a, data, size_bytes);
}

static void each_part(gmm_layer_record *record, int64_t expert, gmm_visit_bytes *visit, void *user)
{
    gmm_source *source;
    gmm_checkpoint_weights *weights;
    const gmm_expert_sources *experts = &record->experts;

    if (expert >= 0) {
        const gmm_source *sources[] = {&experts->gate, &experts->up, &experts->gate_up, &experts->down};
        for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++)
            gmm_source_each(sources[i], expert, visit, user);
        return;
    }
    for (size_t i = 0; gmm_record_source(record, i, &source, &weights); i++)
        gmm_source_each(source, -1, visit, user);
    if (record->correction)
        visit(user, record->correction->data, record->correction->size_bytes);
}

gmm_status gmm_checkpoint_advise(const gmm_checkpoint *checkpoint, size_t i, int64_t expert,
                                 gmm_checkpoint_advice advice)
{
    gmm_status status = gmm_checkpoint_check_layer(checkpoint, i);

    if (status != GMM_OK)
        return status;
    gmm_layer_record *record = &checkpoint->records[i];
    if (expert < -1 || expert >= record->layer.experts)
        return gmm_fail(GMM_ERR_ARGUMENT, "expert is %" PRId64 "; layer %" PRId64 " has %" PRId64, expert,
                        record->layer.number, record->layer.experts);
    if (advice != GMM_CHECKPOINT_WILL_NEED && advice != GMM_CHECKPOINT_DONT_NEED)
        return gmm_fail(GMM_ERR_ARGUMENT, "advice is %d", (int)advice);
    advising a = {(size_t)sysconf(_SC_PAGESIZE), advice == GMM_CHECKPOINT_WILL_NEED ? MADV_WILLNEED : MADV_DONTNEED};
    each_part(record, expert, advise, &a);
    return GMM_OK;
}

typedef struct counting {
    size_t page;
    int64_t resident;
    int error;
} counting;

static void count_resident(void *user, const void *data, size_t size_bytes)
{
    counting *c = user;
    unsigned char pages[CHUNK_PAGES];
    uintptr_t begin = (uintptr_t)data, end = begin + size_bytes;

    for (uintptr_t at = begin / c->page * c->page; at < end && c->error == 0; at += CHUNK_PAGES * c->page) {
        size_t count = (end - at + c->page - 1) / c->page;
        count = count < CHUNK_PAGES ? count : CHUNK_PAGES;
        if (mincore((void *)at, count * c->page, (void *)pages) != 0) {
            c->error = errno;
            return;
        }
        for (size_t p = 0; p < count; p++) {
            uintptr_t from = at + p * c->page, to = from + c->page;
            if (pages[p] & 1)
                c->resident += (int64_t)((to < end ? to : end) - (from > begin ? from : begin));
        }
    }
}

gmm_status gmm_checkpoint_resident(const gmm_checkpoint *checkpoint, size_t i, int64_t *resident_bytes)
{
    counting c = {(size_t)sysconf(_SC_PAGESIZE), 0, 0};
    gmm_status status = gmm_checkpoint_check_layer(checkpoint, i);

    if (status != GMM_OK)
        return status;
    if (!resident_bytes)
        return gmm_fail(GMM_ERR_NULL, "resident_bytes is NULL");
    each_part(&checkpoint->records[i], -1, count_resident, &c);
    if (c.error != 0) {
        char reason[128];
        if (strerror_r(c.error, reason, sizeof reason) != 0)
            snprintf(reason, sizeof reason, "error %d", c.error);
        return gmm_fail(GMM_ERR_FILE, "%s: cannot tell what is in memory: %s", checkpoint->set.path, reason);
    }
    *resident_bytes = c.resident;
    return GMM_OK;
}
