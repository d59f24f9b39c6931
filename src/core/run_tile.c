/* run_tile.c - items of tile sums: rows of lhs are packed, multiplied by whole tiles, and stored.
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "core/prepared_weights.h"
#include "core/run.h"
#include "kernels/tile.h"

enum {
    COLUMNS = 128 /* of one call of the kernel */
};

/* Where the parts of an item's scratch lie, in floats, each on a cache line; packed rows come first. */
typedef struct {
    gmm_tile_rows x;
    int64_t tiles;
    int64_t pieces, kernel, out, copies, to;
    int64_t all;
} layout;

/* True when it overflows. */
static bool lay_out(const gmm_call *call, const gmm_plan *plan, int64_t rows, layout *at)
{
    gmm_tile_rows x = gmm_tile_rows_for(plan->tile->tile->order, &call->weights, call->k, rows, plan->parts);

    *at = (layout){.x = x, .tiles = gmm_tile_count(rows, x.rows)};
    if (call->k > INT64_MAX / (1024 * rows))
        return true;
    at->pieces = at->tiles * gmm_tile_bytes(&x) / 4;
    /* Sums that are not finite are computed again from two rows of floats, in the place of pieces. */
    int64_t pieces = GMM_TILE * GMM_TILE_PIECE, again = 2 * gmm_round_up(call->k, 16);
    at->kernel = at->pieces + (pieces > again ? pieces : again);
    at->out = at->kernel + plan->tile->tile->scratch_bytes(at->tiles) / 4;
    at->copies = at->out + rows * COLUMNS;
    at->to = at->copies + COLUMNS * gmm_row_copy_bytes(call) / 4;
    at->all = at->to + gmm_round_up(rows * (int64_t)(sizeof(char *) / sizeof(float)), 16);
    return false;
}

bool gmm_run_tile_scratch(const gmm_call *call, const gmm_plan *plan, int64_t *floats)
{
    layout at;
    bool overflow = lay_out(call, plan, plan->outer_rows, &at);

    *floats = at.all;
    return overflow;
}

static void pack_rows(const run_job *job, const gmm_item *item, layout *at, float *scratch, const char **packed)
{
    const gmm_call *call = job->call;
    const char *alone = item->rows == 1 ? lhs_row(job, item, 0) : NULL;

    at->x.pairs = (char *)scratch;
    if (alone && alone == *packed)
        return;
    *packed = alone;
    for (int64_t tile = 0; tile < at->tiles; tile++) {
        int64_t first = tile * at->x.rows, rows = minimum(at->x.rows, item->rows - first);
        const char *source[GMM_TILE];
        const float *from[GMM_TILE];
        for (int64_t r = 0; r < rows; r++)
            source[r] = lhs_row(job, item, first + r);
        for (int64_t k = 0; k < call->k; k += GMM_TILE_PIECE) {
            int64_t count = minimum(GMM_TILE_PIECE, call->k - k);
            for (int64_t r = 0; r < rows; r++)
                from[r] = lhs_floats(job, source[r], k, count, scratch + at->pieces + r * GMM_TILE_PIECE);
            job->plan->tile->tile->pack(
                &(gmm_tile_pack){.to = &at->x, .tile = tile, .begin = k, .count = count, .rows = rows, .from = from});
        }
    }
}

/* Without a branch for each number, which takes a tenth of a call with many rows. */
static bool all_finite(const float *numbers, int64_t count)
{
    uint32_t exceptions = 0;

    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, numbers + i, sizeof bits);
        exceptions |= (bits & 0x7f800000) == 0x7f800000;
    }
    return !exceptions;
}

/* Sums that are not finite: a tile of numbers that overflow, or are infinite, or NaN, in some of their parts only. What
 * these sums are is for the dot body to say, by IEEE 754. */
static void dot_again(const run_job *job, const gmm_item *item, gmm_weights_offsets matrix, int64_t row, int64_t column,
                      int64_t columns, float *scratch, float *out)
{
    static const gmm_weights decoded = {.dtype = GMM_F32, .code_stride = 1};
    const gmm_call *call = job->call;
    const gmm_plan *plan = job->plan;
    const float *x = NULL;
    float *weights = scratch + gmm_round_up(call->k, 16);
    bool decodes = plan->dot_decodes && !call->panel_block;

    for (int64_t c = 0; c < columns; c++) {
        gmm_dot dot = {
            .weights = decodes ? &call->weights : &decoded,
            .w = {.first.codes = weights},
            .rows = 1,
            .columns = 1,
            .k = call->k,
            .x = &x,
            .out = out + c,
            .out_stride = 1,
        };
        if (isfinite(out[c]))
            continue;
        if (!x) {
            x = lhs_floats(job, lhs_row(job, item, row), 0, call->k, scratch);
            if (plan->dot->arrange)
                x = plan->dot->arrange(&call->weights, x, call->k, scratch);
        }
        if (decodes)
            dot.w = weight_rows(job, matrix, column + c);
        else if (call->panel_block)
            gmm_prepared_column(call, plan, matrix.w, column + c, weights);
        else
            plan->decode(&call->weights, weight_row(job, matrix, column + c), 0, call->k, weights);
        plan->dot->dot(&dot);
    }
}

void gmm_run_tile_item(const run_job *job, const gmm_item *item, float *scratch, const char **packed)
{
    const gmm_call *call = job->call;
    gmm_weights_offsets matrix = weight_offsets(job, item->group->matrix);
    layout at;

    lay_out(call, job->plan, item->rows, &at);
    float *out = scratch + at.out;
    char **to = (char **)(void *)(scratch + at.to);
    for (int64_t r = 0; r < item->rows; r++)
        to[r] = out_row(job, item, r);
    pack_rows(job, item, &at, scratch, packed);
    for (int64_t c = 0; c < item->columns; c += COLUMNS) {
        int64_t column = item->column + c, columns = minimum(COLUMNS, item->columns - c);
        gmm_tile_call tile = {
            .weights = &call->weights,
            .panel_block = call->panel_block,
            .begins = c == 0,
            .columns = columns,
            .k = call->k,
            .rows = item->rows,
            .x = &at.x,
            .scratch = (char *)(scratch + at.kernel),
            .out = out,
            .out_stride = COLUMNS,
        };
        if (call->panel_block)
            tile.prepared = gmm_view_at(&call->rhs, matrix.w + column / GMM_PANEL * gmm_panel_elements(true, call->k));
        else
            tile.w = gmm_plain_rows(job, matrix, column, columns, (char *)(scratch + at.copies));
        if (gmm_row_copy_bytes(call) == 0)
            tile.columns_after = item->columns - c - columns;
        job->plan->tile->tile->multiply(&tile);
        for (int64_t r = 0; r < item->rows; r++) {
            if (!all_finite(out + r * COLUMNS, columns))
                dot_again(job, item, matrix, r, column, columns, scratch + at.pieces, out + r * COLUMNS);
            store(job, to[r], column, columns, out + r * COLUMNS);
        }
    }
}
