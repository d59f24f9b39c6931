/* check_tile.c - tile sums: the contract's, to the bit, where they are finite. */
/* SPDX-License-Identifier: MIT */
#include "cmocka_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/prepared_weights.h"
#include "formats/numbers.h"
#include "formats/packed.h"
#include "kernel_check.h"
#include "kernels/tile.h"

enum {
    MOST_ROWS = 40,
    MOST_COLUMNS = 70,
    PANEL_BLOCK = 128 /* of prepared weights: the smallest that there is */
};

/* The operands, each row between guard pages, and what must come out. */
typedef struct {
    gmm_weights weights;
    int64_t rows, columns, k;
    int32_t parts;
    gmm_tile_order order;
    check_rows codes, scales, biases;
    gmm_guarded x_memory, w_memory, prepared;
    float *x, *w; /* [rows][k] and [columns][k] */
    float *want;  /* [rows][columns] */
} problem;

/* ---- the contract, operation by operation ---- */

/* Subnormal operands and results are zeros. */
static float flushed(float value)
{
    return fabsf(value) < 0x1p-126f ? copysignf(0, value) : value;
}

/* The part of x with its first eight significant bits; *rest is what is left. */
static float upper_part(float x, float *rest)
{
    float part = gmm_f32_from_bits(gmm_f32_bits(x) & 0xffff0000);

    *rest = isfinite(x) ? x - part : 0;
    return part;
}

/* x w + sum. */
static float step(const float *x, const float *w, int64_t i, int64_t k, float sum)
{
    return flushed(fmaf(i < k ? flushed(x[i]) : 0, i < k ? flushed(w[i]) : 0, sum));
}

static float even_odd_sum(int64_t k, const float *x, const float *w)
{
    float sum = 0;

    for (int64_t begin = 0; begin < k; begin += GMM_TILE_BLOCK) {
        float even = 0, odd = 0;
        for (int64_t i = begin; i < begin + GMM_TILE_BLOCK; i += 2) {
            even = step(x, w, i, k, even);
            odd = step(x, w, i + 1, k, odd);
        }
        sum = flushed(sum + flushed(even + odd));
    }
    return sum;
}

static float pairs_sum(int64_t k, const float *x, const float *w)
{
    float sum = 0;

    for (int64_t begin = 0; begin < k; begin += GMM_TILE_CHAIN) {
        float chain = 0;
        for (int64_t i = begin; i < begin + GMM_TILE_CHAIN && i < k; i += 2)
            chain = step(x, w, i, k, step(x, w, i + 1, k, chain));
        sum = sum + chain;
    }
    return sum;
}

/* What is subtracted from affine codes. */
static float center_of(const gmm_weights *weights)
{
    return (float)((1 << weights->bits) - 1) / 2;
}

/* Element i of a row of codes; E4M3 times 2^9; affine ones less the center. */
static float code_value(const gmm_weights *weights, const uint8_t *codes, int64_t i)
{
    int32_t code = 0;

    for (int32_t bit = 0; bit < weights->bits; bit++) {
        int64_t at = i * weights->bits + bit;
        code |= (codes[at / 8] >> at % 8 & 1) << bit;
    }
    if (weights->format->has_biases)
        return (float)code - center_of(weights);
    return weights->bits == 8 ? gmm_e4m3_to_f32((uint8_t)code) * 0x1p9f : gmm_e2m1_to_f32((uint32_t)code);
}

/* What multiplies the codes of group g. */
static float scale_of(const problem *p, int64_t column, int64_t g)
{
    const uint8_t *scales = (const uint8_t *)check_rows_at(&p->scales, column);

    if (p->weights.format->has_biases)
        return gmm_load_float(p->weights.scales_dtype, scales, g);
    return p->weights.format->has_global_scale ? gmm_e4m3_to_f32(scales[g])
                                               : gmm_e8m0_to_f32(scales[g]) * (p->weights.bits == 8 ? 0x1p-9f : 1);
}

/* What is added to them, rounded; NaN if the group's weights may overflow. */
static float middle_of(const problem *p, int64_t column, int64_t g)
{
    float bias = gmm_load_float(p->weights.biases_dtype, check_rows_at(&p->biases, column), g);
    float scale = scale_of(p, column, g), center = center_of(&p->weights), middle = fmaf(center, scale, bias);

    return fabsf(middle) + fabsf(center * scale) < 0x1p127f ? middle : NAN;
}

