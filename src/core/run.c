/* run.c - the third stage: threads take items; an item decodes, packs and multiplies by one of the two bodies.
 * SPDX-License-Identifier: MIT
 *
 * Scratch is taken from the call's arena before anything is written, a part for each worker. */
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/error.h"
#include "core/prepared_weights.h"
#include "core/run.h"
#include "threads/parallel.h"

enum {
    /* Elements of K that the outer body takes at a time in dot layout. A panel of them, 256 KB, stays in a second-level
     * cache, and one class of it in a first-level one, while all rows use it; the class sums are stored and loaded
     * again once for each block. */
    DOT_LAYOUT_BLOCK = 2048,
    /* The same in outer layout, where a block is so many whole rows: a strip of them is read in one sweep, and its
     * panels, 256 KB in all, stay in the second level. */
    OUTER_LAYOUT_BLOCK = 64,
    OUTER_LAYOUT_STRIP = 1024,
    /* And of prepared panels in outer layout, one of which stays in the first level. */
    PREPARED_BLOCK = 256,
    /* Elements of K that are decoded together before they are packed: 16 rows of them stay in the first level. */
    PIECE = 256,
    /* Columns of one call of a dot kernel. */
    DOT_COLUMNS = 32,
};

/* ---- the dot body: few rows, weights that run along K ---- */

/* Scratch: x, if it is not read in place | out | decoded weights. */
static bool dot_scratch(const gmm_call *call, const gmm_plan *plan, int64_t *floats)
{
    int64_t decoded = plan->dot_decodes ? 0 : DOT_COLUMNS;

    return gmm_mul_overflows(call->k, plan->few_rows + decoded, floats) ||
           gmm_add_overflows(*floats, plan->few_rows * DOT_COLUMNS, floats);
}

static void dot_item(const run_job *job, const gmm_item *item, float *scratch)
{
    static const gmm_weights decoded = {.dtype = GMM_F32, .code_stride = 1};
    const gmm_call *call = job->call;
    const gmm_plan *plan = job->plan;
    gmm_weights_offsets matrix = weight_offsets(job, item->group->matrix);
    float *out = scratch + plan->few_rows * call->k, *panel = out + plan->few_rows * DOT_COLUMNS;
    const float *x[GMM_MOST_FEW_ROWS];
    char *to[GMM_MOST_FEW_ROWS];

    for (int64_t r = 0; r < item->rows; r++) {
        float *buffer = scratch + r * call->k;
        to[r] = out_row(job, item, r);
        x[r] = lhs_floats(job, lhs_row(job, item, r), 0, call->k, buffer);
        if (plan->dot->arrange)
            x[r] = plan->dot->arrange(&call->weights, x[r], call->k, buffer);
    }
    for (int64_t c = 0; c < item->columns; c += DOT_COLUMNS) {
        int64_t column = item->column + c, columns = minimum(DOT_COLUMNS, item->columns - c);
        gmm_dot dot = {
            .weights = plan->dot_decodes ? &call->weights : &decoded,
            .w = {.first.codes = panel, .code_bytes = call->k * (int64_t)sizeof(float)},
            .rows = item->rows,
            .columns = columns,
            .k = call->k,
            .far = plan->far,
            .x = x,
            .out = out,
            .out_stride = DOT_COLUMNS,
        };
        if (plan->dot_decodes)
            dot.w = weight_rows(job, matrix, column);
        else
            for (int64_t i = 0; i < columns; i++)
                plan->decode(&call->weights, weight_row(job, matrix, column + i), 0, call->k, panel + i * call->k);
        plan->dot->dot(&dot);
        for (int64_t r = 0; r < item->rows; r++)
            store(job, to[r], column, columns, out + r * DOT_COLUMNS);
    }
}

/* ---- the outer body: many rows, or weights that run along N ---- */

/* As many elements in each block as in the others, nearly, and a multiple of 128 but in the last. */
int64_t gmm_block_of(int64_t k, bool dot)
{
    int64_t most = dot ? DOT_LAYOUT_BLOCK : PREPARED_BLOCK, blocks = k > 0 ? (k + most - 1) / most : 1;
    int64_t block = (k / blocks + (k % blocks > 0) + 127) / 128 * 128;

    return block > 0 ? block : 128;
}

