/* run_int8.c - items of int8 sums: rows of lhs are rounded once, then multiplied by the dot or the outer body.
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "core/run.h"
#include "kernels/int8.h"
#include "threads/parallel.h"

enum {
    /* Elements of K that the outer body takes at a time: a multiple of every group. A panel of them, 32 KB, stays in a
     * first-level cache while all rows use it. */
    BLOCK = 1024,
    /* Elements that a thread may round more than once before a loop of its own for rounding is worth its start. */
    ROUNDED_TWICE = 1 << 12
};

/* Where the parts of an item's scratch lie, in floats, each on a cache line; tiles of rounded rows come first. */
typedef struct {
    int64_t row_bytes, code_bytes, scale_bytes; /* of a rounded row: codes, scales and sums */
    int64_t factors, rounded, line, codes, panel_scales, panel_biases, results, copies, to;
    int64_t all;
} layout;

/* True when it overflows. */
static bool lay_out(const gmm_call *call, const gmm_plan *plan, int64_t rows, layout *at)
{
    const gmm_weights *weights = &call->weights;
    int64_t groups = call->k / weights->group_size, floats;

    *at = (layout){0};
    if (call->k > INT64_MAX / (64 * GMM_PANEL))
        return true;
    at->code_bytes = gmm_round_up(call->k, 64);
    at->scale_bytes = 4 * gmm_round_up(groups, 16);
    at->row_bytes = at->code_bytes + 2 * at->scale_bytes;
    if (gmm_mul_overflows(rows + plan->int8->mr, at->row_bytes, &floats))
        return true;
    at->factors = rows * at->code_bytes / 4;
    at->rounded = at->factors + rows * 2 * at->scale_bytes / 4;
    at->line = at->rounded + plan->int8->mr * at->row_bytes / 4;
    at->codes = at->line + gmm_round_up(call->k, 16);
    at->panel_scales = at->codes + BLOCK * GMM_PANEL / 4;
    at->panel_biases = at->panel_scales + BLOCK / weights->group_size * GMM_PANEL;
    at->results = at->panel_biases + BLOCK / weights->group_size * GMM_PANEL;
    at->copies = at->results + rows * GMM_PANEL;
    at->to = at->copies + GMM_PANEL * gmm_row_copy_bytes(call) / 4;
    floats = gmm_round_up(rows * (int64_t)(sizeof(char *) / sizeof(float)), 16);
    return gmm_add_overflows(at->to, floats, &at->all);
}

bool gmm_run_int8_scratch(const gmm_call *call, const gmm_plan *plan, int64_t *floats)
{
    layout at;
    bool overflow = lay_out(call, plan, plan->outer_items > 0 ? plan->outer_rows : plan->few_rows, &at);

    *floats = at.all;
    return overflow;
}

/* ---- rows of lhs ---- */

static gmm_int8_row rounded_at(const layout *at, char *row)
{
    return (gmm_int8_row){.codes = (int8_t *)row,
                          .scales = (float *)(void *)(row + at->code_bytes),
                          .sums = (float *)(void *)(row + at->code_bytes + at->scale_bytes)};
}

static void round_row(const run_job *job, const layout *at, const char *row, char *rounded, float *scratch)
{
    const gmm_call *call = job->call;
    gmm_int8_row to = rounded_at(at, rounded);

    job->plan->int8->int8->quantize(lhs_floats(job, row, 0, call->k, scratch + at->line), call->k,
                                    call->weights.group_size, &to);
}

/* One worker's share of all rows of lhs. */
static void round_share(void *arg, int64_t worker)
{
    const run_job *job = arg;
    const gmm_call *call = job->call;
    const gmm_view *lhs = &call->lhs;
    int64_t rows = call->lhs_indices.matrices * call->m, workers = job->plan->workers;
    layout at;

    lay_out(call, job->plan, 1, &at);
    for (int64_t r = gmm_tile_begin(rows, workers, worker); r < gmm_tile_begin(rows, workers, worker + 1); r++) {
        int64_t offset = gmm_view_offset(lhs, lhs->ndim - 2, r / call->m) + r % call->m * lhs->strides[lhs->ndim - 2];
        round_row(job, &at, gmm_view_at(lhs, offset), job->rounded + r * at.row_bytes,
                  job->scratch + worker * job->scratch_floats);
    }
}

