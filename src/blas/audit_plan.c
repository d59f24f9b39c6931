/* audit_plan.c - see audit_plan.h: random calls whose sizes straddle the thresholds at which libraries change course.
 */
/* SPDX-License-Identifier: MIT */
#include "blas/audit_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* ---- selection --------------------------------------------------------------------------------------------------- */

/* Is `word` one of the comma-separated words? NULL lists have all. */
static bool listed(const char *words, const char *word)
{
    size_t length = strlen(word);

    for (const char *w = words; w; w = strchr(w, ',') ? strchr(w, ',') + 1 : NULL)
        if (!strncmp(w, word, length) && (w[length] == ',' || !w[length]))
            return true;
    return !words;
}

static bool routine_listed(const char *words, const gmm_blas_routine *routine, char type)
{
    char name[GMM_BLAS_NAME_BYTES], cblas[GMM_BLAS_NAME_BYTES + 8];

    gmm_blas_routine_name(routine, type, name);
    snprintf(cblas, sizeof cblas, "cblas_%s", name);
    return listed(words, routine->name) || listed(words, name) || listed(words, cblas);
}

/* The first word that is nothing; NULL if all are something. */
static const char *unknown_word(const char *words, bool checks)
{
    for (const char *w = words; w; w = strchr(w, ',') ? strchr(w, ',') + 1 : NULL) {
        char word[64];
        bool known = false;
        size_t length = strcspn(w, ",");
        snprintf(word, sizeof word, "%.*s", (int)(length < 63 ? length : 63), w);
        if (!*word)
            return w;
        for (size_t i = 0; checks && gmm_blas_check_at(i); i++)
            known |= !strcmp(gmm_blas_check_at(i)->name, word);
        for (size_t i = 0; !checks && gmm_blas_routine_at(i); i++)
            for (const char *t = gmm_blas_routine_at(i)->types; *t; t++)
                known |= routine_listed(word, gmm_blas_routine_at(i), *t);
        if (!known)
            return w;
    }
    return NULL;
}

/* gemm and gemv are what everybody calls: their cases come more often. */
static int weight(const gmm_blas_routine *routine)
{
    return !strcmp(routine->name, "gemm") ? 4 : !strcmp(routine->name, "gemv") ? 2 : 1;
}

/* Makes the list if `slots` is not NULL; returns its length. */
static size_t list_slots(gmm_audit_slot *slots, const char *checks, const char *routines)
{
    size_t count = 0;

    for (size_t i = 0; gmm_blas_check_at(i); i++) {
        const gmm_blas_check *check = gmm_blas_check_at(i);
        if (checks ? !listed(checks, check->name) : check->on_request)
            continue;
        for (size_t r = 0; gmm_blas_routine_at(r); r++) {
            const gmm_blas_routine *routine = gmm_blas_routine_at(r);
            for (const char *t = routine->types; *t && (!check->applies || check->applies(routine)); t++)
                for (int w = 0; w < weight(routine) && routine_listed(routines, routine, *t); w++, count++)
                    if (slots)
                        slots[count] = (gmm_audit_slot){check, routine, *t};
        }
    }
    return count;
}

gmm_status gmm_audit_plan_make(gmm_audit_plan *plan, uint64_t seed, const char *checks, const char *routines)
{
    const char *wrong = unknown_word(checks, true);

    *plan = (gmm_audit_plan){.seed = seed};
    if (wrong)
        return gmm_fail(GMM_ERR_ARGUMENT, "'%.*s' is not a check", (int)strcspn(wrong, ","), wrong);
    wrong = unknown_word(routines, false);
    if (wrong)
        return gmm_fail(GMM_ERR_ARGUMENT, "'%.*s' is not a BLAS routine", (int)strcspn(wrong, ","), wrong);
    plan->count = list_slots(NULL, checks, routines);
    if (!plan->count)
        return gmm_fail(GMM_ERR_ARGUMENT, "none of the checks applies to any of the routines");
    plan->slots = malloc(plan->count * sizeof *plan->slots);
    if (!plan->slots)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for %zu kinds of cases", plan->count);
    list_slots(plan->slots, checks, routines);
    return GMM_OK;
}

