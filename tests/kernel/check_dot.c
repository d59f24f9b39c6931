/* check_dot.c - dot bodies: every kind of weights, every tail of K, rows x columns of every size, every misalignment.
 */
/* SPDX-License-Identifier: MIT */
#include "cmocka_test.h"

#include <stdlib.h>
#include <string.h>

#include "kernel_check.h"

enum {
    MOST_ROWS = 20,
    MOST_COLUMNS = 40,
    MOST_GAP = 3 /* between rows of out */
};

/* Lengths of K in steps of the format (a group, or one element): every tail of a vector, then several vectors, then
 * what bodies cut into pieces. */
static const int64_t lengths[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,   10,  11,  12,  13,  14,  15,  16,  17, 18,
                                  19, 20, 21, 22, 23, 24, 25, 26, 27,  28,  29,  30,  31,  32,  33,  47,  48, 49,
                                  63, 64, 65, 79, 80, 81, 96, 97, 111, 127, 128, 129, 145, 255, 256, 257, 544};
static const int64_t group_lengths[] = {1, 2, 3, 4, 5, 8, 17, 63, 64, 65, 129};

/* The operands of a product, each row between guard pages, and what must come out. */
typedef struct {
    gmm_weights weights;
    int64_t rows, columns, k;
    check_rows x, arranged, codes, scales, biases;
    gmm_rows w;
    const float *plain[MOST_ROWS], *lanes[MOST_ROWS]; /* rows of x, and as `arrange` gives them */
    float *decoded;                                   /* [columns][k] */
    const float *decoded_rows[MOST_COLUMNS];
    float *want; /* [rows][columns] */
    gmm_guarded out;
} problem;

typedef struct {
    check_values values;
    gmm_guard_side side;
    size_t shift;  /* of the codes' rows from their guard page */
    uint8_t scale; /* of all groups; 0: random ones */
} placement;

/* A part of a problem's rows and columns. */
typedef struct {
    int64_t row, rows, column, columns;
} part;

static void make_weights(problem *p, gmm_random *random, const placement *place)
{
    /* f32 codes are aligned as f32 is; all others may lie anywhere, as tensors in files do. */
    size_t any = place->shift ? (size_t)gmm_random_between(random, 0, 63) : 0;
    const gmm_weights *weights = &p->weights;

    check_rows_make(&p->codes, random, p->columns, check_code_bytes(weights, p->k), place->side, place->shift);
    check_rows_make(&p->scales, random, p->columns, check_scale_bytes(weights, p->k), place->side, any);
    check_rows_make(&p->biases, random, p->columns, check_bias_bytes(weights, p->k), place->side, any / 2);
    p->w = (gmm_rows){
        .first = {.codes = p->codes.first},
        .code_bytes = p->codes.step,
        .scale_bytes = p->scales.step,
        .bias_bytes = p->biases.step,
    };
    if (weights->format->quantized)
        p->w.first.scales = p->scales.first;
    if (weights->format->has_biases)
        p->w.first.biases = p->biases.first;
    p->decoded = check_allocate(p->columns * p->k, sizeof(float));
    for (int64_t c = 0; c < p->columns; c++) {
        gmm_row row = gmm_row_at(&p->w, c);
        check_weights_fill(random, weights, place->values, p->k, row);
        if (place->scale)
            memset(check_rows_at(&p->scales, c), place->scale, (size_t)check_scale_bytes(weights, p->k));
        weights->format->decode(weights, row, 0, p->k, p->decoded + c * p->k);
        p->decoded_rows[c] = p->decoded + c * p->k;
    }
}

/* Half of the rows are arranged in place, half into another buffer. */
static void make_x(problem *p, gmm_random *random, const gmm_kernel *kernel, const placement *place)
{
    size_t shift = place->shift / sizeof(float) * sizeof(float);
    size_t bytes = (size_t)p->k * sizeof(float);

    check_rows_make(&p->x, random, p->rows, (int64_t)bytes, place->side, shift);
    check_rows_make(&p->arranged, random, p->rows, (int64_t)bytes, place->side, shift);
    for (int64_t r = 0; r < p->rows; r++) {
        float *x = (float *)(void *)check_rows_at(&p->x, r), *buffer = (float *)(void *)check_rows_at(&p->arranged, r);
        check_floats_fill(random, place->values, p->k, x);
        p->plain[r] = p->lanes[r] = x;
        if (!kernel->arrange)
            continue;
        if (r % 2)
            memcpy(buffer, x, bytes);
        p->lanes[r] = kernel->arrange(&p->weights, r % 2 ? buffer : x, p->k, buffer);
        if (p->lanes[r] != buffer && p->lanes[r] != x)
            check_fail("arrange gives neither x nor the buffer");
    }
}