bool gmm_run_int8_round(const gmm_context *context, run_job *job, gmm_arena *arena)
{
    const gmm_call *call = job->call;
    int64_t rows, bytes, by_items = 0;
    double worth = job->plan->workers > 1 ? (double)ROUNDED_TWICE * job->plan->workers : 0;
    layout at;

    for (int64_t i = 0; i < job->plan->item_count; i++)
        by_items += job->plan->items[i].rows;
    if (gmm_mul_overflows(call->lhs_indices.matrices, call->m, &rows) ||
        (double)(by_items - rows) * (double)call->k <= worth)
        return true;
    if (lay_out(call, job->plan, 1, &at) || gmm_mul_overflows(rows, at.row_bytes, &bytes) ||
        !(job->rounded = gmm_arena_take(arena, bytes, 1)))
        return false;
    gmm_parallel(context, job->plan->workers, round_share, job);
    return true;
}

/* Rows [row, row + count) of an item, a tile at most, rounded now unless all are rounded already. */
static void round_rows(const run_job *job, const gmm_item *item, const layout *at, int64_t row, int64_t count,
                       float *scratch, gmm_int8_row *rows)
{
    const gmm_call *call = job->call;

    for (int64_t r = 0; r < count; r++) {
        int64_t m, product = product_of(job, item, row + r, &m);
        char *own = (char *)(scratch + at->rounded) + r * at->row_bytes;
        if (job->rounded)
            own = job->rounded + (gmm_indices_at(&call->lhs_indices, call, product) * call->m + m) * at->row_bytes;
        else
            round_row(job, at, lhs_row(job, item, row + r), own, scratch);
        rows[r] = rounded_at(at, own);
    }
}

static gmm_int8_tiles pack_rows(const run_job *job, const gmm_item *item, const layout *at, float *scratch)
{
    const gmm_kernel *kernel = job->plan->int8;
    const gmm_weights *weights = &job->call->weights;
    gmm_int8_tiles all = {.k = job->call->k, .codes = (int8_t *)scratch, .factors = scratch + at->factors};
    int64_t tiles = gmm_tile_count(item->rows, kernel->mr);

    for (int64_t t = 0; t < tiles; t++) {
        int64_t row = gmm_tile_begin(item->rows, tiles, t), rows = gmm_tile_begin(item->rows, tiles, t + 1) - row;
        gmm_int8_tiles tile = all;
        gmm_int8_row from[GMM_MAX_MR];
        tile.codes += row * all.k;
        tile.factors += 2 * row * (all.k / weights->group_size);
        round_rows(job, item, at, row, rows, scratch, from);
        (item->outer ? kernel->int8->pack : kernel->int8->pack_few)(from, rows, weights, &tile);
    }
    return all;
}

/* ---- an item ---- */

/* Columns [column, column + columns) of all rows: a panel. `left` is the number of columns from there to the item's
 * end. */
static void outer_panel(const run_job *job, const gmm_item *item, const layout *at, float *scratch,
                        const gmm_int8_tiles *x, gmm_weights_offsets matrix, int64_t column, int64_t left)
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

    panel.w = gmm_plain_rows(job, matrix, column, panel.columns, (char *)(scratch + at->copies));
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

    lay_out(job->call, job->plan, item->rows, &at);
    float *results = scratch + at.results;
    char **to = (char **)(void *)(scratch + at.to);
    gmm_int8_tiles x = {0};
    gmm_int8_row rows[GMM_INT8_MOST_DOT_ROWS];
    bool few = !item->outer && item->rows > gmm_int8_dot_rows(job->plan->int8->int8, job->call->weights.bits);
    if (item->outer || few)
        x = pack_rows(job, item, &at, scratch);
    else
        round_rows(job, item, &at, 0, item->rows, scratch, rows);
    for (int64_t r = 0; r < item->rows; r++)
        to[r] = out_row(job, item, r);
    for (int64_t c = 0; c < item->columns; c += GMM_PANEL) {
        int64_t column = item->column + c, left = item->columns - c, columns = minimum(GMM_PANEL, left);
        if (item->outer)
            outer_panel(job, item, &at, scratch, &x, matrix, column, left);
        else if (few)
            job->plan->int8->int8->few(&(gmm_int8_few){
                .weights = &job->call->weights,
                .w = gmm_plain_rows(job, matrix, column, columns, (char *)(scratch + at.copies)),
                .columns = columns,
                .k = job->call->k,
                .rows = item->rows,
                .x = x,
                .out = results,
            });
        else
            job->plan->int8->int8->dot(&(gmm_int8_dot){
                .weights = &job->call->weights,
                .w = gmm_plain_rows(job, matrix, column, columns, (char *)(scratch + at.copies)),
                .columns = columns,
                .k = job->call->k,
                .rows = item->rows,
                .far = job->plan->far,
                .x = rows,
                .out = results,
                .out_stride = GMM_PANEL,
            });
        for (int64_t r = 0; r < item->rows; r++)
            store(job, to[r], column, columns, results + r * GMM_PANEL);
    }
}