void gmm_audit_plan_free(gmm_audit_plan *plan)
{
    free(plan->slots);
    plan->slots = NULL;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

/* Small-matrix, skinny, direct and threaded paths begin about here in OpenBLAS, BLIS, ATLAS, MKL. */
static const int16_t thresholds[] = {15,  16,  17,  24,  31,  32,  33,  48,  63,  64,  65,  96,  100, 101, 127,
                                     128, 129, 150, 151, 191, 192, 193, 255, 256, 257, 384, 385, 512, 513, 544};

static int64_t draw_size(gmm_audit_random *random)
{
    switch (gmm_audit_below(random, 8)) {
    case 0:
    case 1:
        return 1 + gmm_audit_below(random, 8);
    case 2:
    case 3:
        return 1 + gmm_audit_below(random, 40);
    case 4:
        return 1 + gmm_audit_below(random, 160);
    default:
        return thresholds[gmm_audit_below(random, (int64_t)(sizeof thresholds / sizeof thresholds[0]))];
    }
}

/* Lengths of vectors alone: threads begin at 10,000 in OpenBLAS. */
static int64_t draw_length(gmm_audit_random *random)
{
    static const int32_t lengths[] = {1000, 1024, 2047, 4096, 9999, 10000, 10001, 16384, 20011, 40000};

    return gmm_audit_below(random, 4) ? draw_size(random) : lengths[gmm_audit_below(random, 10)];
}

/* Halve the larger sizes until the work is what the round allows: early rounds are to be quick, and later ones see all.
 */
static void limit_work(gmm_blas_call *call, int level, int64_t round)
{
    double most = level == 3 ? (round < 1 ? 3e5 : round % 4 ? 2e6 : 4e7) : (round < 1 ? 2e4 : 3e5);
    const gmm_blas_routine *r = call->routine;
    int64_t one = 1, *m = gmm_blas_has_argument(r, 'M') ? &call->m : &one, *n = &call->n,
            *k = level == 3 && gmm_blas_has_argument(r, 'K') ? &call->k : &one;

    if (level == 1)
        return;
    for (;;) {
        double work = (double)*m * (double)*n * (double)*k;
        if (level == 3 && k == &one)
            work *= (double)gmm_blas_size(call, 'S');
        if (level == 3 && m == &one)
            work *= (double)*n;
        if (level == 2 && m == &one)
            work *= (double)*n;
        if (work <= most)
            return;
        int64_t *largest = *m > *n ? m : n;
        largest = *k > *largest ? k : largest;
        *largest = *largest / 2 + (*largest & 1);
    }
}

static void draw_sizes(gmm_blas_call *call, gmm_audit_random *random, int64_t round)
{
    int level = gmm_blas_level(call->routine);
    int64_t shape = gmm_audit_below(random, 8);

    call->m = draw_size(random);
    call->n = level == 1 ? draw_length(random) : draw_size(random);
    call->k = draw_size(random);
    /* One row or column of a large product: the paths that are tested least. */
    if (level == 3 && shape == 0)
        call->m = 1;
    if (level == 3 && shape == 1)
        call->n = 1;
    if (level == 3 && shape == 2 && round > 0) {
        call->m = 1;
        call->n = 512;
        call->k = 544;
    }
    if (gmm_audit_below(random, 24) == 0)
        *(shape % 3 == 0 ? &call->m : shape % 3 == 1 ? &call->n : &call->k) = 0;
    if (level == 2) { /* bands */
        call->kl = gmm_audit_below(random, call->m < 20 ? call->m + 1 : 20);
        call->ku = gmm_audit_below(random, call->n < 20 ? call->n + 1 : 20);
        call->k = gmm_audit_below(random, call->n < 20 ? call->n + 1 : 20);
    }
    limit_work(call, level, round);
}

/* ---- the rest of a call ------------------------------------------------------------------------------------------ */

static void draw_flags(gmm_blas_call *call, gmm_audit_random *random)
{
    const gmm_blas_routine *r = call->routine;
    bool is_complex = gmm_blas_is_complex(call->type), ranks = r->sum == GMM_SUM_RANK_K || r->sum == GMM_SUM_RANK_2K;

    call->side = "LR"[gmm_audit_below(random, 2)];
    call->uplo = "UL"[gmm_audit_below(random, 2)];
    call->diag = "NU"[gmm_audit_below(random, 2)];
    call->transpose_a = "NTC"[gmm_audit_below(random, 3)];
    call->transpose_b = "NTC"[gmm_audit_below(random, 3)];
    if (ranks && is_complex && call->transpose_a != 'N')
        call->transpose_a = r->conjugates ? 'C' : 'T';
    if (!gmm_blas_has_argument(r, 't'))
        call->transpose_a = 'N';
}

static void draw_factors(gmm_blas_call *call, gmm_audit_random *random)
{
    static const double alphas[] = {1, 1, -1, 2, -2}, betas[] = {0, 0, 1, -1, 2};
    const gmm_blas_routine *r = call->routine;
    bool is_complex = gmm_blas_is_complex(call->type);

    call->alpha[0] = alphas[gmm_audit_below(random, 5)];
    call->beta[0] = betas[gmm_audit_below(random, 5)];
    call->alpha[1] = (double)gmm_audit_below(random, 3) - 1;
    call->beta[1] = (double)gmm_audit_below(random, 3) - 1;
    if (!is_complex || r->real_alpha)
        call->alpha[1] = 0;
    if (!is_complex || r->real_beta || call->beta[0] == 0)
        call->beta[1] = 0;
}

/* Real factors other than these small ones serve reals only: sums of integers are to stay exact. */
static void draw_real_factors(gmm_audit_case *c, gmm_audit_random *random)
{
    double alpha = (double)gmm_audit_below(random, 4096) * 0x1p-11 - 1,
           beta = (double)gmm_audit_below(random, 4096) * 0x1p-11 - 1;

    if (c->values != GMM_VALUES_REALS)
        return;
    if (c->call.alpha[0] == 2)
        c->call.alpha[0] = alpha == 0 ? 1 : alpha;
    if (c->call.beta[0] == 2)
        c->call.beta[0] = beta == 0 ? 1 : beta;
}

static void draw_places(gmm_blas_call *call, gmm_audit_random *random)
{
    static const int64_t steps[] = {1, 1, 1, 2, 3}, excesses[] = {0, 0, 1, 3, 13};
    int64_t real = (int64_t)gmm_blas_real_bytes(call->type);

    /* Three numbers each for three operands at least: a seed stands for the same cases whatever routines come later. */
    int count = gmm_blas_operand_count(call);
    for (int i = 0; i < (count < 3 ? 3 : count); i++) {
        bool vector = call->routine->operands[i].form == GMM_FORM_VECTOR;
        bool fixed = vector && call->routine->operands[i].storage == GMM_STORED_PACKED;
        int64_t which = gmm_audit_below(random, 5), offset = gmm_audit_below(random, 64 / real) * real;
        call->operands[i].step = fixed ? 1 : vector ? steps[which] : excesses[which];
        call->operands[i].offset = gmm_audit_below(random, 4) ? offset : 0;
    }
}

void gmm_audit_set_steps(gmm_audit_case *c)
{
    for (int i = 0; i < gmm_blas_operand_count(&c->call); i++)
        if (c->call.routine->operands[i].form != GMM_FORM_VECTOR)
            c->call.operands[i].step += gmm_blas_least_step(&c->call, i);
}

bool gmm_audit_plan_case(const gmm_audit_plan *plan, int64_t i, gmm_audit_interfaces *interfaces, const void *context,
                         gmm_audit_case *c)
{
    /* Each round visits the slots from another place in steps of a large prime: none comes twice. */
    int64_t count = (int64_t)plan->count, round = i / count;
    uint64_t place = ((uint64_t)(i % count) * 7919 + gmm_audit_mix((uint64_t)round) % 7919) % (uint64_t)count;
    const gmm_audit_slot *slot = &plan->slots[count % 7919 ? place : (uint64_t)(i % count)];
    gmm_audit_random random = {gmm_audit_mix(plan->seed ^ gmm_audit_mix((uint64_t)i))};
    unsigned has = interfaces(context, slot->routine, slot->type);

    memset(c, 0, sizeof *c);
    c->check = slot->check;
    c->seed = gmm_audit_random_bits(&random);
    c->special_operand = -1;
    c->call.routine = slot->routine;
    c->call.type = slot->type;
    c->call.fortran = gmm_audit_below(&random, 4) == 0;
    c->call.row_major = gmm_audit_below(&random, 2);
    draw_flags(&c->call, &random);
    draw_sizes(&c->call, &random, round);
    draw_factors(&c->call, &random);
    draw_places(&c->call, &random);
    if (!has)
        return false;
    if (!(has & (c->call.fortran ? 2u : 1u)))
        c->call.fortran = !c->call.fortran;
    if (!slot->check->prepare(c, &random))
        return false;
    draw_real_factors(c, &random);
    gmm_audit_set_steps(c);
    return true;
}
