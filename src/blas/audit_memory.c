/* audit_memory.c - see audit_memory.h. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */

#include "blas/audit_memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    REGION_BYTES = 64 << 20,
    MARGIN_BYTES = 256,
    CACHE_LINE = 64
};

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

bool gmm_audit_memory_open(gmm_audit_memory *memory)
{
    size_t page = page_bytes();

    memset(memory, 0, sizeof *memory);
    for (int i = 0; i < GMM_BLAS_OPERANDS; i++) {
        gmm_audit_operand *o = &memory->operands[i];
        void *map = mmap(NULL, REGION_BYTES + 2 * page, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (map == MAP_FAILED)
            return false;
        o->region = (char *)map + page;
        o->region_bytes = REGION_BYTES;
        if (mprotect(map, page, PROT_NONE) || mprotect(o->region + REGION_BYTES, page, PROT_NONE))
            return false;
    }
    return true;
}

void gmm_audit_memory_close(gmm_audit_memory *memory)
{
    size_t page = page_bytes();

    for (int i = 0; i < GMM_BLAS_OPERANDS; i++) {
        gmm_audit_operand *o = &memory->operands[i];
        if (o->region)
            munmap(o->region - page, o->region_bytes + 2 * page);
        free(o->parts);
        free(o->saved);
        free(o->first);
    }
    memset(memory, 0, sizeof *memory);
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

void gmm_audit_load(char type, const char *base, int64_t element, double value[2])
{
    int parts = gmm_blas_is_complex(type) ? 2 : 1;

    value[1] = 0;
    for (int i = 0; i < parts; i++) {
        float single;
        if (gmm_blas_real_bytes(type) == sizeof single) {
            memcpy(&single, base + (element * parts + i) * (int64_t)sizeof single, sizeof single);
            value[i] = (double)single;
        } else {
            memcpy(&value[i], base + (element * parts + i) * (int64_t)sizeof(double), sizeof(double));
        }
    }
}

void gmm_audit_store(char type, char *base, int64_t element, const double value[2])
{
    int parts = gmm_blas_is_complex(type) ? 2 : 1;

    for (int i = 0; i < parts; i++) {
        float single = (float)value[i];
        if (gmm_blas_real_bytes(type) == sizeof single)
            memcpy(base + (element * parts + i) * (int64_t)sizeof single, &single, sizeof single);
        else
            memcpy(base + (element * parts + i) * (int64_t)sizeof(double), &value[i], sizeof(double));
    }
}

/* As bits: a signaling NaN does not survive being passed as a number. */
static uint64_t fill_bits(gmm_audit_fill fill, bool single)
{
    static const uint32_t singles[] = {0x5A5A5A5A, 0, 0x7FC00000, 0x7FA00000, 0x7F800000, 0x7149F2CA};
    static const uint64_t doubles[] = {
        0x5A5A5A5A5A5A5A5A, 0, 0x7FF8000000000000, 0x7FF4000000000000, 0x7FF0000000000000, 0x46293E5939A08CEA};

    return single ? singles[fill] : doubles[fill];
}

void gmm_audit_fill_element(char type, char *base, int64_t element, gmm_audit_fill fill, int which)
{
    size_t bytes = gmm_blas_real_bytes(type);
    int parts = gmm_blas_is_complex(type) ? 2 : 1;
    uint64_t bits = fill_bits(fill, bytes == sizeof(float));
    uint32_t narrow = (uint32_t)bits;

    for (int i = which == GMM_PART_REAL ? 1 : 0; i < parts; i++)
        memcpy(base + (size_t)(element * parts + i) * bytes,
               bytes == sizeof narrow ? (const void *)&narrow : (const void *)&bits, bytes);
}

/* Number `part` of an element, from its place alone. */
static double one_value(const gmm_audit_case *c, int operand, int64_t element, int part)
{
    uint64_t h = gmm_audit_mix(c->seed ^ gmm_audit_mix((uint64_t)element * 8 + (uint64_t)operand * 2 + (uint64_t)part));
    double value;

    if (c->values == GMM_VALUES_ONES)
        return part ? 0 : 1;
    value = c->values == GMM_VALUES_INTEGERS ? (double)(int64_t)(h % 17) - 8 : (double)(int64_t)(h >> 40) * 0x1p-23 - 1;
    /* A zero may hide what it is multiplied with. */
    return value == 0 && c->judge == GMM_JUDGE_SPECIAL ? 1 : value;
}

/* Triangles to be solved with are given a strong diagonal: solutions stay of the size of the right-hand side. */
static void tame(const gmm_audit_case *c, int operand, int64_t element, bool diagonal, double value[2])
{
    const gmm_blas_routine *r = c->call.routine;
    double n;

    (void)element;
    if (r->sum != GMM_SUM_SOLVE || r->operands[operand].form != GMM_FORM_TRIANGULAR)
        return;
    n = (double)gmm_blas_size(&c->call, r->operands[operand].rows);
    if (c->values == GMM_VALUES_ONES)
        return;
    if (diagonal) {
        value[0] = 1 + (value[0] < 0 ? -value[0] : value[0]);
        value[1] /= n;
    } else {
        value[0] /= n;
        value[1] /= n;
    }
}

/* ---- placing ----------------------------------------------------------------------------------------------------- */

static bool grow(char **memory, size_t *room, size_t bytes)
{
    if (*room >= bytes)
        return true;
    void *grown = realloc(*memory, bytes + bytes / 2);
    if (!grown)
        return false;
    *memory = grown;
    *room = bytes + bytes / 2;
    return true;
}

static bool locate_base(gmm_audit_operand *o, const gmm_blas_call *call, int operand, const gmm_audit_setting *setting)
{
    size_t offset = setting->aligned ? 0 : (size_t)call->operands[operand].offset;

    if (o->bytes + 4 * MARGIN_BYTES + 2 * CACHE_LINE > o->region_bytes)
        return false;
    o->before = o->after = MARGIN_BYTES;
    if (setting->placement == GMM_PLACED_END) {
        o->base = o->region + o->region_bytes - o->bytes;
        o->after = 0;
    } else if (setting->placement == GMM_PLACED_START) {
        o->base = o->region;
        o->before = 0;
    } else {
        o->base = o->region + 2 * MARGIN_BYTES + offset;
    }
    return true;
}

/* Operands that have no influence on the result: all but the outputs if alpha is 0; the factors if K is. */
bool gmm_audit_is_dead(const gmm_blas_call *call, int operand)
{
    const gmm_blas_routine *r = call->routine;

    if (gmm_blas_is_output(call, operand) || r->sum == GMM_SUM_ROT)
        return false;
    return gmm_blas_has_argument(r, '*') && call->alpha[0] == 0 && call->alpha[1] == 0;
}

/* Outputs that are not to be read. */
bool gmm_audit_is_unread(const gmm_blas_call *call, int operand)
{
    bool alpha = call->alpha[0] != 0 || call->alpha[1] != 0, beta = call->beta[0] != 0 || call->beta[1] != 0;

    switch (call->routine->operands[operand].access) {
    case GMM_WRITE:
        return true;
    case GMM_UPDATE_BETA:
        return !beta;
    case GMM_UPDATE_ALPHA:
        return !alpha;
    default:
        return false;
    }
}

/* rotm's first parameter is a flag, -2 to 1; rotmg's d1 and d2 are squares. */
static void make_legal(const gmm_audit_case *c, int operand, int64_t element, double value[2])
{
    gmm_blas_sum sum = c->call.routine->sum;

    if (sum == GMM_SUM_ROTM && operand == 2 && element == 0 && c->values != GMM_VALUES_ONES)
        value[0] = (double)(gmm_audit_mix(c->seed) % 4) - 2;
    if (sum == GMM_SUM_ROTMG && operand < 2 && value[0] < 0)
        value[0] = -value[0];
}

static void fill_elements(gmm_audit_operand *o, const gmm_audit_case *c, const gmm_audit_setting *setting, int operand)
{
    const gmm_blas_call *call = &c->call;
    gmm_audit_fill instead = gmm_audit_is_dead(call, operand)     ? setting->inputs
                             : gmm_audit_is_unread(call, operand) ? setting->output
                                                                  : GMM_FILL_USUAL;
    bool triangular = call->routine->operands[operand].form == GMM_FORM_TRIANGULAR;
    int64_t referenced = 0, special = -1;

    for (int64_t i = 0; i < o->extent; i++) {
        referenced += o->parts[i] == GMM_PART_ALL;
        if (o->parts[i] != GMM_PART_ALL)
            gmm_audit_fill_element(call->type, o->base, i, setting->gaps, GMM_PART_ALL);
        if (o->parts[i] == GMM_PART_NONE)
            continue;
        double value[2] = {one_value(c, operand, i, 0), one_value(c, operand, i, 1)};
        if (triangular && call->routine->sum == GMM_SUM_SOLVE)
            tame(c, operand, i, false, value);
        make_legal(c, operand, i, value);
        if (o->parts[i] == GMM_PART_ALL) {
            if (instead)
                gmm_audit_fill_element(call->type, o->base, i, instead, GMM_PART_ALL);
            else
                gmm_audit_store(call->type, o->base, i, value);
        } else {
            char kept[16];
            size_t real = gmm_blas_real_bytes(call->type);
            value[1] = 0;
            gmm_audit_store(call->type, kept, 0, value);
            if (instead)
                gmm_audit_fill_element(call->type, o->base, i, instead, GMM_PART_ALL);
            else
                memcpy(o->base + (size_t)i * 2 * real, kept, real);
        }
    }
    if (triangular && call->routine->sum == GMM_SUM_SOLVE && call->diag != 'U' && !instead) {
        int64_t n = gmm_blas_size(call, call->routine->operands[operand].rows);
        for (int64_t i = 0; i < n; i++) {
            int64_t at = gmm_blas_where(call, operand, i, i);
            double value[2] = {one_value(c, operand, at, 0), one_value(c, operand, at, 1)};
            tame(c, operand, at, true, value);
            gmm_audit_store(call->type, o->base, at, value);
        }
    }
    if (c->special_operand != operand || !referenced || instead)
        return;
    for (int64_t i = 0, left = c->special_element % referenced; i < o->extent && special < 0; i++)
        if (o->parts[i] == GMM_PART_ALL && left-- == 0)
            special = i;
    gmm_audit_fill_element(call->type, o->base, special, c->special, GMM_PART_ALL);
}

static void fill_margins(gmm_audit_operand *o, char type, gmm_audit_fill gaps)
{
    size_t real = gmm_blas_real_bytes(type);
    char letter = real == sizeof(float) ? 's' : 'd';

    for (size_t i = 0; i + real <= o->before; i += real)
        gmm_audit_fill_element(letter, o->base - o->before + i, 0, gaps, GMM_PART_ALL);
    for (size_t i = 0; i + real <= o->after; i += real)
        gmm_audit_fill_element(letter, o->base + o->bytes + i, 0, gaps, GMM_PART_ALL);
}

bool gmm_audit_place(gmm_audit_memory *memory, const gmm_audit_case *c, const gmm_audit_setting *setting,
                     gmm_blas_call *call)
{
    *call = c->call;
    memory->count = gmm_blas_operand_count(call);
    memory->element_bytes = gmm_blas_element_bytes(call->type);
    for (int i = 0; i < memory->count; i++) {
        gmm_audit_operand *o = &memory->operands[i];
        char *parts = (char *)o->parts;
        o->extent = gmm_blas_extent(call, i);
        o->bytes = (size_t)o->extent * memory->element_bytes;
        bool room = locate_base(o, call, i, setting) && grow(&parts, &o->parts_room, (size_t)o->extent + 1);
        o->parts = (unsigned char *)parts;
        if (!room || !grow(&o->saved, &o->saved_room, o->bytes + 2 * MARGIN_BYTES))
            return false;
        gmm_blas_parts(call, i, o->parts);
        fill_margins(o, call->type, setting->gaps);
        fill_elements(o, c, setting, i);
        memcpy(o->saved, o->base - o->before, o->before + o->bytes + o->after);
        call->operands[i].data = o->base;
    }
    return true;
}

bool gmm_audit_keep_first(gmm_audit_memory *memory)
{
    for (int i = 0; i < memory->count; i++) {
        gmm_audit_operand *o = &memory->operands[i];
        if (!grow(&o->first, &o->first_room, o->bytes + 1))
            return false;
        memcpy(o->first, o->base, o->bytes);
    }
    return true;
}

bool gmm_audit_locate(const gmm_audit_memory *memory, const void *address, int *operand, int64_t *offset)
{
    size_t page = page_bytes();

    for (int i = 0; i < memory->count; i++) {
        const gmm_audit_operand *o = &memory->operands[i];
        uintptr_t low = (uintptr_t)o->region - page, high = (uintptr_t)o->region + o->region_bytes + page;
        if ((uintptr_t)address >= low && (uintptr_t)address < high) {
            *operand = i;
            *offset = (int64_t)((uintptr_t)address - (uintptr_t)o->base);
            return true;
        }
    }
    return false;
}