/* The products of each group, or of 32 elements of it, are added up before they are scaled. */
static float groups_sum(const problem *p, const float *x, int64_t column)
{
    const uint8_t *codes = (const uint8_t *)check_rows_at(&p->codes, column);
    int64_t size = p->order == GMM_TILE_CENTERED ? GMM_TILE_BLOCK : p->weights.group_size;
    int64_t apart = 1; /* the elements of a pair: so many that their bits are an odd multiple of 16 */
    float sum = 0, ones[GMM_TILE_BLOCK];

    while (apart * p->weights.bits % 32 != 16)
        apart++;
    for (int i = 0; i < GMM_TILE_BLOCK; i++)
        ones[i] = 1;
    for (int64_t begin = 0; begin < p->k; begin += size) {
        int64_t g = begin / p->weights.group_size;
        float group = 0;
        for (int64_t i = 0; i < size; i += 1 + (i % (2 * apart) == apart - 1) * apart) {
            const float pair[2] = {x[begin + i], x[begin + i + apart]};
            const float w[2] = {code_value(&p->weights, codes, begin + i),
                                code_value(&p->weights, codes, begin + i + apart)};
            group = step(pair, w, 0, 2, step(pair, w, 1, 2, group));
        }
        sum = fmaf(scale_of(p, column, g), group, sum);
        if (p->order == GMM_TILE_CENTERED)
            sum = fmaf(middle_of(p, column, g), check_contract_sum(true, GMM_CLASSES, size, x + begin, ones), sum);
    }
    return sum;
}

/* Fail unless a centered sum is as near to the exact one as docs/numerics.md says. */
static void check_centered_bound(const problem *p, const float *x, int64_t column, float got)
{
    const uint8_t *codes = (const uint8_t *)check_rows_at(&p->codes, column);
    double exact = 0, size = 0, reaches = 0, n = ((double)p->k + 6) * 0x1p-24;

    for (int64_t k = 0; k < p->k; k++) {
        int64_t g = k / p->weights.group_size;
        double scale = (double)scale_of(p, column, g), center = (double)center_of(&p->weights);
        double middle =
            center * scale + (double)gmm_load_float(p->weights.biases_dtype, check_rows_at(&p->biases, column), g);
        double part = scale * (double)code_value(&p->weights, codes, k);
        double reach = center * fabs(scale) + fabs(middle);
        exact += (double)x[k] * (part + middle);
        size += fabs((double)x[k]) * reach;
        reaches += reach;
    }
    double bound = n / (1 - n) * size + 3 * reaches * 0x1p-126 + ((double)p->k + 2) * 0x1p-149;
    if (!(fabs((double)got - exact) <= bound))
        check_fail("%.9g is %.3g from %.9g; the bound is %.3g", (double)got, fabs((double)got - exact), exact, bound);
}

static float contract_sum(const problem *p, int64_t row, int64_t column)
{
    float *rest = check_allocate(p->k, sizeof *rest), *part = check_allocate(p->k, sizeof *part);
    float sums[3] = {0}, sum;

    memcpy(rest, p->x + row * p->k, (size_t)p->k * sizeof *rest);
    for (int32_t i = 0; i < p->parts; i++) {
        for (int64_t k = 0; k < p->k; k++)
            part[k] = upper_part(rest[k], &rest[k]);
        if (p->order == GMM_TILE_GROUPS || p->order == GMM_TILE_CENTERED)
            sums[i] = groups_sum(p, part, column);
        else
            sums[i] = (p->order == GMM_TILE_PAIRS ? pairs_sum : even_odd_sum)(p->k, part, p->w + column * p->k);
    }
    sum = sums[p->parts - 1];
    for (int32_t i = p->parts - 2; i >= 0; i--)
        sum = sum + sums[i];
    free(rest);
    free(part);
    return sum;
}

/* ---- problems ---- */

