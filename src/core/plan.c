/* plan.c - the second stage: rows grouped by matrix, kernels chosen, work cut for threads. The only place that decides.
 * SPDX-License-Identifier: MIT
 *
 * Nothing here can change a result: both bodies and every cut compute the same sums (docs/numerics.md). */
#include <math.h>
#include <string.h>

#include "base/context.h"
#include "base/error.h"
#include "core/call.h"
#include "cpu/cpu.h"
#include "kernels/int8.h"
#include "kernels/tile.h"

enum {
    /* The most rows of a group for the dot body. More go to the outer body, when what it costs to prepare a panel is
     * less than what the dot body loses: f32 rows are packed from where they lie, the dot body decodes codes again for
     * every four rows, and all else is cheap to widen again for each tile. */
    DOT_ROWS_F32 = 8,
    DOT_ROWS_CODES = 12,
    DOT_TILES_OTHER = 4,
    /* And the most for weights that run along N to be swept, instead of cut into panels first. */
    SWEEP_ROWS = 8,
    /* An outer item's packed rows stay in a second-level cache of 2 MB: at most this many floats. But few rows would
     * not repay packing the weights. */
    OUTER_FLOATS = 320 * 1024,
    OUTER_CODES = 4 * OUTER_FLOATS, /* likewise for rows of int8 */
    LEAST_OUTER_ROWS = 56,
    MOST_OUTER_ROWS = 512,
    /* What is left is cut into so many items for each thread: whole matrices at first, small pieces in the end, so that
     * uneven experts even out. Every item begins a stream of memory anew, which costs as much as 8 KB of it. */
    ITEMS_PER_THREAD = 2,
    /* Multiply-adds below which waking another thread costs more than it brings. */
    WORK_PER_THREAD = 1 << 18,
};

/* Bf16 numbers that an element of lhs is the sum of. */
static int32_t parts_of(const gmm_call *call)
{
    return call->lhs.dtype == GMM_BF16 || call->dtype == GMM_BF16 ? 1
           : call->lhs.dtype == GMM_F16 || call->dtype == GMM_F16 ? 2
                                                                  : 3;
}

static void choose_kernels(const gmm_context *context, const gmm_call *call, uint32_t features, gmm_plan *plan)
{
    const gmm_format *format = call->weights.format;
    const gmm_view *lhs = &call->lhs;

    /* f32 weights are read where they are. */
    bool aligned = call->weights.dtype != GMM_F32 || (uintptr_t)call->rhs.data % sizeof(float) == 0;
    if (gmm_weights_plain(&call->weights) && (call->quantized || aligned)) {
        plan->dot = gmm_kernel_choose(GMM_CAN_DOT, format->name, features);
        plan->decoder = gmm_kernel_choose(GMM_CAN_DECODE, format->name, features);
    }
    plan->dot_decodes = plan->dot != NULL;
    if (!plan->dot)
        plan->dot = gmm_kernel_choose(GMM_CAN_DOT, "f32", features);
    /* Since Zen 4 what is fetched into the first level comes half as fast as into the second, in the order of memory.
     * It is the CPU that counts, not what masks leave of it. */
    plan->far = gmm_cpu_present() & GMM_CPU_FASTBF16;
    plan->outer = gmm_kernel_choose(GMM_CAN_OUTER, "f32", features);
    if (gmm_context_arithmetic(context) == GMM_ARITHMETIC_INT8 && call->quantized && call->dot)
        plan->int8 = gmm_kernel_choose(GMM_CAN_INT8, format->name, features);
    if (call->dot && !plan->int8 && (call->quantized || call->weights.dtype == GMM_BF16)) {
        const gmm_kernel *tile = gmm_kernel_choose(GMM_CAN_TILE, format->name, features);
        plan->parts = parts_of(call);
        bool exact = !call->quantized || call->weights.global == 1; /* else weights are rounded */
        if (tile && exact && plan->parts <= tile->tile->most_parts)
            plan->tile = tile;
    }
    plan->decode = plan->decoder ? plan->decoder->decode : format->decode;
    if (lhs->strides[lhs->ndim - 1] == 1 && (lhs->dtype == GMM_F16 || lhs->dtype == GMM_BF16)) {
        const gmm_kernel *decoder = gmm_kernel_choose(GMM_CAN_DECODE, gmm_format_dense(lhs->dtype)->name, features);
        plan->lhs = (gmm_weights){.dtype = lhs->dtype, .cast = GMM_F32, .code_stride = 1};
        plan->decode_lhs = decoder ? decoder->decode : NULL;
    }
}