static int64_t block_of(const gmm_call *call)
{
    if (call->panel_block)
        return call->panel_block;
    return call->dot ? gmm_block_of(call->k, true) : OUTER_LAYOUT_BLOCK;
}

/* Floats of a packed block of k elements of `rows` rows in `tiles` tiles. */
static int64_t packed_floats(int64_t k, int64_t rows, int64_t tiles, int64_t classes)
{
    return classes * ((k + classes - 1) / classes * rows + tiles * GMM_CLASS_GAP);
}

/* Where the parts of an outer item's scratch lie, in floats. Columns are taken a strip at a time, which is one panel
 * or, in outer layout, many. */
typedef struct {
    int64_t block, classes, strip;
    int64_t a_block;     /* a block of packed lhs; blocks lie one after the other */
    int64_t panel_sums;  /* class sums of one panel */
    int64_t panel_block; /* weights of one panel */
    int64_t sums, tree, panel, codes, pieces;
    int64_t out; /* then the addresses of the rows of the output */
    int64_t all;
} outer_layout;

/* Does the outer body decode one class of a panel at a time? */
static bool class_by_class(const gmm_call *call, const gmm_plan *plan)
{
    return call->dot && !call->panel_block && plan->decoder && plan->decoder->class_decode;
}

static bool lay_out(const gmm_call *call, const gmm_plan *plan, int64_t rows, outer_layout *layout)
{
    int64_t block = block_of(call), blocks = (call->k + block - 1) / block, classes = call->dot ? GMM_CLASSES : 1;
    int64_t strip = call->dot || call->panel_block ? GMM_PANEL : OUTER_LAYOUT_STRIP, panels = strip / GMM_PANEL;
    int64_t sums = rows * GMM_PANEL;

    *layout = (outer_layout){.block = block, .classes = classes, .strip = strip, .panel_sums = classes * sums};
    layout->panel_block = packed_floats(block, GMM_PANEL, 1, classes);
    layout->a_block = packed_floats(block, rows, gmm_tile_count(rows, plan->outer->mr), classes);
    if (gmm_mul_overflows(layout->a_block, blocks, &layout->sums))
        return true;
    layout->tree = layout->sums + (blocks > 1 ? panels * layout->panel_sums : 0);
    layout->panel = layout->tree + GMM_TREE_LEVELS * sums;
    layout->codes = layout->panel + panels * layout->panel_block;
    if (call->panel_block)
        layout->codes = layout->panel + gmm_prepared_scratch(call, plan, rows, classes);
    layout->pieces = layout->codes;
    if (class_by_class(call, plan)) {
        layout->codes = layout->panel + gmm_together_floats(block, classes);
        layout->pieces = layout->codes + plan->decoder->class_bytes(&call->weights, block) / (int64_t)sizeof(float);
    }
    layout->out = layout->pieces + GMM_MAX_MR * PIECE;
    layout->all = layout->out + sums + rows * (int64_t)(sizeof(char *) / sizeof(float));
    return false;
}

/* Pack elements [k, k + count) of one tile of lhs rows. */
static void pack_lhs_tile(const run_job *job, const gmm_item *item, int64_t row, int64_t rows, int64_t k, int64_t count,
                          int64_t classes, float *pieces, float *a)
{
    const char *source[GMM_MAX_MR];
    const float *floats[GMM_MAX_MR];

    for (int64_t r = 0; r < rows; r++)
        source[r] = lhs_row(job, item, row + r);
    for (int64_t i = 0; i < count; i += PIECE) {
        int64_t elements = minimum(PIECE, count - i);
        for (int64_t r = 0; r < rows; r++)
            floats[r] = lhs_floats(job, source[r], k + i, elements, pieces + r * PIECE);
        job->plan->outer->pack(&(gmm_pack){
            .rows = rows,
            .classes = classes,
            .k = elements,
            .from = floats,
            .width = rows,
            .stride = rows,
            .class_stride = gmm_class_stride(count, classes, rows),
            .to = a + i / classes * rows,
        });
    }
}

