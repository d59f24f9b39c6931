/* check_int8.c - int8 sums: rounded activations and sums are the contract's, to the bit, by both bodies. */
/* SPDX-License-Identifier: MIT */
#include "cmocka_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/packed.h"
#include "kernel_check.h"
#include "kernels/int8.h"

enum {
    MOST_ROWS = 30,
    MOST_COLUMNS = 40
};

/* Lengths of K in groups: every tail of 16 of them, and more than are taken together. */
static const int64_t lengths[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 18, 23, 31, 32, 33, 64, 65, 129, 130};

/* The operands, each row between guard pages, and what must come out. */
typedef struct {
    gmm_weights weights;
    int64_t rows, columns, k, groups;
    check_rows x, x_codes, codes, scales, biases;
    gmm_guarded x_scales, x_sums, tile_codes, tile_factors;
    gmm_int8_row rounded[MOST_ROWS];
    gmm_int8_tiles tiles;
    gmm_rows w;
    float *want;  /* [rows][columns] */
    bool largest; /* codes of weights and of x are the largest there are, or the smallest */
} problem;

/* ---- the contract, operation by operation ---- */

/* Code i of a row as an integer, of which a weight is a multiple, and affine ones a bias more. */
static int integer_of(const gmm_weights *weights, const uint8_t *codes, int64_t i)
{
    static const int doubled[] = {0, 1, 2, 3, 4, 6, 8, 12};
    int code = 0;

    for (int b = 0; b < weights->bits; b++) {
        int64_t bit = i * weights->bits + b;
        code |= (codes[bit / 8] >> bit % 8 & 1) << b;
    }
    if (weights->format->has_biases)
        return code;
    return code & 8 ? -doubled[code & 7] : doubled[code];
}

static float scale_of(const gmm_weights *weights, gmm_row row, int64_t group)
{
    if (weights->format->has_biases)
        return gmm_load_float(weights->scales_dtype, row.scales, group);
    uint8_t code = ((const uint8_t *)row.scales)[group];
    return (weights->group_size == 16 ? gmm_e4m3_to_f32(code) : gmm_e8m0_to_f32(code)) * 0.5f * weights->global;
}

static float bias_of(const gmm_weights *weights, gmm_row row, int64_t group)
{
    return weights->format->has_biases ? gmm_load_float(weights->biases_dtype, row.biases, group) : 0;
}

/* The scale of a group of x, and its codes. */
static float round_group(const float *x, int64_t size, int *codes)
{
    float most = 0;

    for (int64_t i = 0; i < size; i++) {
        codes[i] = 0;
        most = fabsf(x[i]) > most || isnan(x[i]) ? fabsf(x[i]) : most;
        if (!isfinite(x[i]))
            most = NAN;
        if (isnan(most))
            break;
    }
    for (int64_t i = 0; i < size && isnan(most); i++)
        codes[i] = 0;
    if (!(most >= 0x1p-119f))
        return isnan(most) ? most : 0;
    for (int64_t i = 0; i < size; i++)
        codes[i] = (int)nearbyintf(x[i] * (127 / most));
    return most / 127;
}

/* One element, and how far it may be from the product of x and w. */
static float contract_sum(const gmm_weights *weights, gmm_row row, int64_t k, const float *x, double *exact,
                          double *bound)
{
    const int64_t size = weights->group_size, groups = k / size;
    const double u = 0x1p-24, n = (double)(groups + 4) * u;
    double off = 0, magnitude = 0, tiny = 0;
    float sum = 0;
    int codes[128];

    *exact = 0;
    for (int64_t g = 0; g < groups; g++) {
        float x_scale = round_group(x + g * size, size, codes);
        float scale = scale_of(weights, row, g), bias = bias_of(weights, row, g);
        int64_t products = 0, total = 0;
        double most = 0, weight_sum = 0;
        for (int64_t i = 0; i < size; i++) {
            int integer = integer_of(weights, row.codes, g * size + i);
            double weight = (double)scale * integer + (double)bias, element = (double)x[g * size + i];
            products += integer * codes[i];
            total += codes[i];
            *exact += element * weight;
            weight_sum += fabs(weight);
            most = fabs(element) > most ? fabs(element) : most;
        }
        off += (most * (1.0 / 254 + 0x1p-22) + (x_scale > 0 ? 0 : most)) * weight_sum;
        magnitude += (double)x_scale * (fabs((double)scale * (double)products) + fabs((double)bias * (double)total));
        tiny += ((double)x_scale + 1) * 0x1p-148;
        float term = scale * (float)products;
        if (weights->format->has_biases)
            term = fmaf(bias, (float)total, term);
        sum = fmaf(x_scale, term, sum);
    }
    *bound = off + n / (1 - n) * magnitude + tiny;
    return sum;
}

