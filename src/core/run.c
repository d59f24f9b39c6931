/* run.c - the third stage: threads take items; an item decodes, packs and multiplies by one of the two bodies.
 * SPDX-License-Identifier: MIT
 *
 * Scratch is one allocation per call, made before anything is written, a part for each worker. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "core/call.h"
#include "formats/convert.h"
#include "threads/parallel.h"

enum {
    /* Elements of K that are decoded, packed and multiplied at a time: a panel of them stays in cache. A multiple of
     * 128. */
    BLOCK = 1024,
};

typedef struct {
    const gmm_call *call;
    const gmm_plan *plan;
    const gmm_view *out;
    float *scratch;
    int64_t scratch_floats; /* per worker */
    _Atomic int64_t next;
} run_job;

static int64_t minimum(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Which product and which of its rows is row number `row` of a group? */
static int64_t product_of(const run_job *job, const gmm_item *item, int64_t row, int64_t *row_in_product)
{
    int64_t m = job->call->m;

    *row_in_product = (item->row + row) % m;
    return job->plan->order[item->group->first + (item->row + row) / m];
}

static const char *lhs_row(const run_job *job, const gmm_item *item, int64_t row)
{
    const gmm_view *lhs = &job->call->lhs;
    int64_t m, product = product_of(job, item, row, &m);

    return gmm_view_at(lhs, job->plan->lhs_offsets[product] + m * lhs->strides[lhs->ndim - 2]);
}

/* Elements [k, k + count) of a row of lhs as f32: in place when it is such, else converted into `buffer`. */
static const float *lhs_floats(const run_job *job, const char *row, int64_t k, int64_t count, float *buffer)
{
    const gmm_view *lhs = &job->call->lhs;
    int64_t stride = lhs->strides[lhs->ndim - 1];
    const char *at = row + k * stride * lhs->element_bytes;

    if (lhs->dtype == GMM_F32 && stride == 1 && (uintptr_t)at % sizeof(float) == 0)
        return (const float *)(const void *)at;
    gmm_load_run(lhs->dtype, job->call->dtype, at, stride, count, buffer);
    return buffer;
}

/* Row number `row` (along the axis that is not read in sequence) of a matrix of rhs. */
static gmm_row weight_row(const run_job *job, gmm_weights_offsets at, int64_t row)
{
    const gmm_call *call = job->call;
    const gmm_view *rhs = &call->rhs;

    if (call->quantized)
        return gmm_weights_row(rhs, &call->scales, &call->biases, at, row);
    int64_t stride = rhs->strides[rhs->ndim - (call->dot ? 1 : 2)];
    return (gmm_row){.codes = gmm_view_at(rhs, at.w + row * stride)};
}

/* Are weights f32 that lie one after the other, so that kernels can read them where they are? */
static bool weights_in_place(const gmm_call *call)
{
    return !call->quantized && call->rhs.dtype == GMM_F32 && call->weights.code_stride == 1 &&
           (uintptr_t)call->rhs.data % sizeof(float) == 0;
}

static gmm_weights_offsets weight_offsets(const run_job *job, int64_t matrix)
{
    const gmm_call *call = job->call;

    if (call->quantized)
        return gmm_weights_matrix(&call->rhs, &call->scales, &call->biases, matrix);
    return (gmm_weights_offsets){.w = gmm_view_offset(&call->rhs, call->rhs.ndim - 2, matrix)};
}

/* Weights of some columns that run along K, [k, k + count) of each, as f32: where they are, or decoded into `buffer`.
 * The columns are *stride floats apart. */
static const float *weight_columns(const run_job *job, gmm_weights_offsets matrix, int64_t column, int64_t columns,
                                   int64_t k, int64_t count, float *buffer, int64_t *stride)
{
    const gmm_view *rhs = &job->call->rhs;

    if (weights_in_place(job->call)) {
        *stride = rhs->strides[rhs->ndim - 1];
        return (const float *)weight_row(job, matrix, column).codes + k;
    }
    *stride = BLOCK;
    for (int64_t c = 0; c < columns; c++)
        job->plan->decode(&job->call->weights, weight_row(job, matrix, column + c), k, count, buffer + c * BLOCK);
    return buffer;
}

/* Store results of one row, columns [column, column + count) of the product. */
static void store(const run_job *job, const gmm_item *item, int64_t row, int64_t column, int64_t count,
                  const float *values)
{
    const gmm_view *out = job->out;
    int32_t batch_ndim = job->call->batch_ndim;
    int64_t m, product = product_of(job, item, row, &m);
    int64_t offset = gmm_view_offset(out, batch_ndim, product) + m * out->strides[batch_ndim] +
                     column * out->strides[batch_ndim + 1];

    gmm_store_run(out->dtype, values, count, gmm_view_at(out, offset), out->strides[batch_ndim + 1]);
}

/* ---- the dot body: few rows, weights that run along K ---- */

/* Scratch: x, if it is not read in place | class sums | panel of decoded weights | out. */
static bool dot_scratch(int64_t k, int64_t *floats)
{
    return gmm_mul_overflows(k, GMM_DOT_ROWS, floats) ||
           gmm_add_overflows(*floats, (GMM_DOT_ROWS * (GMM_CLASSES + 1) + BLOCK) * GMM_DOT_COLUMNS, floats);
}

static void dot_item(const run_job *job, const gmm_item *item, float *scratch)
{
    const gmm_call *call = job->call;
    gmm_weights_offsets matrix = weight_offsets(job, item->group->matrix);
    /* Rows that are a single tile gain nothing from blocks; whole weight rows are the best order to read memory in. */
    int64_t block = weights_in_place(call) && item->rows <= job->plan->dot->mr ? call->k : BLOCK;
    float *sums = scratch + GMM_DOT_ROWS * call->k, *panel = sums + GMM_DOT_ROWS * GMM_DOT_COLUMNS * GMM_CLASSES;
    float *out = panel + BLOCK * GMM_DOT_COLUMNS;
    const float *x[GMM_DOT_ROWS], *at[GMM_DOT_ROWS];

    for (int64_t r = 0; r < item->rows; r++)
        x[r] = lhs_floats(job, lhs_row(job, item, r), 0, call->k, scratch + r * call->k);
    for (int64_t c = 0; c < item->columns; c += GMM_DOT_COLUMNS) {
        int64_t column = item->column + c, columns = minimum(GMM_DOT_COLUMNS, item->columns - c);
        for (int64_t k = 0; k < call->k; k += block) {
            gmm_dot dot = {
                .rows = item->rows,
                .columns = columns,
                .k = minimum(block, call->k - k),
                .x = at,
                .sums = sums,
                .first = k == 0,
                .out = out,
            };
            dot.last = k + dot.k == call->k;
            dot.w = weight_columns(job, matrix, column, columns, k, dot.k, panel, &dot.w_stride);
            for (int64_t r = 0; r < item->rows; r++)
                at[r] = x[r] + k;
            job->plan->dot->dot(&dot);
        }
        for (int64_t r = 0; r < item->rows; r++)
            store(job, item, r, column, columns, out + r * GMM_DOT_COLUMNS);
    }
}

/* ---- the outer body: many rows, or weights that run along N ---- */

enum {
    PANEL_FLOATS = BLOCK * GMM_PANEL + GMM_CLASSES * GMM_CLASS_GAP
};

/* Floats of k elements of some rows, packed block by block. */
static int64_t packed_floats(int64_t k, int64_t rows, int64_t classes)
{
    return k * rows + (k + BLOCK - 1) / BLOCK * classes * GMM_CLASS_GAP;
}

/* Scratch: packed lhs, tile after tile | sums of every tile | panel | decoded rows | out of one tile. */
static bool outer_scratch(const gmm_call *call, const gmm_plan *plan, int64_t *floats)
{
    int64_t tile = plan->outer->mr * GMM_PANEL, tiles = plan->outer_rows / plan->outer->mr;

    if (gmm_mul_overflows(call->k, 2 * plan->outer_rows, floats)) /* twice: the gaps, generously */
        return true;
    *floats = tiles * (packed_floats(call->k, plan->outer->mr, GMM_CLASSES) + GMM_CLASSES * tile);
    return gmm_add_overflows(*floats, PANEL_FLOATS + BLOCK * GMM_PANEL + tile, floats);
}

/* Pack the lhs rows of an item, tile after tile, block after block. */
static void pack_lhs(const run_job *job, const gmm_item *item, int64_t classes, float *buffer, float *a)
{
    const gmm_kernel *kernel = job->plan->outer;
    const char *source[GMM_MAX_MR];
    const float *floats[GMM_MAX_MR];

    for (int64_t row = 0; row < item->rows; row += kernel->mr) {
        int64_t rows = minimum(kernel->mr, item->rows - row), row_step = gmm_outer_rows(kernel, rows);
        for (int64_t r = 0; r < rows; r++)
            source[r] = lhs_row(job, item, row + r);
        for (int64_t k = 0; k < job->call->k; k += BLOCK) {
            int64_t count = minimum(BLOCK, job->call->k - k);
            for (int64_t r = 0; r < rows; r++)
                floats[r] = lhs_floats(job, source[r], k, count, buffer + r * BLOCK);
            kernel->pack(&(gmm_pack){
                .rows = rows,
                .classes = classes,
                .k = count,
                .from = floats,
                .width = row_step,
                .stride = row_step,
                .to = a,
            });
            a += gmm_class_offset(count, classes, row_step, classes);
        }
    }
}

/* Decode block [k, k + count) of columns [column, column + columns) into a panel; columns that are not there are zero.
 */
static void pack_panel(const run_job *job, gmm_weights_offsets matrix, int64_t column, int64_t columns, int64_t k,
                       int64_t count, float *buffer, float *panel)
{
    const gmm_weights *weights = &job->call->weights;
    const float *rows[GMM_PANEL];

    if (job->call->dot) {
        int64_t stride;
        const float *first = weight_columns(job, matrix, column, columns, k, count, buffer, &stride);
        for (int64_t c = 0; c < columns; c++)
            rows[c] = first + c * stride;
        for (int64_t c = 0; c < GMM_PANEL; c += GMM_MAX_MR)
            job->plan->outer->pack(&(gmm_pack){
                .rows = columns > c ? minimum(columns - c, GMM_MAX_MR) : 0,
                .classes = GMM_CLASSES,
                .k = count,
                .from = rows + c,
                .width = GMM_MAX_MR,
                .stride = GMM_PANEL,
                .to = panel + c,
            });
        return;
    }
    for (int64_t i = 0; i < count; i++, panel += GMM_PANEL) {
        job->plan->decode(weights, weight_row(job, matrix, k + i), column, columns, panel);
        for (int64_t c = columns; c < GMM_PANEL; c++)
            panel[c] = 0;
    }
}

static void outer_item(const run_job *job, const gmm_item *item, float *scratch)
{
    const gmm_call *call = job->call;
    const gmm_kernel *kernel = job->plan->outer;
    int64_t classes = call->dot ? GMM_CLASSES : 1, tile = kernel->mr * GMM_PANEL;
    gmm_weights_offsets matrix = weight_offsets(job, item->group->matrix);
    int64_t tiles = job->plan->outer_rows / kernel->mr, tile_floats = packed_floats(call->k, kernel->mr, classes);
    float *a = scratch, *sums = a + tiles * tile_floats, *panel = sums + tiles * GMM_CLASSES * tile;
    float *buffer = panel + PANEL_FLOATS, *out = buffer + BLOCK * GMM_PANEL;

    pack_lhs(job, item, classes, buffer, a);
    for (int64_t c = 0; c < item->columns; c += GMM_PANEL) {
        int64_t column = item->column + c, columns = minimum(GMM_PANEL, item->columns - c);
        for (int64_t k = 0; k < call->k; k += BLOCK) {
            int64_t count = minimum(BLOCK, call->k - k);
            bool last = k + count == call->k;
            pack_panel(job, matrix, column, columns, k, count, buffer, panel);
            for (int64_t row = 0; row < item->rows; row += kernel->mr) {
                int64_t rows = minimum(kernel->mr, item->rows - row);
                gmm_outer outer = {
                    .rows = rows,
                    .classes = classes,
                    .k = count,
                    .a = a + row / kernel->mr * tile_floats + packed_floats(k, gmm_outer_rows(kernel, rows), classes),
                    .b = panel,
                    .sums = sums + row / kernel->mr * classes * tile,
                    .first = k == 0,
                    .last = last,
                    .out = out,
                };
                kernel->outer(&outer);
                for (int64_t r = 0; r < rows && last; r++)
                    store(job, item, row + r, column, columns, out + r * GMM_PANEL);
            }
        }
    }
}

/* ---- a call ---- */

/* K = 0: every sum is empty. */
static void zero_item(const run_job *job, const gmm_item *item)
{
    static const float zeros[GMM_PANEL];

    for (int64_t r = 0; r < item->rows; r++)
        for (int64_t c = 0; c < item->columns; c += GMM_PANEL)
            store(job, item, r, item->column + c, minimum(GMM_PANEL, item->columns - c), zeros);
}

static void work(void *arg, int64_t worker)
{
    run_job *job = arg;
    float *scratch = job->scratch + worker * job->scratch_floats;
    int64_t next;

    while ((next = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed)) < job->plan->item_count) {
        const gmm_item *item = &job->plan->items[next];
        if (job->call->k == 0)
            zero_item(job, item);
        else if (item->outer)
            outer_item(job, item, scratch);
        else
            dot_item(job, item, scratch);
    }
}

gmm_status gmm_plan_run(const gmm_context *context, const gmm_call *call, const gmm_plan *plan, const gmm_view *out)
{
    run_job job = {.call = call, .plan = plan, .out = out};
    int64_t dot = 0, outer = 0, bytes;

    if (plan->item_count == 0)
        return GMM_OK;
    bool overflow = dot_scratch(call->k, &dot) || outer_scratch(call, plan, &outer);
    bool has_outer = plan->outer_items > 0, has_dot = plan->outer_items < plan->item_count;
    job.scratch_floats = has_outer && (!has_dot || outer > dot) ? outer : dot;
    /* Workers' parts start a cache line apart at least. */
    overflow = overflow || gmm_add_overflows(job.scratch_floats, 32, &job.scratch_floats) ||
               gmm_mul_overflows(job.scratch_floats, plan->workers * (int64_t)sizeof(float), &bytes);
    if (!overflow)
        job.scratch = malloc((size_t)bytes);
    if (!job.scratch)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for scratch: k is %" PRId64 ", %" PRId32 " workers", call->k,
                        plan->workers);
    gmm_parallel(context, plan->workers, work, &job);
    free(job.scratch);
    return GMM_OK;
}