/* Pack the lhs rows of an item, block after block, tile after tile. */
static void pack_lhs(const run_job *job, const gmm_item *item, const outer_layout *layout, float *pieces, float *a)
{
    int64_t tiles = gmm_tile_count(item->rows, job->plan->outer->mr);

    for (int64_t k = 0; k < job->call->k; k += layout->block, a += layout->a_block) {
        int64_t count = minimum(layout->block, job->call->k - k);
        float *tile = a;
        for (int64_t t = 0; t < tiles; t++) {
            int64_t row = gmm_tile_begin(item->rows, tiles, t), rows = gmm_tile_begin(item->rows, tiles, t + 1) - row;
            pack_lhs_tile(job, item, row, rows, k, count, layout->classes, pieces, tile);
            tile += packed_floats(count, rows, 1, layout->classes);
        }
    }
}

/* Pack elements [k, k + count) of up to 16 columns that run along K; nobody looks at the sums of those that are
 * missing. */
static void pack_columns(const run_job *job, gmm_weights_offsets matrix, int64_t column, int64_t columns, int64_t k,
                         int64_t count, float *pieces, float *panel)
{
    const gmm_call *call = job->call;
    const float *rows[GMM_MAX_MR];
    int64_t piece = in_place(call) ? count : PIECE;

    for (int64_t i = 0; i < count; i += piece) {
        int64_t elements = minimum(piece, count - i);
        for (int64_t c = 0; c < columns; c++) {
            gmm_row row = weight_row(job, matrix, column + c);
            rows[c] = in_place(call) ? (const float *)row.codes + k + i : pieces + c * PIECE;
            if (!in_place(call))
                job->plan->decode(&call->weights, row, k + i, elements, pieces + c * PIECE);
        }
        job->plan->outer->pack(&(gmm_pack){
            .rows = columns,
            .classes = GMM_CLASSES,
            .k = elements,
            .from = rows,
            .width = GMM_MAX_MR,
            .stride = GMM_PANEL,
            .class_stride = gmm_class_stride(count, GMM_CLASSES, GMM_PANEL),
            .to = panel + i / GMM_CLASSES * GMM_PANEL,
        });
    }
}

/* Block [k, k + count) of weights that run along N: rows, swept one after the other, are cut into panels. */
static void pack_rows(const run_job *job, gmm_weights_offsets matrix, int64_t column, int64_t columns, int64_t k,
                      int64_t count, float *line, float *panels, int64_t panel_floats)
{
    for (int64_t i = 0; i < count; i++, panels += GMM_PANEL) {
        gmm_row row = weight_row(job, matrix, k + i);
        const float *from = line;
        if (in_place(job->call))
            from = (const float *)row.codes + column;
        else
            job->plan->decode(&job->call->weights, row, column, columns, line);
        for (int64_t c = 0; c < columns; c += GMM_PANEL)
            memcpy(panels + c / GMM_PANEL * panel_floats, from + c,
                   (size_t)minimum(GMM_PANEL, columns - c) * sizeof(float));
    }
}

void gmm_look_ahead(const run_job *job, gmm_weights_offsets matrix, int64_t column, int64_t columns, int64_t k,
                    int64_t count, int64_t steps, gmm_ahead *ahead)
{
    const gmm_call *call = job->call;
    int64_t first = call->dot ? column : k, rows = call->dot ? columns : count;
    int64_t element = call->dot ? k : column, elements = call->dot ? count : columns;
    int64_t bits = call->quantized ? call->weights.bits : call->rhs.element_bytes * 8;
    gmm_rows w;

    *ahead = (gmm_ahead){0};
    if (rows <= 0) { /* behind the last panel: there may be no such address */
        gmm_ahead_row(ahead);
        return;
    }
    w = weight_rows(job, matrix, first);
    ahead->parts[0].row = (const char *)w.first.codes + element * bits / 8;
    ahead->parts[0].rows = call->weights.code_stride == 1 ? rows : 0;
    ahead->parts[0].row_bytes = w.code_bytes;
    ahead->parts[0].lines = elements * bits / 8 / 64 + 1;
    if (call->quantized && call->weights.scale_stride == 1) {
        int64_t bytes = call->scales.element_bytes, size = call->weights.group_size;
        ahead->parts[1].row = (const char *)w.first.scales + element / size * bytes;
        ahead->parts[1].rows = rows;
        ahead->parts[1].row_bytes = w.scale_bytes;
        ahead->parts[1].lines = elements / size * bytes / 64 + 1;
        if (w.first.biases) {
            ahead->parts[2] = ahead->parts[1];
            ahead->parts[2].row = (const char *)w.first.biases + element / size * call->biases.element_bytes;
            ahead->parts[2].row_bytes = w.bias_bytes;
        }
    }
    gmm_ahead_begin(ahead, steps);
}