/* The weights in blocks, panel after panel. */
static void prepare(problem *p)
{
    int64_t panels = (p->columns + GMM_PANEL - 1) / GMM_PANEL, panel = gmm_panel_elements(true, p->k);

    gmm_guarded_make(&p->prepared, (size_t)(panels * panel * 2), GMM_GUARD_AFTER, 0);
    for (int64_t c = 0; c < p->columns; c += GMM_PANEL)
        for (int64_t k = 0; k < p->k; k += PANEL_BLOCK) {
            const float *w[GMM_PANEL];
            int64_t columns = p->columns - c < GMM_PANEL ? p->columns - c : GMM_PANEL;
            for (int64_t i = 0; i < columns; i++)
                w[i] = p->w + (c + i) * p->k;
            check_prepare_block(GMM_BF16, GMM_CLASSES, k, k + PANEL_BLOCK < p->k ? k + PANEL_BLOCK : p->k, w, columns,
                                p->prepared.data + 2 * (c / GMM_PANEL * panel + k * GMM_PANEL));
        }
    gmm_guarded_seal(&p->prepared);
}

/* Scales of a byte, powers of two, that take products with numbers near 2^`shift` to where they overflow, or are
 * flushed. A kernel may scale by them before it adds up or after, if that is the same. */
static void scale_to_limits(const problem *p, gmm_random *random, int64_t column, int64_t shift)
{
    uint8_t *scales = (uint8_t *)(uintptr_t)check_rows_at(&p->scales, column);
    int64_t limit = gmm_random_chance(random, 50) ? gmm_random_between(random, -126, -86) : 119,
            middle = 127 + limit - shift;

    for (int64_t g = 0; g < p->k / p->weights.group_size; g++) {
        int64_t code = middle + gmm_random_between(random, -1, 1) * gmm_random_between(random, 0, 9);
        scales[g] = (uint8_t)(code < 0 ? 0 : code > 254 ? 254 : code);
    }
}

static void make_problem(problem *p, gmm_random *random, check_values values)
{
    bool has_powers = p->weights.format->quantized && !p->weights.format->has_biases && p->weights.group_size == 32;
    bool limits = has_powers && values == CHECK_WILD && gmm_random_chance(random, 50);
    int64_t shift = gmm_random_between(random, -130, 120);
    gmm_guard_side side = gmm_random_chance(random, 50) ? GMM_GUARD_AFTER : GMM_GUARD_BEFORE;
    char text[128];

    check_case("%lld rows in %d parts, %lld columns, k = %lld, %s, %s", (long long)p->rows, (int)p->parts,
               (long long)p->columns, (long long)p->k, check_values_text(values),
               check_weights_text(&p->weights, text, sizeof text));
    check_rows_make(&p->codes, random, p->columns, check_code_bytes(&p->weights, p->k), side,
                    (size_t)gmm_random_between(random, 0, 63));
    check_rows_make(&p->scales, random, p->columns, check_scale_bytes(&p->weights, p->k), side,
                    (size_t)gmm_random_between(random, 0, 63));
    check_rows_make(&p->biases, random, p->columns, check_bias_bytes(&p->weights, p->k), side,
                    (size_t)gmm_random_between(random, 0, 63));
    p->w = check_floats(&p->w_memory, p->columns * p->k);
    for (int64_t c = 0; c < p->columns; c++) {
        gmm_row row = {.codes = check_rows_at(&p->codes, c),
                       .scales = check_rows_at(&p->scales, c),
                       .biases = check_rows_at(&p->biases, c)};
        check_weights_fill(random, &p->weights, values, p->k, row);
        if (limits)
            scale_to_limits(p, random, c, shift);
        p->weights.format->decode(&p->weights, row, 0, p->k, p->w + c * p->k);
    }
    p->x = check_floats(&p->x_memory, p->rows * p->k);
    check_floats_fill(random, limits ? CHECK_TAME : values, p->rows * p->k, p->x);
    for (int64_t i = 0; i < p->rows * p->k && limits; i++)
        p->x[i] = ldexpf(p->x[i], (int)shift);
    for (int64_t i = 0; i < p->rows * p->k && p->parts < 3; i++)
        p->x[i] =
            p->parts == 1 ? gmm_bf16_to_f32(gmm_bf16_from_f32(p->x[i])) : gmm_f16_to_f32(gmm_f16_from_f32(p->x[i]));
    if (!p->weights.format->quantized)
        prepare(p);
    p->want = check_allocate(p->rows * p->columns, sizeof(float));
    for (int64_t i = 0; i < p->rows * p->columns; i++) {
        const float *x = p->x + i / p->columns * p->k;
        p->want[i] = contract_sum(p, i / p->columns, i % p->columns);
        if (values == CHECK_TAME && p->order == GMM_TILE_CENTERED)
            check_centered_bound(p, x, i % p->columns, p->want[i]);
        else if (values == CHECK_TAME)
            check_bound(p->k, x, p->w + i % p->columns * p->k, p->want[i]);
    }
}

