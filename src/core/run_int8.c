/* run_int8.c - items of int8 sums: rows of lhs are rounded once, then multiplied by the dot or the outer body.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "core/run.h"
#include "kernels/int8.h"

enum {
    /* Elements of K that the outer body takes at a time: a multiple of every group. A panel of them, 32 KB, stays in a
     * first-level cache while all rows use it. */
    BLOCK = 1024,
    /* Bytes behind each row of codes: with a power of two from row to row, a tile's rows would compete for the same
     * sets of a cache. */
    ROW_GAP = 64
};

/* Where the parts of an item's scratch lie, in floats, each on a cache line. */
typedef struct {
    gmm_int8_rows x; /* strides only */
    int64_t scales, sums, line, codes, panel_scales, panel_biases, results, copies, copy_bytes, to;
    int64_t all;
} layout;

static int64_t round_up(int64_t value, int64_t step)
{
    return (value + step - 1) / step * step;
}

/* Codes, scales or biases that do not lie one after the other are copied, row by row, before kernels see them. */
static bool copies_rows(const gmm_call *call)
{
    return !gmm_weights_plain(&call->weights);
}

/* True when it overflows. */
static bool lay_out(const gmm_call *call, int64_t rows, layout *at)
{
    const gmm_weights *weights = &call->weights;
    int64_t groups = call->k / weights->group_size, floats, x_floats;

    *at = (layout){0};
    if (call->k > INT64_MAX / (64 * GMM_PANEL))
        return true;
    at->x.code_stride = round_up(call->k, 64) + ROW_GAP;
    at->x.group_stride = round_up(groups, 16);
    if (gmm_mul_overflows(rows, at->x.code_stride / 4 + 2 * at->x.group_stride, &x_floats))
        return true;
    at->scales = rows * at->x.code_stride / 4;
    at->sums = at->scales + rows * at->x.group_stride;
    at->line = at->sums + rows * at->x.group_stride;
    at->codes = at->line + round_up(call->k, 16);
    at->panel_scales = at->codes + BLOCK * GMM_PANEL / 4;
    at->panel_biases = at->panel_scales + BLOCK / weights->group_size * GMM_PANEL;
    at->results = at->panel_biases + BLOCK / weights->group_size * GMM_PANEL;
    at->copies = at->results + rows * GMM_PANEL;
    if (copies_rows(call))
        at->copy_bytes = round_up(call->k * weights->bits / 8, 64) + 2 * 4 * at->x.group_stride;
    at->to = at->copies + GMM_PANEL * at->copy_bytes / 4;
    floats = round_up(rows * (int64_t)(sizeof(char *) / sizeof(float)), 16);
    return gmm_add_overflows(at->to, floats, &at->all);
}

bool gmm_run_int8_scratch(const gmm_call *call, const gmm_plan *plan, int64_t *floats)
{
    layout at;
    bool overflow = lay_out(call, plan->outer_items > 0 ? plan->outer_rows : 1, &at);

    *floats = at.all;
    return overflow;
}

/* `count` elements of `bytes`, `stride` elements apart, one after the other. */
static void copy_run(const void *from, int64_t count, int64_t stride, size_t bytes, char *to)
{
    for (int64_t i = 0; i < count; i++)
        memcpy(to + (size_t)i * bytes, (const char *)from + i * stride * (int64_t)bytes, bytes);
}

/* Weight rows of `columns` columns as kernels want them. */
static gmm_rows plain_rows(const run_job *job, const layout *at, float *scratch, gmm_weights_offsets matrix,
                           int64_t column, int64_t columns)
{
    const gmm_call *call = job->call;
    const gmm_weights *weights = &call->weights;
    int64_t groups = call->k / weights->group_size, codes_end = at->copy_bytes - 2 * 4 * at->x.group_stride;

    if (!at->copy_bytes)
        return weight_rows(job, matrix, column);
    for (int64_t c = 0; c < columns; c++) {
        gmm_row row = weight_row(job, matrix, column + c);
        char *to = (char *)(scratch + at->copies) + c * at->copy_bytes;
        copy_run(row.codes, call->k * weights->bits / 32, weights->code_stride, 4, to);
        copy_run(row.scales, groups, weights->scale_stride, (size_t)call->scales.element_bytes, to + codes_end);
        if (row.biases)
            copy_run(row.biases, groups, weights->bias_stride, (size_t)call->biases.element_bytes,
                     to + codes_end + 4 * at->x.group_stride);
    }
    char *first = (char *)(scratch + at->copies);
    return (gmm_rows){
        .first = {.codes = first,
                  .scales = first + codes_end,
                  .biases = call->biases.ndim >= 0 ? first + codes_end + 4 * at->x.group_stride : NULL},
        .code_bytes = at->copy_bytes,
        .scale_bytes = at->copy_bytes,
        .bias_bytes = at->copy_bytes,
    };
}