/* ---- problems ---- */

static void make_weights(problem *p, gmm_random *random, check_values values, gmm_guard_side side, uint8_t scale)
{
    const gmm_weights *weights = &p->weights;
    size_t shift = (size_t)gmm_random_between(random, 0, 63);

    check_rows_make(&p->codes, random, p->columns, check_code_bytes(weights, p->k), side, shift);
    check_rows_make(&p->scales, random, p->columns, check_scale_bytes(weights, p->k), side, shift / 2);
    check_rows_make(&p->biases, random, p->columns, check_bias_bytes(weights, p->k), side, shift / 3);
    p->w = (gmm_rows){
        .first = {.codes = p->codes.first,
                  .scales = p->scales.first,
                  .biases = weights->format->has_biases ? p->biases.first : NULL},
        .code_bytes = p->codes.step,
        .scale_bytes = p->scales.step,
        .bias_bytes = p->biases.step,
    };
    for (int64_t c = 0; c < p->columns; c++) {
        check_weights_fill(random, weights, values, p->k, gmm_row_at(&p->w, c));
        if (scale)
            memset(check_rows_at(&p->scales, c), scale, (size_t)check_scale_bytes(weights, p->k));
    }
}

/* Magnitudes of groups differ; some are tiny. */
static void make_x(problem *p, gmm_random *random, check_values values, gmm_guard_side side)
{
    check_rows_make(&p->x, random, p->rows, p->k * (int64_t)sizeof(float), side, 0);
    for (int64_t r = 0; r < p->rows; r++) {
        float *x = (float *)(void *)check_rows_at(&p->x, r);
        check_floats_fill(random, values, p->k, x);
        for (int64_t g = 0; g < p->groups; g++) {
            float factor = ldexpf(1, (int)gmm_random_between(random, -8, 8));
            if (gmm_random_chance(random, 5))
                factor = gmm_random_chance(random, 50) ? 0 : ldexpf(1, (int)gmm_random_between(random, -140, -110));
            for (int64_t i = 0; i < p->weights.group_size; i++)
                x[g * p->weights.group_size + i] *= factor;
        }
    }
}

/* Sums as far from 0 as they can be, where arithmetic of too few bits would saturate or wrap. */
static void make_largest(problem *p, gmm_random *random)
{
    static const uint8_t codes[] = {0xff, 0, 0x77}; /* 0x77: twice the largest E2M1 value */

    for (int64_t c = 0; c < p->columns; c++)
        memset(check_rows_at(&p->codes, c), codes[gmm_random_between(random, 0, 2)],
               (size_t)check_code_bytes(&p->weights, p->k));
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t i = 0; i < p->k; i++)
            ((float *)(void *)check_rows_at(&p->x, r))[i] = r % 2 ? 0.25f : -3;
}

/* Round x by the kernel, and compare. */
static void check_rounded(const gmm_kernel *kernel, problem *p, gmm_random *random, gmm_guard_side side)
{
    int codes[128];

    check_rows_make(&p->x_codes, random, p->rows, p->k, side, (size_t)gmm_random_between(random, 0, 63));
    float *scales = check_floats(&p->x_scales, p->rows * p->groups);
    float *sums = check_floats(&p->x_sums, p->rows * p->groups);
    for (int64_t r = 0; r < p->rows; r++) {
        const float *x = (const float *)(const void *)check_rows_at(&p->x, r);
        gmm_int8_row row = {.codes = (int8_t *)check_rows_at(&p->x_codes, r),
                            .scales = scales + r * p->groups,
                            .sums = sums + r * p->groups};
        p->rounded[r] = row;
        kernel->int8->quantize(x, p->k, p->weights.group_size, &row);
        for (int64_t g = 0; g < p->groups; g++) {
            float scale = round_group(x + g * p->weights.group_size, p->weights.group_size, codes);
            int sum = 0;
            for (int64_t i = 0; i < p->weights.group_size; i++) {
                sum += codes[i];
                if (row.codes[g * p->weights.group_size + i] != codes[i])
                    check_fail("row %lld, element %lld of group %lld is rounded to %d, not %d", (long long)r,
                               (long long)i, (long long)g, row.codes[g * p->weights.group_size + i], codes[i]);
            }
            if (!check_same(row.scales[g], scale) || !check_same(row.sums[g], (float)sum))
                check_fail("row %lld, group %lld has scale %.9g and sum %g, not %.9g and %d", (long long)r,
                           (long long)g, (double)row.scales[g], (double)row.sums[g], (double)scale, sum);
        }
    }
}