static void free_problem(problem *p)
{
    check_rows_free(&p->codes);
    check_rows_free(&p->scales);
    check_rows_free(&p->biases);
    gmm_guarded_free(&p->x_memory);
    gmm_guarded_free(&p->w_memory);
    if (!p->weights.format->quantized)
        gmm_guarded_free(&p->prepared);
    free(p->want);
}

/* Rows from `row` on, packed in pieces of random lengths. */
static gmm_tile_rows pack_rows(const gmm_kernel *kernel, const problem *p, gmm_random *random, int64_t row,
                               int64_t rows, gmm_guarded *memory)
{
    gmm_tile_rows x = gmm_tile_rows_for(p->order, &p->weights, p->k, rows, p->parts);
    int64_t tiles = gmm_tile_count(rows, x.rows);

    gmm_guarded_make(memory, (size_t)(tiles * gmm_tile_bytes(&x)), GMM_GUARD_AFTER, 0);
    memset(memory->data, 0xff, memory->size_bytes);
    x.pairs = memory->data;
    for (int64_t tile = 0; tile < tiles; tile++)
        for (int64_t k = 0, count; k < p->k; k += count) {
            const float *from[GMM_TILE];
            int64_t first = tile * x.rows, there = rows - first < x.rows ? rows - first : x.rows;
            count = gmm_random_between(random, 1, 5) * GMM_TILE_BLOCK;
            count = count < p->k - k ? count : p->k - k;
            for (int64_t r = 0; r < there; r++)
                from[r] = p->x + (row + first + r) * p->k + k;
            kernel->tile->pack(
                &(gmm_tile_pack){.to = &x, .tile = tile, .begin = k, .count = count, .rows = there, .from = from});
        }
    if (!gmm_guarded_intact(memory))
        check_fail("pack writes before its tiles");
    return x;
}

/* Sums that are not finite are to be seen as such; what they are is for another body to say. */
static void compare(const float *got, const float *want, int64_t columns, const char *what)
{
    for (int64_t c = 0; c < columns; c++)
        if (isfinite(want[c]) ? !check_same(got[c], want[c]) : isfinite(got[c]))
            check_fail("column %lld is %.9g; %s: %.9g", (long long)c, (double)got[c], what, (double)want[c]);
}

static void check_some(const gmm_kernel *kernel, const problem *p, gmm_random *random, int64_t row, int64_t rows,
                       int64_t column, int64_t columns, bool prepared)
{
    gmm_guarded pairs, scratch, out;
    gmm_tile_rows x = pack_rows(kernel, p, random, row, rows, &pairs);
    /* What is behind the last row's sums is not written. */
    float *at = check_floats(&out, (rows - 1) * (columns + 1) + columns);
    gmm_tile_call call = {
        .weights = &p->weights,
        .w = {.first.codes = check_rows_at(&p->codes, column), .code_bytes = p->codes.step},
        .columns_after = p->columns - column - columns,
        .panel_block = PANEL_BLOCK,
        .columns = columns,
        .k = p->k,
        .rows = rows,
        .x = &x,
        .out = at,
        .out_stride = columns + 1,
    };

    if (p->weights.format->quantized) {
        call.w.first.scales = check_rows_at(&p->scales, column);
        call.w.scale_bytes = p->scales.step;
    }
    if (p->weights.format->has_biases) {
        call.w.first.biases = check_rows_at(&p->biases, column);
        call.w.bias_bytes = p->biases.step;
    }
    if (prepared)
        call.prepared = p->prepared.data + column / GMM_PANEL * gmm_panel_elements(true, p->k) * 2;
    gmm_guarded_make(&scratch, (size_t)kernel->tile->scratch_bytes(gmm_tile_count(rows, x.rows)), GMM_GUARD_AFTER, 0);
    memset(scratch.data, 0xff, scratch.size_bytes);
    call.scratch = scratch.data;
    kernel->tile->multiply(&call);
    for (int64_t r = 0; r < rows; r++)
        compare(at + r * (columns + 1), p->want + (row + r) * p->columns + column, columns,
                prepared ? "the contract says (prepared)" : "the contract says");
    if (!gmm_guarded_intact(&scratch) || !gmm_guarded_intact(&out))
        check_fail("multiply writes before its scratch or out");
    gmm_guarded_free(&pairs);
    gmm_guarded_free(&scratch);
    gmm_guarded_free(&out);
}

