/* provider_check.c - small calls that show whether a library keeps the part of the contract that products rely on. */
/* SPDX-License-Identifier: MIT */

/*
 * Operands are small whole numbers: every partial sum is exact in f32, in whatever order, so that any alignment, any
 * number of threads and any kernel must give the same bits, and a wrong one is seen without a tolerance. All that the
 * text says a library does not look at holds NaN: C, the padding, the dead stack, the vector registers, and the
 * operands of the call before. If the result is wrong all the same, these are cleaned one at a time to say which it
 * was. Then real numbers, twice: within the a-priori bound, and the same bits. In this process: a library that crashes
 * here would have crashed the products (gathermm audit asks in processes of its own).
 */
#include <fenv.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blas/provider_state.h"
#include "cpu/dead_stack.h"
#include "cpu/fp_env.h"
#include "cpu/registers.h"

enum {
    STACK_FRAMES = 1, /* 16 KiB: more than libraries' frames, less than hosts' smallest stacks */
    MARGIN = 16,      /* floats around each operand */
    GAP = 3,          /* and behind each row, where there are gaps */
    SAMPLES = 256,
    MOST_WORK = 1 << 24,       /* multiply-adds from which a shape is given fewer rows */
    NOT_SMALL = 28 * 512 * 512 /* and those that OpenBLAS multiplies without packing, the largest such limit known */
};

/* One call and what surrounds it. */
typedef struct trial {
    bool transpose_b, real, poisoned;
    int64_t m, n, k, gap;
    int64_t offset_a, offset_b, offset_c; /* floats from a 64-byte boundary */
    float stale, padding;
    uint64_t dirt;
} trial;

typedef struct matrix {
    float *memory, *at; /* MARGIN and more before and behind `at` */
    int64_t rows, columns, ld, floats;
} matrix;

typedef struct operands {
    matrix a, b, c;
    float *before; /* all of a and b, as they were */
    double *sums;  /* of b with the weights, and the weights */
} operands;

static const uint64_t NAN_DIRT = 0x7FF8F0007FC0F000u; /* NaN as two floats, and as a double */

/* Through a pointer that the compiler must not see through: its frame is to be one of its own, where the dirt is. */
static void (*volatile caller)(gmm_provider *, const gmm_provider_product *, gmm_provider_layout) = gmm_provider_call;