/* Stable merge sort of `order` by the key of each product; `spare` has room for as many. */
static void sort_by_matrix(const int64_t *matrix, int64_t *order, int64_t *spare, int64_t count)
{
    for (int64_t width = 1; width < count; width *= 2) {
        for (int64_t begin = 0; begin < count; begin += 2 * width) {
            int64_t middle = begin + width < count ? begin + width : count;
            int64_t end = begin + 2 * width < count ? begin + 2 * width : count;
            int64_t left = begin, right = middle;
            for (int64_t at = begin; at < end; at++) {
                bool take_left = right == end || (left < middle && matrix[order[left]] <= matrix[order[right]]);
                spare[at] = order[take_left ? left++ : right++];
            }
        }
        memcpy(order, spare, (size_t)count * sizeof *order);
    }
}

/* Read the indices and make the groups. */
static gmm_status group_rows(const gmm_call *call, gmm_arena *arena, gmm_plan *plan)
{
    int64_t count = call->products;
    int64_t *matrix = gmm_arena_take(arena, count, sizeof *matrix);
    int64_t *spare = gmm_arena_take(arena, count, sizeof *spare);
    bool sorted = true;

    plan->order = gmm_arena_take(arena, count, sizeof *plan->order);
    plan->lhs_offsets = gmm_arena_take(arena, count, sizeof *plan->lhs_offsets);
    if (!matrix || !spare || !plan->order || !plan->lhs_offsets)
        return gmm_fail(GMM_ERR_MEMORY, "no memory to plan %lld products", (long long)count);
    for (int64_t p = 0; p < count; p++) {
        plan->order[p] = p;
        plan->lhs_offsets[p] =
            gmm_view_offset(&call->lhs, call->lhs.ndim - 2, gmm_indices_at(&call->lhs_indices, call, p));
        matrix[p] = gmm_indices_at(&call->rhs_indices, call, p);
        sorted &= p == 0 || matrix[p - 1] <= matrix[p];
    }
    if (!sorted)
        sort_by_matrix(matrix, plan->order, spare, count);

    for (int64_t p = 0; p < count; p++)
        plan->group_count += p == 0 || matrix[plan->order[p]] != matrix[plan->order[p - 1]];
    plan->groups = gmm_arena_take(arena, plan->group_count, sizeof *plan->groups);
    if (!plan->groups)
        return gmm_fail(GMM_ERR_MEMORY, "no memory to plan %lld matrices", (long long)plan->group_count);
    gmm_group_of_rows *group = plan->groups - 1;
    for (int64_t p = 0; p < count; p++) {
        if (p == 0 || matrix[plan->order[p]] != matrix[plan->order[p - 1]])
            *++group = (gmm_group_of_rows){.matrix = matrix[plan->order[p]], .first = p};
        group->rows += call->m;
    }
    return GMM_OK;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Cut one group into items, appended to plan->items when that exists; returns how many. */
static int64_t cut(const gmm_call *call, gmm_plan *plan, const gmm_group_of_rows *group, double pieces)
{
    bool outer = group->rows > plan->few_rows;
    int64_t most = outer ? plan->outer_rows : plan->few_rows, row_chunks = divide_up(group->rows, most), items = 0;
    int64_t rows = divide_up(group->rows, row_chunks);
    int64_t column_chunks = pieces > (double)row_chunks ? (int64_t)ceil(pieces / (double)row_chunks) : 1;
    int64_t columns = gmm_round_up(divide_up(call->n, column_chunks), GMM_PANEL);

    for (int64_t row = 0; row < group->rows; row += rows)
        for (int64_t column = 0; column < call->n; column += columns, items++) {
            if (!plan->items)
                continue;
            plan->items[plan->item_count++] = (gmm_item){
                .group = group,
                .outer = outer,
                .row = row,
                .rows = rows < group->rows - row ? rows : group->rows - row,
                .column = column,
                .columns = columns < call->n - column ? columns : call->n - column,
            };
            plan->outer_items += outer;
        }
    return items;
}

/* Groups of more rows go to the outer body. */
static int64_t most_few_rows(const gmm_call *call, const gmm_plan *plan)
{
    if (plan->tile)
        return 0;
    if (call->panel_block)
        return 0; /* panels are in the outer body's order, and need no preparation that few rows could save */
    if (plan->int8)
        return gmm_int8_few_rows(plan->int8->int8, call->weights.bits);
    if (!call->dot)
        return SWEEP_ROWS;
    if (call->quantized)
        return DOT_ROWS_CODES;
    if (call->weights.dtype == GMM_F32)
        return DOT_ROWS_F32;
    int64_t rows = DOT_TILES_OTHER * plan->dot->mr;
    return plan->dot_decodes && rows < GMM_MOST_FEW_ROWS ? rows : GMM_MOST_FEW_ROWS;
}

static gmm_status cut_work(const gmm_context *context, const gmm_call *call, gmm_arena *arena, gmm_plan *plan)
{
    double native_rows = 0;
    for (int64_t g = 0; g < plan->group_count; g++)
        native_rows += plan->groups[g].blas ? 0 : (double)plan->groups[g].rows;
    double work = native_rows * (double)call->n * (double)call->k;
    double workers = work / WORK_PER_THREAD;
    int32_t threads = gmm_context_threads(context);
    int64_t most = plan->tile   ? 2 * OUTER_FLOATS / plan->parts /* bf16 numbers */
                   : plan->int8 ? OUTER_CODES
                                : OUTER_FLOATS;
    int64_t rows = most / (call->k > 0 ? call->k : 1), items = 0;

    plan->workers = workers >= threads ? threads : workers < 1 ? 1 : (int32_t)workers;
    plan->outer_rows = rows < LEAST_OUTER_ROWS ? LEAST_OUTER_ROWS : rows > MOST_OUTER_ROWS ? MOST_OUTER_ROWS : rows;

    /* Twice the same walk: first to count, then to fill. One thread needs no pieces. */
    double all_pieces = plan->workers > 1 ? (double)ITEMS_PER_THREAD * plan->workers : 0;
    for (int pass = 0; pass < 2; pass++) {
        double left = native_rows;
        for (int64_t g = 0; g < plan->group_count; g++) {
            if (plan->groups[g].blas)
                continue;
            int64_t made = cut(call, plan, &plan->groups[g], all_pieces * (double)plan->groups[g].rows / left);
            left -= (double)plan->groups[g].rows;
            items += pass == 0 ? made : 0;
        }
        if (pass == 0 && !(plan->items = gmm_arena_take(arena, items, sizeof *plan->items)))
            return gmm_fail(GMM_ERR_MEMORY, "no memory for %lld pieces of work", (long long)items);
    }
    if (plan->item_count < plan->workers)
        plan->workers = (int32_t)plan->item_count;
    return GMM_OK;
}

gmm_status gmm_plan_make(const gmm_context *context, const gmm_call *call, gmm_arena *arena, gmm_plan *plan)
{
    gmm_status status;
    uint32_t features;

    *plan = (gmm_plan){0};
    if ((status = gmm_cpu_usable(context, &features)) || (status = gmm_indices_check(&call->lhs_indices)) ||
        (status = gmm_indices_check(&call->rhs_indices)))
        return status;
    choose_kernels(context, call, features, plan);
    if (call->products == 0 || call->m == 0 || call->n == 0)
        return GMM_OK;
    if ((status = group_rows(call, arena, plan)))
        return status;
    plan->few_rows = most_few_rows(call, plan);
    gmm_plan_blas(context, call, plan);
    return cut_work(context, call, arena, plan);
}