/* All of it, and some rows and columns, in both layouts if there are two. Prepared ones begin with a panel. */
static void check_all(const gmm_kernel *kernel, const problem *p, gmm_random *random)
{
    for (int prepared = 0; prepared < (p->weights.format->quantized ? 1 : 2); prepared++) {
        int64_t row = gmm_random_between(random, 0, p->rows - 1);
        int64_t column = gmm_random_between(random, 0, p->columns - 1);
        column -= prepared ? column % GMM_PANEL : 0;
        check_some(kernel, p, random, 0, p->rows, 0, p->columns, prepared);
        check_some(kernel, p, random, row, gmm_random_between(random, 1, p->rows - row), column,
                   gmm_random_between(random, 1, p->columns - column), prepared);
    }
}

/* Any of the weights that the kernel reads. */
static void choose_weights(const gmm_kernel *kernel, gmm_random *random, gmm_weights *weights)
{
    int count = 0;

    while (check_weights_at(kernel, count, weights))
        count++;
    if (!weights->format->quantized || !weights->format->has_biases)
        count = 1; /* the others are for decoders */
    assert_true(check_weights_at(kernel, (int)gmm_random_between(random, 0, count - 1), weights));
}

/* K: so many groups if the weights have any, else `k`. */
static int64_t in_groups(const gmm_weights *weights, int64_t groups, int64_t k)
{
    int64_t step = check_weights_step(weights);

    return step > 1 ? step * groups : k;
}

void check_tile_lengths(void **state)
{
    static const int64_t long_ones[] = {255, 256, 257, 384, 512, 544, 767, 768, 1000, 2048};
    enum {
        SHORT = 170,
        LONG = sizeof long_ones / sizeof long_ones[0]
    };
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "tile_lengths", &random);
    problem p = {.order = kernel->tile->order};
    int cases = SHORT + LONG;

    choose_weights(kernel, &random, &p.weights);
    cases *= p.weights.format->has_biases ? 4 : 1; /* of many bits, groups and types */
    for (int at = 0; at < cases; at++) {
        int i = at % (SHORT + LONG);
        if (i >= SHORT && !gmm_test_wanted(&random))
            continue;
        choose_weights(kernel, &random, &p.weights);
        p.k = i < SHORT ? i + 1 : long_ones[i - SHORT];
        p.k = in_groups(&p.weights, i < SHORT ? p.k % 40 + 1 : p.k / 16, p.k);
        p.parts = (int32_t)gmm_random_between(&random, 1, kernel->tile->most_parts);
        p.rows = gmm_random_chance(&random, 30) ? 1 : gmm_random_between(&random, 1, p.k > 200 ? 4 : 20);
        p.columns = gmm_random_between(&random, 1, p.k > 200 ? 40 : MOST_COLUMNS);
        make_problem(&p, &random, gmm_random_chance(&random, 50) ? CHECK_WILD : CHECK_TAME);
        check_all(kernel, &p, &random);
        free_problem(&p);
    }
}

void check_tile_shapes(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "tile_shapes", &random);
    problem p = {.order = kernel->tile->order, .columns = MOST_COLUMNS};

    for (p.rows = 1; p.rows <= MOST_ROWS; p.rows++)
        for (p.parts = 1; p.parts <= kernel->tile->most_parts; p.parts++) {
            choose_weights(kernel, &random, &p.weights);
            p.k = gmm_random_between(&random, 1, 5) * 32 - (gmm_random_chance(&random, 50) ? 5 : 0);
            p.k = in_groups(&p.weights, gmm_random_between(&random, 1, 20), p.k);
            make_problem(&p, &random, p.rows % 8 ? CHECK_TAME : CHECK_TINY);
            for (int64_t columns = 1; columns <= MOST_COLUMNS; columns += 1 + columns / 4)
                check_some(kernel, &p, &random, 0, p.rows, MOST_COLUMNS - columns, columns, false);
            check_all(kernel, &p, &random);
            free_problem(&p);
        }
}