static void pack_tiles(const gmm_kernel *kernel, problem *p, gmm_guard_side side)
{
    int64_t tiles = gmm_tile_count(p->rows, kernel->mr);

    gmm_guarded_make(&p->tile_codes, (size_t)(p->rows * p->k), side, 0);
    p->tiles = (gmm_int8_tiles){.k = p->k,
                                .codes = (int8_t *)p->tile_codes.data,
                                .factors = check_floats(&p->tile_factors, p->rows * p->groups * 2)};
    for (int64_t t = 0; t < tiles; t++) {
        int64_t row = gmm_tile_begin(p->rows, tiles, t);
        gmm_int8_tiles tile = p->tiles;
        tile.codes += row * p->k;
        tile.factors += 2 * row * p->groups;
        kernel->int8->pack(p->rounded + row, gmm_tile_begin(p->rows, tiles, t + 1) - row, &p->weights, &tile);
    }
    if (!gmm_guarded_intact(&p->tile_codes) || !gmm_guarded_intact(&p->tile_factors))
        check_fail("pack writes before its tiles");
}

static void make_problem(problem *p, gmm_random *random, const gmm_kernel *kernel, check_values values, uint8_t scale)
{
    gmm_guard_side side = gmm_random_chance(random, 50) ? GMM_GUARD_AFTER : GMM_GUARD_BEFORE;
    double exact, bound;
    char text[128];

    p->groups = p->k / p->weights.group_size;
    check_case("%lld rows, %lld columns, k = %lld, %s, scale %d, %s", (long long)p->rows, (long long)p->columns,
               (long long)p->k, check_values_text(values), scale, check_weights_text(&p->weights, text, sizeof text));
    make_weights(p, random, values, side, scale);
    make_x(p, random, values, side);
    if (p->largest)
        make_largest(p, random);
    check_rounded(kernel, p, random, side);
    pack_tiles(kernel, p, side);
    p->want = check_allocate(p->rows * p->columns, sizeof(float));
    for (int64_t i = 0; i < p->rows * p->columns; i++) {
        p->want[i] = contract_sum(&p->weights, gmm_row_at(&p->w, i % p->columns), p->k,
                                  (const float *)(const void *)check_rows_at(&p->x, i / p->columns), &exact, &bound);
        if (values == CHECK_TAME && !(fabs((double)p->want[i] - exact) <= bound))
            check_fail("%.9g is %.3g from %.9g; the bound is %.3g", (double)p->want[i],
                       fabs((double)p->want[i] - exact), exact, bound);
    }
}

static void free_problem(problem *p)
{
    check_rows *rows[] = {&p->x, &p->x_codes, &p->codes, &p->scales, &p->biases};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_rows_free(rows[i]);
    gmm_guarded *guarded[] = {&p->x_scales, &p->x_sums, &p->tile_codes, &p->tile_factors};
    for (size_t i = 0; i < sizeof guarded / sizeof guarded[0]; i++)
        gmm_guarded_free(guarded[i]);
    free(p->want);
}

static gmm_rows rows_from(const gmm_rows *rows, int64_t i)
{
    gmm_rows from = *rows;

    from.first = gmm_row_at(rows, i);
    return from;
}