static uint32_t draw(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static bool take(matrix *x, int64_t rows, int64_t columns, int64_t gap, int64_t offset)
{
    *x = (matrix){.rows = rows, .columns = columns, .ld = columns + gap};
    x->floats = (2 * MARGIN + rows * x->ld + 2 * MARGIN + 15) / 16 * 16;
    x->memory = aligned_alloc(64, (size_t)x->floats * sizeof(float));
    x->at = x->memory ? x->memory + MARGIN + offset : NULL;
    return x->memory != NULL;
}

static void give_back(operands *o)
{
    free(o->a.memory);
    free(o->b.memory);
    free(o->c.memory);
    free(o->before);
    free(o->sums);
}

static bool take_all(const trial *t, operands *o)
{
    *o = (operands){.before = NULL};
    bool fine = take(&o->a, t->m, t->k, t->gap, t->offset_a) &&
                take(&o->b, t->transpose_b ? t->n : t->k, t->transpose_b ? t->k : t->n, t->gap, t->offset_b) &&
                take(&o->c, t->m, t->n, t->gap, t->offset_c) &&
                (o->before = malloc((size_t)(o->a.floats + o->b.floats) * sizeof(float))) &&
                (o->sums = malloc((size_t)(t->n + t->k) * sizeof(double)));

    if (!fine)
        give_back(o);
    return fine;
}

static void set_all(const matrix *x, float value)
{
    for (int64_t i = 0; i < x->floats; i++)
        x->memory[i] = value;
}

static void set_elements(const matrix *x, const trial *t, uint32_t seed)
{
    for (int64_t r = 0; r < x->rows; r++)
        for (int64_t c = 0; c < x->columns; c++) {
            uint32_t number = draw(&seed);
            x->at[r * x->ld + c] = t->real ? (float)(int32_t)number * 0x1p-31f : (float)(number >> 8 & 7) - 3.0f;
        }
}

static double b_at(const trial *t, const operands *o, int64_t k, int64_t n)
{
    return (double)(t->transpose_b ? o->b.at[n * o->b.ld + k] : o->b.at[k * o->b.ld + n]);
}

/* ---- a call, and what it did ------------------------------------------------------------------------------------- */

static void set_values(const trial *t, const operands *o)
{
    set_all(&o->a, t->padding);
    set_all(&o->b, t->padding);
    set_elements(&o->a, t, 1234567);
    set_elements(&o->b, t, 7654321);
    memcpy(o->before, o->a.memory, (size_t)o->a.floats * sizeof(float));
    memcpy(o->before + o->a.floats, o->b.memory, (size_t)o->b.floats * sizeof(float));
}

static void make_call(gmm_provider *provider, const trial *t, const operands *o)
{
    const gmm_provider_product product = {
        .transpose_b = t->transpose_b,
        .m = t->m,
        .n = t->n,
        .k = t->k,
        .a = o->a.at,
        .b = o->b.at,
        .ldb = o->b.ld,
        .c = o->c.at,
    };

    set_all(&o->c, 12345.0f); /* margins and gaps: no number that a sum has */
    for (int64_t r = 0; r < t->m; r++)
        for (int64_t c = 0; c < t->n; c++)
            o->c.at[r * o->c.ld + c] = t->stale;
    gmm_dead_stack_fill(t->dirt, STACK_FRAMES);
    gmm_registers_fill(t->dirt);
    caller(provider, &product, (gmm_provider_layout){.lda = o->a.ld, .ldc = o->c.ld});
}

/* Is all of C's memory but its elements as it was? */
static bool surroundings_kept(const matrix *c)
{
    for (int64_t i = 0; i < c->floats; i++) {
        int64_t at = i - (c->at - c->memory);
        bool element = at >= 0 && at / c->ld < c->rows && at % c->ld < c->columns;
        if (!element && c->memory[i] != 12345.0f)
            return false;
    }
    return true;
}

/* Row i is right: its sum with whole weights is exact, and one wrong element changes it. */
static bool row_right(const trial *t, const operands *o, int64_t i)
{
    double got = 0, wanted = 0;

    for (int64_t n = 0; n < t->n; n++)
        got += o->sums[t->k + n] * (double)o->c.at[i * o->c.ld + n];
    for (int64_t k = 0; k < t->k; k++)
        wanted += (double)o->a.at[i * o->a.ld + k] * o->sums[k];
    return got == wanted;
}

/* Element (i, j) in double, and the sum of magnitudes for its bound. */
static double element(const trial *t, const operands *o, int64_t i, int64_t j, double *magnitude)
{
    double sum = 0;

    *magnitude = 0;
    for (int64_t k = 0; k < t->k; k++) {
        double term = (double)o->a.at[i * o->a.ld + k] * b_at(t, o, k, j);
        sum += term;
        *magnitude += fabs(term);
    }
    return sum;
}

static bool say_element(const operands *o, int64_t i, int64_t j, double wanted, char *text, size_t size)
{
    snprintf(text, size, "C(%" PRId64 ", %" PRId64 ") is %.9g, not %.9g", i, j, (double)o->c.at[i * o->c.ld + j],
             wanted);
    return false;
}

static bool whole_right(const trial *t, const operands *o, char *text, size_t size)
{
    uint32_t seed = 97531;

    for (int64_t n = 0; n < t->n; n++)
        o->sums[t->k + n] = (double)(draw(&seed) >> 8 & 1023) + 1;
    for (int64_t k = 0; k < t->k; k++)
        o->sums[k] = 0;
    for (int64_t k = 0; k < t->k; k++)
        for (int64_t n = 0; n < t->n; n++)
            o->sums[k] += o->sums[t->k + n] * b_at(t, o, k, n);
    for (int64_t i = 0; i < t->m; i++)
        for (int64_t j = 0; !row_right(t, o, i) && j < t->n; j++) {
            double magnitude, wanted = element(t, o, i, j, &magnitude);
            if ((double)o->c.at[i * o->c.ld + j] != wanted)
                return say_element(o, i, j, wanted, text, size);
        }
    return true;
}

/* Corners, tails and some others: gamma(K + 3) |A||B| + (K + 2) smallest subnormals, for any order of the sum. */
static bool real_right(const trial *t, const operands *o, char *text, size_t size)
{
    double n_u = (double)(t->k + 3) * 0x1p-24, gamma = n_u / (1 - n_u);
    uint32_t seed = 86420;

    for (int s = 0; s < SAMPLES; s++) {
        int64_t i = (int64_t)draw(&seed) % t->m, j = (int64_t)draw(&seed) % t->n;
        if (s % 4 == 1)
            i = t->m - 1;
        if (s % 4 == 2)
            j = t->n - 1 - j % (t->n < 8 ? t->n : 8);
        double magnitude, wanted = element(t, o, i, j, &magnitude), got = (double)o->c.at[i * o->c.ld + j];
        double bound = gamma * magnitude + (double)(t->k + 2) * 0x1p-149 + (double)t->k * 0x1p-52 * magnitude;
        if (!(fabs(got - wanted) <= bound))
            return say_element(o, i, j, wanted, text, size);
    }
    return true;
}

typedef enum outcome {
    FINE,
    NO_MEMORY,
    WRONG,
    WROTE_AROUND, /* outside C's elements */
    WROTE_INPUT,
    CHANGED_ENVIRONMENT
} outcome;

static outcome judge(gmm_provider *provider, const trial *t, const operands *o, char *text, size_t size)
{
    int rounding = fegetround(); /* of the x87 unit too, where there is one */
    fenv_t saved;

    fegetenv(&saved);
    if (t->poisoned) {
        set_all(&o->a, NAN);
        set_all(&o->b, NAN);
        make_call(provider, t, o);
    }
    set_values(t, o);
    make_call(provider, t, o);
    if (!gmm_fp_is_default() || fegetround() != rounding) {
        fesetenv(&saved);
        return CHANGED_ENVIRONMENT;
    }
    if (!surroundings_kept(&o->c))
        return WROTE_AROUND;
    if (memcmp(o->before, o->a.memory, (size_t)o->a.floats * sizeof(float)) ||
        memcmp(o->before + o->a.floats, o->b.memory, (size_t)o->b.floats * sizeof(float)))
        return WROTE_INPUT;
    return (t->real ? real_right : whole_right)(t, o, text, size) ? FINE : WRONG;
}

static outcome try(gmm_provider *provider, const trial *t, char *text, size_t size)
{
    operands o;
    outcome result;

    if (!take_all(t, &o))
        return NO_MEMORY;
    result = judge(provider, t, &o, text, size);
    give_back(&o);
    return result;
}

/* Real numbers as the route passes them, twice into the same memory. */
static outcome try_twice(gmm_provider *provider, const trial *t, bool *same, char *text, size_t size)
{
    operands o;
    outcome result;
    float *first;

    *same = true;
    if (!take_all(t, &o))
        return NO_MEMORY;
    if (!(first = malloc((size_t)o.c.floats * sizeof(float)))) {
        give_back(&o);
        return NO_MEMORY;
    }
    if ((result = judge(provider, t, &o, text, size)) == FINE) {
        memcpy(first, o.c.memory, (size_t)o.c.floats * sizeof(float));
        make_call(provider, t, &o);
        *same = !memcmp(first, o.c.memory, (size_t)o.c.floats * sizeof(float));
    }
    free(first);
    give_back(&o);
    return result;
}

/* ---- findings ---------------------------------------------------------------------------------------------------- */

static void say(const gmm_provider *provider, const trial *t, const char *what, const char *where, char *text,
                size_t size)
{
    snprintf(text, size,
             "%s %s: %" PRId64 " x %" PRId64 " by %" PRId64 " x %" PRId64 "%s, B %" PRId64
             " bytes off a 64-byte boundary%s%s",
             provider->info.symbol, what, t->m, t->k, t->k, t->n, t->transpose_b ? " transposed" : "",
             t->offset_b * (int64_t)sizeof(float), *where ? ": " : "", where);
}

/* A wrong result: clean one thing after the other, to say what it depended on. C is the one that can be helped. */
static gmm_provider_verdict explain(gmm_provider *provider, trial *t, const char *where, char *text, size_t size)
{
    trial clean[5] = {*t, *t, *t, *t, *t};
    static const char *const causes[5] = {"reads C although beta is 0", "lets the padding of A or B into the result",
                                          "lets what stack or registers held into the result",
                                          "lets what an earlier call saw into the result",
                                          "is wrong when operands are off a 64-byte boundary"};
    char unused[128];

    clean[0].stale = 0;
    clean[1].padding = 0;
    clean[2].dirt = 0;
    clean[3].poisoned = false;
    clean[4].offset_a = clean[4].offset_b = clean[4].offset_c = 0;
    for (int i = 0; i < 5; i++)
        if (try(provider, &clean[i], unused, sizeof unused) == FINE) {
            say(provider, t, causes[i], where, text, size);
            t->stale = i == 0 ? 0 : t->stale;
            return i == 0 ? GMM_PROVIDER_REMEDIED : GMM_PROVIDER_REFUSED;
        }
    say(provider, t, "is wrong", where, text, size);
    return GMM_PROVIDER_REFUSED;
}

static gmm_provider_verdict verdict_of(gmm_provider *provider, outcome result, trial *t, const char *where, char *text,
                                       size_t size)
{
    switch (result) {
    case FINE:
        return GMM_PROVIDER_GOOD;
    case NO_MEMORY:
        return GMM_PROVIDER_UNKNOWN;
    case WROTE_AROUND:
        say(provider, t, "writes outside the elements of C", "", text, size);
        return GMM_PROVIDER_REFUSED;
    case WROTE_INPUT:
        say(provider, t, "writes to A or B", "", text, size);
        return GMM_PROVIDER_REFUSED;
    case CHANGED_ENVIRONMENT:
        say(provider, t, "changes the floating-point environment", "", text, size);
        return GMM_PROVIDER_REFUSED;
    default:
        if (!t->real)
            return explain(provider, t, where, text, size);
        say(provider, t, "is less accurate than f32", where, text, size);
        return GMM_PROVIDER_REFUSED;
    }
}

/* A shape and its offsets, with all that is not to be looked at dirty. */
static gmm_provider_verdict check_shape(gmm_provider *provider, trial t, char *text, size_t size)
{
    char where[128] = "";
    bool same;
    gmm_provider_verdict verdict, real;

    t.real = false;
    t.poisoned = true;
    t.stale = t.padding = NAN;
    t.dirt = NAN_DIRT;
    verdict = verdict_of(provider, try(provider, &t, where, sizeof where), &t, where, text, size);
    if (verdict != GMM_PROVIDER_GOOD && verdict != GMM_PROVIDER_REMEDIED)
        return verdict;
    t.real = true;
    t.poisoned = false;
    t.stale = 0;
    real = verdict_of(provider, try_twice(provider, &t, &same, where, sizeof where), &t, where, text, size);
    if (real == GMM_PROVIDER_GOOD && !same) {
        say(provider, &t, "gives the same operands other bits the second time", "", text, size);
        return GMM_PROVIDER_REFUSED;
    }
    return real == GMM_PROVIDER_GOOD ? verdict : real;
}

/* The graver of two, where not knowing ends it all. */
static gmm_provider_verdict graver(gmm_provider_verdict a, gmm_provider_verdict b)
{
    return a == GMM_PROVIDER_UNKNOWN || b == GMM_PROVIDER_UNKNOWN ? GMM_PROVIDER_UNKNOWN : a > b ? a : b;
}

/* A size of the same class, no larger than needed: it keeps what is left over by 64, which is what tails depend on. */
static int64_t like(int64_t size)
{
    return size <= 512 ? size : 513 + (size - 1) % 64;
}

/* As few rows as go the way of large products all the same, with what is left over by 16. */
static int64_t few_rows(const trial *t)
{
    int64_t least = NOT_SMALL / (t->n * t->k) + 1, rows = least + (t->m - least % 16 + 16) % 16;

    return rows < t->m ? rows : t->m;
}

gmm_provider_verdict gmm_provider_check_class(gmm_provider *provider, const gmm_provider_product *product, char *text,
                                              size_t text_size)
{
    trial t = {
        .transpose_b = product->transpose_b,
        .m = like(product->m),
        .n = like(product->n),
        .k = like(product->k),
        .offset_b = (int64_t)((uintptr_t)product->b % 64 / sizeof(float)),
    };
    trial other = t; /* with gaps */

    if (t.m * t.n * t.k <= MOST_WORK) {
        other.m = gmm_provider_size_first(gmm_provider_size_class(t.m));
        other.n = gmm_provider_size_first(gmm_provider_size_class(t.n)) + 5;
        other.k = gmm_provider_size_first(gmm_provider_size_class(t.k)) + 8;
    } else {
        /* The whole of N and K with few rows, then all rows with few of both: 3 % of the work. */
        t.m = few_rows(&t);
        other.n = gmm_provider_size_first(1) + t.n % 16;
        other.k = gmm_provider_size_first(2) + t.k % 16;
        other.n = other.n < t.n ? other.n : t.n;
        other.k = other.k < t.k ? other.k : t.k;
    }
    other.gap = GAP;
    gmm_provider_verdict verdict = check_shape(provider, t, text, text_size);

    if (verdict != GMM_PROVIDER_GOOD && verdict != GMM_PROVIDER_REMEDIED)
        return verdict;
    return graver(verdict, check_shape(provider, other, text, text_size));
}

gmm_provider_verdict gmm_provider_check_basics(gmm_provider *provider, char *text, size_t text_size)
{
    static const int64_t shapes[][3] = {{2, 5, 7}, {3, 16, 17}, {9, 33, 20}, {16, 2, 24}, {40, 34, 19}};
    gmm_provider_verdict verdict = GMM_PROVIDER_GOOD;

    for (int64_t offset = 0; offset < GMM_PROVIDER_OFFSETS; offset++)
        for (size_t i = 0; i < 2 * (sizeof shapes / sizeof shapes[0]); i++) {
            const int64_t *shape = shapes[i / 2];
            trial t = {
                .transpose_b = i % 2,
                .m = shape[0],
                .n = shape[1],
                .k = shape[2],
                .gap = GAP,
                .offset_a = offset,
                .offset_b = offset,
                .offset_c = offset,
            };
            verdict = graver(verdict, check_shape(provider, t, text, text_size));
            if (verdict != GMM_PROVIDER_GOOD && verdict != GMM_PROVIDER_REMEDIED)
                return verdict;
        }
    return verdict;
}