/* Round the rows of lhs, and find those of the output. */
static gmm_int8_rows take_rows(const run_job *job, const gmm_item *item, const layout *at, float *scratch)
{
    const gmm_call *call = job->call;
    gmm_int8_rows all = at->x;
    char **to = (char **)(void *)(scratch + at->to);

    all.codes = (int8_t *)scratch;
    all.scales = scratch + at->scales;
    all.sums = scratch + at->sums;
    for (int64_t r = 0; r < item->rows; r++) {
        gmm_int8_rows row = all;
        row.codes += r * all.code_stride;
        row.scales += r * all.group_stride;
        row.sums += r * all.group_stride;
        job->plan->int8->int8->quantize(lhs_floats(job, lhs_row(job, item, r), 0, call->k, scratch + at->line), call->k,
                                        call->weights.group_size, &row);
        to[r] = out_row(job, item, r);
    }
    return all;
}

/* Columns [column, column + columns) of all rows: a panel. `left` is the number of columns from there to the item's
 * end. */
static void outer_panel(const run_job *job, const gmm_item *item, const layout *at, float *scratch,
                        const gmm_int8_rows *x, gmm_weights_offsets matrix, int64_t column, int64_t left)
{
    const gmm_call *call = job->call;
    const gmm_int8 *kernel = job->plan->int8->int8;
    gmm_int8_panel panel = {
        .weights = &call->weights,
        .columns = minimum(GMM_PANEL, left),
        .codes = (uint8_t *)(scratch + at->codes),
        .scales = scratch + at->panel_scales,
        .biases = scratch + at->panel_biases,
    };

    panel.w = plain_rows(job, at, scratch, matrix, column, panel.columns);
    memset(scratch + at->results, 0, (size_t)(item->rows * GMM_PANEL) * sizeof(float)); /* +0 */
    for (int64_t k = 0; k < call->k; k += BLOCK) {
        int64_t next = k + BLOCK,
                steps = gmm_tile_count(item->rows, job->plan->int8->mr) * minimum(BLOCK, call->k - k) / 4;
        gmm_ahead ahead;
        panel.begin = k;
        panel.k = minimum(BLOCK, call->k - k);
        if (next < call->k)
            gmm_look_ahead(job, matrix, column, panel.columns, next, minimum(BLOCK, call->k - next), steps, &ahead);
        else
            gmm_look_ahead(job, matrix, column + GMM_PANEL, minimum(GMM_PANEL, left - GMM_PANEL), 0,
                           minimum(BLOCK, call->k), steps, &ahead);
        kernel->fill(&panel);
        kernel->outer(&(gmm_int8_outer){
            .panel = &panel,
            .rows = item->rows,
            .x = *x,
            .sums = scratch + at->results,
            .ahead = &ahead,
        });
    }
}

void gmm_run_int8_item(const run_job *job, const gmm_item *item, float *scratch)
{
    gmm_weights_offsets matrix = weight_offsets(job, item->group->matrix);
    layout at;

    lay_out(job->call, item->rows, &at);
    gmm_int8_rows x = take_rows(job, item, &at, scratch);
    float *results = scratch + at.results;
    char **to = (char **)(void *)(scratch + at.to);
    for (int64_t c = 0; c < item->columns; c += GMM_PANEL) {
        int64_t column = item->column + c, left = item->columns - c, columns = minimum(GMM_PANEL, left);
        if (item->outer)
            outer_panel(job, item, &at, scratch, &x, matrix, column, left);
        else
            job->plan->int8->int8->dot(&(gmm_int8_dot){
                .weights = &job->call->weights,
                .w = plain_rows(job, &at, scratch, matrix, column, columns),
                .columns = columns,
                .k = job->call->k,
                .x = &x,
                .out = results,
            });
        for (int64_t r = 0; r < item->rows; r++)
            store(job, to[r], column, columns, results + r * GMM_PANEL);
    }
}