/* Some columns of row `row` and, if the kernel can, of those that follow. */
static void check_dot(const gmm_kernel *kernel, const problem *p, int64_t row, int64_t column, int64_t columns)
{
    int64_t most = gmm_int8_dot_rows(kernel->int8, p->weights.bits), rows = p->rows - row < most ? p->rows - row : most;
    gmm_guarded out;
    /* What is behind the last row's sums is not written. */
    float *at = check_floats(&out, (rows - 1) * (columns + 1) + columns);

    kernel->int8->dot(&(gmm_int8_dot){.weights = &p->weights,
                                      .w = rows_from(&p->w, column),
                                      .columns = columns,
                                      .k = p->k,
                                      .rows = rows,
                                      .x = p->rounded + row,
                                      .out = at,
                                      .out_stride = columns + 1});
    for (int64_t r = 0; r < rows; r++)
        check_all_same(at + r * (columns + 1), p->want + (row + r) * p->columns + column, columns,
                       "the contract says (dot)");
    if (!gmm_guarded_intact(&out))
        check_fail("dot writes before out");
    gmm_guarded_free(&out);
}

/* Some columns of the first `rows` rows. */
static void check_few(const gmm_kernel *kernel, const problem *p, int64_t rows, int64_t column, int64_t columns)
{
    gmm_guarded codes, out, memory;
    float *factors = check_floats(&memory, rows * p->groups * 2);

    /* What is behind the last row's sums is not written. */
    float *at = check_floats(&out, (rows - 1) * GMM_PANEL + columns);
    gmm_guarded_make(&codes, (size_t)(rows * p->k), GMM_GUARD_AFTER, 0);
    gmm_int8_tiles x = {.k = p->k, .codes = (int8_t *)codes.data, .factors = factors};
    kernel->int8->pack_few(p->rounded, rows, &p->weights, &x);
    kernel->int8->few(&(gmm_int8_few){.weights = &p->weights,
                                      .w = rows_from(&p->w, column),
                                      .columns = columns,
                                      .k = p->k,
                                      .rows = rows,
                                      .x = x,
                                      .out = at});
    for (int64_t r = 0; r < rows; r++)
        check_all_same(at + r * GMM_PANEL, p->want + r * p->columns + column, columns, "the contract says (few)");
    if (!gmm_guarded_intact(&out))
        check_fail("few writes before out");
    gmm_guarded_free(&codes);
    gmm_guarded_free(&memory);
    gmm_guarded_free(&out);
}

/* As many rows as there are, up to a random number. */
static void check_some_few(const gmm_kernel *kernel, const problem *p, gmm_random *random, int64_t column,
                           int64_t columns)
{
    int64_t most = p->rows < GMM_INT8_MOST_FEW ? p->rows : GMM_INT8_MOST_FEW;

    if (kernel->int8->few && p->weights.bits == GMM_INT8_FEW_BITS && most >= 2)
        check_few(kernel, p, gmm_random_between(random, 2, most), column, columns < GMM_PANEL ? columns : GMM_PANEL);
}

/* A block of K of a panel and all rows. */
static void run_block(const gmm_kernel *kernel, const problem *p, int64_t column, int64_t columns, int64_t begin,
                      int64_t end, float *sums)
{
    int64_t k = end - begin, groups = k / p->weights.group_size;
    gmm_guarded codes, scales, biases;
    gmm_int8_panel panel = {
        .weights = &p->weights, .w = rows_from(&p->w, column), .columns = columns, .begin = begin, .k = k};
    gmm_ahead ahead = {.parts[0] = {.rows = k % 3, .row_bytes = 100, .lines = 1 + k % 7}};

    gmm_guarded_make(&codes, (size_t)(k * GMM_PANEL), GMM_GUARD_AFTER, 0);
    memset(codes.data, 0xa5, codes.size_bytes);
    panel.codes = (uint8_t *)codes.data;
    panel.scales = check_floats(&scales, groups * GMM_PANEL);
    panel.biases = check_floats(&biases, groups * GMM_PANEL);
    ahead.parts[0].row = codes.map; /* nobody may read it */
    gmm_ahead_begin(&ahead, 1 + k % 5);
    kernel->int8->fill(&panel);
    kernel->int8->outer(
        &(gmm_int8_outer){.panel = &panel, .rows = p->rows, .x = p->tiles, .sums = sums, .ahead = &ahead});
    if (!gmm_guarded_intact(&codes) || !gmm_guarded_intact(&scales) || !gmm_guarded_intact(&biases))
        check_fail("writes before its panel");
    gmm_guarded_free(&codes);
    gmm_guarded_free(&scales);
    gmm_guarded_free(&biases);
}