/* Make a block of a strip ready for the outer kernel: panels, or codes of one. */
static void prepare(const run_job *job, const outer_layout *layout, float *scratch, gmm_weights_offsets matrix,
                    int64_t column, int64_t columns, int64_t k, int64_t count, gmm_class_codes *codes)
{
    float *pieces = scratch + layout->pieces, *panel = scratch + layout->panel;

    if (!job->call->dot) {
        pack_rows(job, matrix, column, columns, k, count, pieces, panel, layout->panel_block);
    } else if (class_by_class(job->call, job->plan)) {
        *codes = (gmm_class_codes){
            .weights = &job->call->weights,
            .w = weight_rows(job, matrix, column),
            .columns = columns,
            .begin = k,
            .k = count,
            .panel = (char *)(scratch + layout->codes),
        };
        job->plan->decoder->class_fill(codes);
    } else {
        for (int64_t c = 0; c < columns; c += GMM_MAX_MR)
            pack_columns(job, matrix, column + c, minimum(columns - c, GMM_MAX_MR), k, count, pieces, panel + c);
    }
}

/* The columns [column, column + columns) of an item's rows, a strip. `left` is the number of columns from `column` to
 * the item's end. */
static void outer_strip(const run_job *job, const gmm_item *item, const outer_layout *layout, float *scratch,
                        gmm_weights_offsets matrix, int64_t column, int64_t columns, int64_t left)
{
    const gmm_call *call = job->call;
    bool by_class = class_by_class(call, job->plan);
    float *out = scratch + layout->out;
    char **to = (char **)(void *)(out + item->rows * GMM_PANEL);
    gmm_class_codes codes;

    for (int64_t k = 0; k < call->k; k += layout->block) {
        int64_t count = minimum(layout->block, call->k - k), next = k + count;
        int64_t steps = gmm_outer_steps(job->plan->outer, item->rows, count);
        gmm_ahead ahead = {0};
        gmm_outer outer = {
            .rows = item->rows,
            .classes = layout->classes,
            .k = count,
            .a = scratch + k / layout->block * layout->a_block,
            .codes = by_class ? &codes : NULL,
            .class_decode = by_class ? job->plan->decoder->class_decode : NULL,
            .tree = scratch + layout->tree,
            .first = k == 0,
            .last = next == call->k,
            .out = out,
            .ahead = &ahead,
        };
        if (call->panel_block)
            gmm_prepared_block(call, job->plan, matrix.w, column, left, k, &codes, &outer);
        else
            prepare(job, layout, scratch, matrix, column, columns, k, count, &codes);
        if (!call->dot && !call->panel_block)
            gmm_ahead_row(&ahead); /* nothing: a sweep is easy to foresee */
        else if (!call->panel_block && !outer.last)
            gmm_look_ahead(job, matrix, column, columns, next, minimum(layout->block, call->k - next), steps, &ahead);
        else if (!call->panel_block)
            gmm_look_ahead(job, matrix, column + GMM_PANEL, minimum(GMM_PANEL, left - GMM_PANEL), 0,
                           minimum(layout->block, call->k), steps, &ahead);
        for (int64_t c = 0; c < columns; c += GMM_PANEL) {
            outer.b = scratch + layout->panel + c / GMM_PANEL * layout->panel_block;
            outer.sums = scratch + layout->sums + c / GMM_PANEL * layout->panel_sums;
            job->plan->outer->outer(&outer);
            for (int64_t r = 0; r < item->rows && outer.last; r++)
                store(job, to[r], column + c, minimum(GMM_PANEL, columns - c), out + r * GMM_PANEL);
        }
    }
}

