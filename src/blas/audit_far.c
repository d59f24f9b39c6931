/* audit_far.c - see audit_far.h: sparse private mappings, of which only the pages with elements take memory. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */

#include "blas/audit_far.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

#define TWO_31 (INT64_C(1) << 31)
#define BEYOND 64 /* elements by which a boundary is passed */

/* Pages that elements lie on, in the most spread of cases, and page tables for them: far less than this. */
#define MEMORY_NEEDED (INT64_C(64) << 20)

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

static int64_t magnitude(int64_t x)
{
    return x < 0 ? -x : x;
}

bool gmm_audit_far_steps(gmm_blas_call *call, uint8_t how, int32_t integer_bits)
{
    int64_t steps[GMM_BLAS_OPERANDS];
    int stretched = 0;

    for (int i = 0; i < gmm_blas_operand_count(call); i++) {
        const gmm_blas_operand_spec *spec = &call->routine->operands[i];
        int64_t step = call->operands[i].step, lines = 1;
        int64_t span = (how == GMM_FAR_32 ? 2 * TWO_31 : TWO_31) + BEYOND;
        steps[i] = step;
        if (spec->storage != GMM_STORED_PACKED && step)
            lines = (gmm_blas_extent(call, i) - 1) / magnitude(step) + 1;
        if (lines < 2)
            continue;
        if (spec->form == GMM_FORM_VECTOR && integer_bits == 32)
            span = TWO_31 / 4 + BEYOND;
        int64_t far = span / (lines - 1) + 1;
        if (integer_bits == 32 && (far > INT32_MAX || (span < TWO_31 && lines < 3)))
            return false;
        steps[i] = step < 0 ? -far : far;
        stretched++;
    }
    for (int i = 0; i < gmm_blas_operand_count(call) && stretched; i++)
        call->operands[i].step = steps[i];
    return stretched > 0;
}

int64_t gmm_audit_far_place(int64_t near_step, int64_t far_step, int64_t near)
{
    int64_t step = magnitude(near_step);

    return step ? near / step * magnitude(far_step) + near % step : near;
}

/* What cannot be touched lies before the array: where an index of 32 bits that wraps would reach. But for some bytes
 * next to it on either side: small over-reads are the business of guard_pages. */
enum {
    MARGIN_BYTES = 65536
};

static size_t guard_bytes(size_t element_bytes)
{
    return (size_t)TWO_31 * element_bytes;
}

static void *reserve(size_t bytes)
{
    void *map = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return map == MAP_FAILED ? NULL : map;
}

bool gmm_audit_far_open(gmm_audit_far *far, gmm_audit_memory *memory, gmm_blas_call *call, uint8_t how,
                        int32_t integer_bits)
{
    gmm_blas_call near = *call;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    memset(far, 0, sizeof *far);
    if (!gmm_audit_far_steps(call, how, integer_bits))
        return false;
    for (int i = 0; i < memory->count; i++) {
        gmm_audit_operand *o = &memory->operands[i];
        size_t guard = guard_bytes(memory->element_bytes);
        size_t bytes = (size_t)gmm_blas_extent(call, i) * memory->element_bytes;
        size_t mapped = (bytes + MARGIN_BYTES + page) / page * page;
        far->operands[i].near_step = near.operands[i].step;
        far->operands[i].far_step = call->operands[i].step;
        far->operands[i].map = reserve(guard + mapped + page);
        far->operands[i].bytes = guard + mapped + page;
        char *base = far->operands[i].map ? far->operands[i].map + guard : NULL;
        if (!base || mprotect(base - MARGIN_BYTES, mapped + MARGIN_BYTES, PROT_READ | PROT_WRITE)) {
            gmm_audit_far_put_back(far, memory);
            gmm_audit_far_close(far);
            return false;
        }
        for (int64_t e = 0; e < o->extent; e++)
            if (o->parts[e] != GMM_PART_NONE)
                memcpy(base + (size_t)gmm_audit_far_place(near.operands[i].step, call->operands[i].step, e) *
                                  memory->element_bytes,
                       o->base + (size_t)e * memory->element_bytes, memory->element_bytes);
        /* Faults are told of as bytes of this array. */
        far->operands[i].near = *o;
        o->region = far->operands[i].map + page;
        o->region_bytes = guard + mapped - page;
        o->base = base;
        call->operands[i].data = base;
    }
    return true;
}

void gmm_audit_far_put_back(gmm_audit_far *far, gmm_audit_memory *memory)
{
    for (int i = 0; i < GMM_BLAS_OPERANDS; i++)
        if (far->operands[i].near.region)
            memory->operands[i] = far->operands[i].near;
}

const char *gmm_audit_far_element(const gmm_audit_far *far, const gmm_audit_memory *memory, int operand, int64_t near)
{
    int64_t at = gmm_audit_far_place(far->operands[operand].near_step, far->operands[operand].far_step, near);

    return far->operands[operand].map + guard_bytes(memory->element_bytes) + (size_t)at * memory->element_bytes;
}

void gmm_audit_far_close(gmm_audit_far *far)
{
    for (int i = 0; i < GMM_BLAS_OPERANDS; i++)
        if (far->operands[i].map)
            munmap(far->operands[i].map, far->operands[i].bytes);
    memset(far, 0, sizeof *far);
}

gmm_status gmm_audit_far_available(void)
{
    /* Three arrays of complex doubles past 2^32 elements, and before each what a wrapped index reaches. */
    size_t bytes = 3 * (size_t)(3 * TWO_31 + (1 << 20)) * 16;
    void *map = reserve(bytes);

    if (!map)
        return gmm_fail(GMM_ERR_MEMORY,
                        "large_indices needs %zu GiB of address space, of which a few MiB are used: %s (see ulimit -v, "
                        "vm.overcommit_memory)",
                        bytes >> 30, strerror(errno));
    munmap(map, bytes);
#if defined(_SC_AVPHYS_PAGES)
    int64_t free_bytes = (int64_t)sysconf(_SC_AVPHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE);
    if (free_bytes > 0 && free_bytes < MEMORY_NEEDED)
        return gmm_fail(GMM_ERR_MEMORY, "large_indices needs %d MiB of memory; %d are free", (int)(MEMORY_NEEDED >> 20),
                        (int)(free_bytes >> 20));
#endif
    return GMM_OK;
}
