/* audit_compare.c - the bits of two libraries' results, case by case, where both are right. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "blas/audit_state.h"

typedef struct tally {
    int64_t compared, differing;
    int64_t first; /* the number of the first case that differs */
} tally;

static bool same_plan(const gmm_audit_plan *a, const gmm_audit_plan *b)
{
    bool same = a->seed == b->seed && a->count == b->count;

    for (size_t i = 0; i < a->count && same; i++)
        same = a->slots[i].check == b->slots[i].check && a->slots[i].routine == b->slots[i].routine &&
               a->slots[i].type == b->slots[i].type;
    return same;
}

static bool same_call(const gmm_audit_case *a, const gmm_audit_case *b)
{
    return a->call.fortran == b->call.fortran && a->seed == b->seed && a->check == b->check;
}

/* Both lists are in the order of case numbers. */
static void count_cases(const gmm_audit *a, const gmm_audit *b, tally (*tallies)[4])
{
    size_t i = 0, j = 0;

    while (i < a->bit_count && j < b->bit_count) {
        gmm_audit_case in_a, in_b;
        const gmm_audit_bits *x = &a->bits[i], *y = &b->bits[j];
        i += x->number <= y->number;
        j += y->number <= x->number;
        if (x->number != y->number || !gmm_audit_case_at(a, x->number, &in_a) ||
            !gmm_audit_case_at(b, y->number, &in_b) || !same_call(&in_a, &in_b))
            continue;
        size_t routine = 0;
        while (gmm_blas_routine_at(routine) != in_a.call.routine)
            routine++;
        tally *t = &tallies[routine][strchr("sdcz", in_a.call.type) - "sdcz"];
        t->compared++;
        if (x->hash != y->hash && !t->differing++)
            t->first = x->number;
    }
}

gmm_status gmm_audit_compare(const gmm_audit *a, const gmm_audit *b, gmm_audit_difference *differences, size_t room,
                             size_t *count)
{
    if (!a || !b || !count || (room && !differences))
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", !a ? "a" : !b ? "b" : !count ? "count" : "differences");
    *count = 0;
    if (!same_plan(&a->plan, &b->plan))
        return gmm_fail(GMM_ERR_ARGUMENT, "the audits are not of the same seed, checks and routines");
    tally(*tallies)[4] = calloc(GMM_AUDIT_MOST_ROUTINES, sizeof *tallies);
    if (!tallies)
        return gmm_fail(GMM_ERR_MEMORY, "no memory to compare audits");
    count_cases(a, b, tallies);
    for (size_t r = 0; gmm_blas_routine_at(r); r++)
        for (int t = 0; t < 4; t++) {
            gmm_audit_case c;
            if (!tallies[r][t].differing)
                continue;
            if (*count < room && gmm_audit_case_at(a, tallies[r][t].first, &c)) {
                gmm_audit_difference *d = &differences[*count];
                gmm_blas_routine_name(gmm_blas_routine_at(r), "sdcz"[t], d -> routine);
                d->differing = tallies[r][t].differing;
                d->compared = tallies[r][t].compared;
                gmm_blas_call_text(&c.call, d->call, sizeof d->call);
            }
            ++*count;
        }
    free(tallies);
    return GMM_OK;
}