static void outer_item(const run_job *job, const gmm_item *item, float *scratch)
{
    gmm_weights_offsets matrix = weight_offsets(job, item->group->matrix);
    outer_layout layout;
    char **to;

    lay_out(job->call, job->plan, item->rows, &layout);
    to = (char **)(void *)(scratch + layout.out + item->rows * GMM_PANEL);
    for (int64_t r = 0; r < item->rows; r++)
        to[r] = out_row(job, item, r);
    pack_lhs(job, item, &layout, scratch + layout.pieces, scratch);
    for (int64_t c = 0; c < item->columns; c += layout.strip)
        outer_strip(job, item, &layout, scratch, matrix, item->column + c, minimum(layout.strip, item->columns - c),
                    item->columns - c);
}

/* ---- a call ---- */

/* K = 0: every sum is empty. */
static void zero_item(const run_job *job, const gmm_item *item)
{
    static const float zeros[GMM_PANEL];

    for (int64_t r = 0; r < item->rows; r++)
        for (int64_t c = 0; c < item->columns; c += GMM_PANEL)
            store(job, out_row(job, item, r), item->column + c, minimum(GMM_PANEL, item->columns - c), zeros);
}

static void work(void *arg, int64_t worker)
{
    run_job *job = arg;
    float *scratch = job->scratch + worker * job->scratch_floats;
    const char *packed = NULL;
    int64_t next;

    while ((next = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed)) < job->plan->item_count) {
        const gmm_item *item = &job->plan->items[next];
        if (job->call->k == 0)
            zero_item(job, item);
        else if (job->plan->int8)
            gmm_run_int8_item(job, item, scratch);
        else if (job->plan->tile)
            gmm_run_tile_item(job, item, scratch, &packed);
        else if (item->outer)
            outer_item(job, item, scratch);
        else if (!job->call->dot)
            gmm_run_sweep_item(job, item, scratch);
        else
            dot_item(job, item, scratch);
    }
}

gmm_status gmm_plan_run(const gmm_context *context, const gmm_call *call, const gmm_plan *plan, gmm_arena *arena,
                        const gmm_view *out)
{
    run_job job = {.call = call, .plan = plan, .out = out};
    bool has_outer = plan->outer_items > 0, has_dot = plan->outer_items < plan->item_count, overflow = false;
    int64_t dot = 0, floats = 0, blas_floats = 0;
    float *blas = NULL;
    outer_layout outer = {0};

    if (plan->item_count == 0 && plan->blas_groups == 0)
        return GMM_OK;
    if (call->k > 0 && plan->int8)
        overflow = gmm_run_int8_scratch(call, plan, &dot);
    else if (call->k > 0 && plan->tile)
        overflow = gmm_run_tile_scratch(call, plan, &dot);
    else if (call->k > 0)
        overflow = (has_dot && (call->dot ? dot_scratch : gmm_run_sweep_scratch)(call, plan, &dot)) ||
                   (has_outer && lay_out(call, plan, plan->outer_rows, &outer));
    /* Workers' parts start on cache lines, one apart at least. */
    job.scratch_floats = ((outer.all > dot ? outer.all : dot) + 31) / 16 * 16;
    if (!overflow && !gmm_mul_overflows(job.scratch_floats, plan->workers, &floats))
        job.scratch = gmm_arena_take(arena, floats, sizeof(float));
    if (!job.scratch)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for scratch: k is %" PRId64 ", %" PRId32 " workers", call->k,
                        plan->workers);
    if (call->k > 0 && plan->int8 && !gmm_run_int8_round(context, &job, arena))
        return gmm_fail(GMM_ERR_MEMORY, "no memory to round lhs: k is %" PRId64, call->k);
    if (plan->blas_groups > 0 &&
        (gmm_run_blas_scratch(call, plan, &blas_floats) || !(blas = gmm_arena_take(arena, blas_floats, sizeof(float)))))
        return gmm_fail(GMM_ERR_MEMORY, "no memory for a BLAS: k is %" PRId64 ", n is %" PRId64, call->k, call->n);
    if (plan->item_count > 0)
        gmm_parallel(context, plan->workers, work, &job);
    if (plan->blas_groups > 0)
        gmm_run_blas(&job, blas);
    return GMM_OK;
}