/* All rows, a panel, in one block of K or several. */
static void check_outer_body(const gmm_kernel *kernel, const problem *p, gmm_random *random, int64_t column)
{
    int64_t columns = p->columns - column < GMM_PANEL ? p->columns - column : GMM_PANEL, ends[4];
    gmm_guarded memory;
    float *sums = check_floats(&memory, p->rows * GMM_PANEL);

    memset(sums, 0, memory.size_bytes);
    check_outer_cut(random, p->k, 128, ends);
    for (int64_t begin = 0, block = 0; begin < p->k; begin = ends[block++])
        run_block(kernel, p, column, columns, begin, ends[block], sums);
    for (int64_t r = 0; r < p->rows; r++)
        check_all_same(sums + r * GMM_PANEL, p->want + r * p->columns + column, columns, "the contract says (outer)");
    if (!gmm_guarded_intact(&memory))
        check_fail("outer writes before its sums");
    gmm_guarded_free(&memory);
}

static void check_both(const gmm_kernel *kernel, const problem *p, gmm_random *random)
{
    int64_t column = gmm_random_between(random, 0, p->columns - 1);

    check_dot(kernel, p, gmm_random_between(random, 0, p->rows - 1), 0, p->columns);
    check_dot(kernel, p, gmm_random_between(random, 0, p->rows - 1), column,
              gmm_random_between(random, 1, p->columns - column));
    check_some_few(kernel, p, random, 0, p->columns);
    check_some_few(kernel, p, random, column, p->columns - column);
    check_outer_body(kernel, p, random, 0);
    check_outer_body(kernel, p, random, column);
}

void check_int8_lengths(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "int8_lengths", &random);
    problem p = {0};

    for (int i = 0; check_weights_at(kernel, i, &p.weights); i++)
        for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
            if (!check_weights_wanted(&random, i))
                continue;
            p.k = lengths[l] * p.weights.group_size;
            p.rows = gmm_random_between(&random, 1, p.k > 2000 ? 3 : 14);
            p.columns = gmm_random_between(&random, 1, p.k > 2000 ? 20 : MOST_COLUMNS);
            make_problem(&p, &random, kernel, (l + (size_t)i) % 2 ? CHECK_WILD : CHECK_TAME, 0);
            check_both(kernel, &p, &random);
            free_problem(&p);
        }
}

void check_int8_shapes(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "int8_shapes", &random);
    problem p = {0};

    for (int64_t rows = 1; rows <= MOST_ROWS; rows++) {
        int i = (int)gmm_random_between(&random, 0, 17);
        while (!check_weights_at(kernel, i, &p.weights))
            i /= 2;
        p.rows = rows;
        p.k = p.weights.group_size * gmm_random_between(&random, 1, 9);
        p.columns = MOST_COLUMNS;
        make_problem(&p, &random, kernel, CHECK_TAME, 0);
        check_outer_body(kernel, &p, &random, 0);
        for (int64_t columns = 1; columns <= MOST_COLUMNS; columns++) {
            check_dot(kernel, &p, gmm_random_between(&random, 0, rows - 1), 0, columns);
            check_some_few(kernel, &p, &random, MOST_COLUMNS - columns, columns);
            check_outer_body(kernel, &p, &random, MOST_COLUMNS - columns);
        }
        free_problem(&p);
    }
}

/* Scales of a single byte: every one of them. */
void check_int8_scales(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "int8_scales", &random);
    problem p = {.rows = 2, .columns = 2};

    for (int i = 0; check_weights_at(kernel, i, &p.weights); i++)
        for (int scale = 1; scale < 256 && p.weights.scales_dtype == GMM_U8; scale++) {
            p.k = p.weights.group_size * (1 + scale % 3);
            make_problem(&p, &random, kernel, CHECK_WILD, (uint8_t)scale);
            check_both(kernel, &p, &random);
            free_problem(&p);
        }
}

void check_int8_largest(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "int8_largest", &random);
    problem p = {.rows = 7, .columns = 20, .largest = true};

    for (int i = 0; check_weights_at(kernel, i, &p.weights); i++)
        for (p.k = p.weights.group_size; p.k <= 3 * p.weights.group_size; p.k += p.weights.group_size) {
            make_problem(&p, &random, kernel, CHECK_TAME, 0);
            check_both(kernel, &p, &random);
            free_problem(&p);
        }
}