/* What must come out: for f32, the sums of the contract; for other formats, the same from the f32 kernel. */
static void make_want(problem *p, const gmm_kernel *kernel, check_values values)
{
    static const gmm_weights f32 = {.format = &gmm_format_dense_f32, .dtype = GMM_F32, .code_stride = 1};

    p->want = check_allocate(p->rows * p->columns, sizeof(float));
    if (!strcmp(kernel->reads, "f32"))
        for (int64_t i = 0; i < p->rows * p->columns; i++)
            p->want[i] = check_contract_sum(kernel->needs != 0, GMM_CLASSES, p->k, p->plain[i / p->columns],
                                            p->decoded_rows[i % p->columns]);
    else
        check_sibling(kernel, "dot")
            ->dot(&(gmm_dot){
                .weights = &f32,
                .w = {.first.codes = p->decoded, .code_bytes = p->k * 4},
                .rows = p->rows,
                .columns = p->columns,
                .k = p->k,
                .x = p->plain,
                .out = p->want,
                .out_stride = p->columns,
            });
    if (values == CHECK_TAME)
        for (int64_t i = 0; i < p->rows * p->columns; i++)
            check_bound(p->k, p->plain[i / p->columns], p->decoded_rows[i % p->columns], p->want[i]);
}

static void make_problem(problem *p, gmm_random *random, const gmm_kernel *kernel, const placement *place)
{
    char text[128];

    check_case("%lld rows, %lld columns, k = %lld, %s, %s guard page, shift %zu, %s", (long long)p->rows,
               (long long)p->columns, (long long)p->k, check_values_text(place->values),
               place->side == GMM_GUARD_AFTER ? "before" : "after", place->shift,
               check_weights_text(&p->weights, text, sizeof text));
    make_weights(p, random, place);
    make_x(p, random, kernel, place);
    make_want(p, kernel, place->values);
    check_floats(&p->out, p->rows * (p->columns + MOST_GAP));
}

static void free_problem(problem *p)
{
    check_rows *rows[] = {&p->x, &p->arranged, &p->codes, &p->scales, &p->biases};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_rows_free(rows[i]);
    free(p->decoded);
    free(p->want);
    gmm_guarded_free(&p->out);
}

/* Compute a part, at the end of out, between poison that must stay. */
static void check_part(const gmm_kernel *kernel, const problem *p, part of, int64_t gap)
{
    static const uint32_t poison = 0x7fbadbad; /* no kernel gives this NaN */
    int64_t stride = of.columns + gap, count = of.rows * stride - gap;
    int64_t size = (int64_t)(p->out.size_bytes / sizeof(float)), before = size - count;
    float *out = (float *)(void *)p->out.data + before;

    for (int64_t i = -before; i < count; i++)
        memcpy(&out[i], &poison, sizeof poison);
    kernel->dot(&(gmm_dot){
        .weights = &p->weights,
        .w = {.first = gmm_row_at(&p->w, of.column),
              .code_bytes = p->w.code_bytes,
              .scale_bytes = p->w.scale_bytes,
              .bias_bytes = p->w.bias_bytes},
        .rows = of.rows,
        .columns = of.columns,
        .k = p->k,
        .x = p->lanes + of.row,
        .out = out,
        .out_stride = stride,
    });
    for (int64_t i = -before; i < count; i++) {
        int64_t r = i / stride, c = i % stride;
        bool wanted = i >= 0 && c < of.columns;
        float want = wanted ? p->want[(of.row + r) * p->columns + of.column + c] : 0;
        if (wanted && !check_same(out[i], want))
            check_fail("row %lld of %lld, column %lld of %lld is %.9g, not %.9g", (long long)r, (long long)of.rows,
                       (long long)c, (long long)of.columns, (double)out[i], (double)want);
        if (!memcmp(&out[i], &poison, sizeof poison) == wanted)
            check_fail(wanted ? "does not write all of out" : "writes before out, or between its rows");
    }
}

/* All of a problem, then single rows and single columns. */
static void check_all(const gmm_kernel *kernel, gmm_random *random, const problem *p)
{
    part all = {0, p->rows, 0, p->columns};

    check_part(kernel, p, all, gmm_random_between(random, 0, MOST_GAP));
    for (int i = 0; i < 2; i++) {
        part row = all, column = all;
        row.row = gmm_random_between(random, 0, p->rows - 1);
        row.rows = 1;
        column.column = gmm_random_between(random, 0, p->columns - 1);
        column.columns = 1;
        check_part(kernel, p, row, 0);
        check_part(kernel, p, column, MOST_GAP);
        row.column = column.column;
        row.columns = 1;
        check_part(kernel, p, row, 0);
    }
}

/* The outer body gives the same sums, from decoded weights and, if it can, from codes. */
static void check_against_outer(const gmm_kernel *kernel, gmm_random *random, const problem *p)
{
    check_outer of = {
        .kernel = check_sibling(kernel, "outer"),
        .classes = GMM_CLASSES,
        .k = p->k,
        .rows = p->rows,
        .columns = p->columns < GMM_PANEL ? p->columns : GMM_PANEL,
        .x = p->plain,
        .w = p->decoded_rows,
        .weights = &p->weights,
        .codes = p->w,
    };
    float *out = check_allocate(p->rows * GMM_PANEL, sizeof(float));
    int64_t ends[4];

    for (int by_class = 0; by_class <= (kernel->class_decode != NULL); by_class++) {
        of.decoder = by_class ? kernel : NULL;
        check_outer_cut(random, p->k, by_class ? 128 : 16, ends);
        check_outer_run(&of, random, ends, out);
        for (int64_t r = 0; r < p->rows; r++)
            check_all_same(p->want + r * p->columns, out + r * GMM_PANEL, of.columns,
                           by_class ? "the outer body has it, class by class" : "the outer body has it");
    }
    free(out);
}

void check_dot_lengths(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "dot_lengths", &random);
    problem p = {0};

    for (int i = 0; check_weights_at(kernel, i, &p.weights); i++) {
        int64_t step = check_weights_step(&p.weights), count = sizeof lengths / sizeof lengths[0];
        const int64_t *list = lengths;
        if (step > 1) {
            count = sizeof group_lengths / sizeof group_lengths[0];
            list = group_lengths;
        }
        for (int64_t l = 0; l < count; l++)
            for (int values = CHECK_TAME; values <= CHECK_TINY; values++) {
                if ((p.weights.format->quantized && values != (l + i) % 2) || !check_weights_wanted(&random, i))
                    continue;
                placement place = {.values = (check_values)values,
                                   .side = gmm_random_chance(&random, 50) ? GMM_GUARD_AFTER : GMM_GUARD_BEFORE};
                p.k = list[l] * step;
                p.rows = gmm_random_between(&random, 1, p.k > 2000 ? 6 : MOST_ROWS);
                p.columns = gmm_random_between(&random, 1, p.k > 2000 ? 10 : MOST_COLUMNS);
                make_problem(&p, &random, kernel, &place);
                check_all(kernel, &random, &p);
                check_against_outer(kernel, &random, &p);
                free_problem(&p);
            }
    }
}

void check_dot_shapes(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "dot_shapes", &random);
    placement place = {.side = GMM_GUARD_AFTER};
    problem p = {.rows = MOST_ROWS, .columns = MOST_COLUMNS};

    for (int i = 0; check_weights_at(kernel, i, &p.weights); i++) {
        int64_t step = check_weights_step(&p.weights);
        if (!check_weights_wanted(&random, i))
            continue;
        p.k = step > 1 ? step : gmm_random_between(&random, 1, 70);
        make_problem(&p, &random, kernel, &place);
        for (int64_t rows = 1; rows <= MOST_ROWS; rows++)
            for (int64_t columns = 1; columns <= MOST_COLUMNS; columns++) {
                part of = {gmm_random_between(&random, 0, MOST_ROWS - rows), rows,
                           gmm_random_between(&random, 0, MOST_COLUMNS - columns), columns};
                check_part(kernel, &p, of, columns % (MOST_GAP + 1));
            }
        free_problem(&p);
    }
}

/* Formats whose scales are bytes: every one of them, alone, since bodies look for the largest. */
void check_dot_scales(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "dot_scales", &random);
    placement place = {.values = CHECK_WILD, .side = GMM_GUARD_AFTER};
    problem p = {.rows = 1, .columns = 1};

    for (int i = 0; check_weights_at(kernel, i, &p.weights); i++)
        for (int scale = 1; scale < 256 && p.weights.scales_dtype == GMM_U8; scale++) {
            p.k = p.weights.group_size * (1 + scale % 3);
            place.scale = (uint8_t)scale;
            make_problem(&p, &random, kernel, &place);
            check_all(kernel, &random, &p);
            check_against_outer(kernel, &random, &p);
            free_problem(&p);
        }
}

void check_dot_shifts(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "dot_shifts", &random);
    problem p = {0};

    for (int i = 0; check_weights_at(kernel, i, &p.weights); i++) {
        size_t unit = p.weights.dtype == GMM_F32 ? sizeof(float) : 1;
        for (size_t shift = 0; shift < 64; shift += unit) {
            placement place = {.values = shift / unit % 2 ? CHECK_WILD : CHECK_TAME,
                               .side = shift / unit % 4 < 2 ? GMM_GUARD_AFTER : GMM_GUARD_BEFORE,
                               .shift = shift};
            if (!check_weights_wanted(&random, i))
                continue;
            p.k = check_weights_step(&p.weights) * gmm_random_between(&random, 1, 3) +
                  (p.weights.format->quantized ? 0 : 32);
            p.rows = gmm_random_between(&random, 1, kernel->mr + 1);
            p.columns = gmm_random_between(&random, 1, kernel->nr + 1);
            make_problem(&p, &random, kernel, &place);
            check_all(kernel, &random, &p);
            check_against_outer(kernel, &random, &p);
            free_problem(&p);
        }
    }
}
