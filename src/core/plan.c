/* plan.c - the second stage: rows grouped by matrix, kernels chosen, work cut for threads. The only place that decides.
 * SPDX-License-Identifier: MIT
 *
 * Nothing here can change a result: both bodies and every cut compute the same sums (docs/numerics.md). */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "core/call.h"
#include "cpu/cpu.h"

enum {
    /* An outer item's packed rows and their sums stay in a second-level cache: at most this many floats, this many
     * tiles. */
    OUTER_FLOATS = 512 * 1024,
    OUTER_TILES = 32,
    /* Items for each thread, so that uneven experts even out. */
    ITEMS_PER_THREAD = 4,
    /* Multiply-adds below which waking another thread costs more than it brings. */
    WORK_PER_THREAD = 1 << 18,
};

const gmm_kernel *gmm_kernel_choose(const char *body, const char *reads, uint32_t features)
{
    for (size_t i = 0; gmm_kernels[i]; i++)
        if (!strcmp(gmm_kernels[i]->body, body) && !strcmp(gmm_kernels[i]->reads, reads) &&
            !(gmm_kernels[i]->needs & ~features))
            return gmm_kernels[i];
    return NULL;
}

/* A kernel that decodes these weights, or NULL. */
static const gmm_kernel *choose_decoder(const gmm_weights *weights, uint32_t features)
{
    const gmm_format *format = weights->format;

    if (weights->code_stride != 1)
        return NULL;
    if (format->quantized ? weights->scale_stride != 1 || (format->has_biases && weights->bias_stride != 1)
                          : weights->dtype != format->dtype) /* integers, which the format's own decode converts */
        return NULL;
    return gmm_kernel_choose("decode", format->name, features);
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

/* An array for `count` things; at least one, so that NULL means failure. */
static void *allocate(int64_t count, size_t size)
{
    return calloc(count > 0 ? (size_t)count : 1, size);
}

/* Read the indices and make the groups. */
static gmm_status group_rows(const gmm_call *call, gmm_plan *plan)
{
    gmm_status status = GMM_OK;
    int64_t count = call->products, *matrix = allocate(count, sizeof *matrix), *spare = allocate(count, sizeof *spare);
    bool sorted = true;

    plan->order = allocate(count, sizeof *plan->order);
    plan->lhs_offsets = allocate(count, sizeof *plan->lhs_offsets);
    if (!matrix || !spare || !plan->order || !plan->lhs_offsets) {
        status = gmm_fail(GMM_ERR_MEMORY, "no memory to plan %lld products", (long long)count);
        goto done;
    }
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
    plan->groups = allocate(plan->group_count, sizeof *plan->groups);
    if (!plan->groups) {
        status = gmm_fail(GMM_ERR_MEMORY, "no memory to plan %lld matrices", (long long)plan->group_count);
        goto done;
    }
    gmm_group_of_rows *group = plan->groups - 1;
    for (int64_t p = 0; p < count; p++) {
        if (p == 0 || matrix[plan->order[p]] != matrix[plan->order[p - 1]])
            *++group = (gmm_group_of_rows){.matrix = matrix[plan->order[p]], .first = p};
        group->rows += call->m;
    }
done:
    free(matrix);
    free(spare);
    return status;
}

static int64_t round_up(int64_t value, int64_t step)
{
    return (value + step - 1) / step * step;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Cut one group into items, appended to plan->items when that exists; returns how many. */
static int64_t cut(const gmm_call *call, gmm_plan *plan, const gmm_group_of_rows *group, double pieces)
{
    bool outer = !call->dot || group->rows > GMM_DOT_ROWS;
    int64_t row_step = outer ? plan->outer->mr : plan->dot->mr, items = 0;
    int64_t row_chunks = divide_up(group->rows, outer ? plan->outer_rows : GMM_DOT_ROWS);
    int64_t rows = round_up(divide_up(group->rows, row_chunks), row_step);
    int64_t column_chunks = (int64_t)(pieces / (double)row_chunks) + 1;
    int64_t columns = round_up(divide_up(call->n, column_chunks), GMM_PANEL);

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

static gmm_status cut_work(const gmm_context *context, const gmm_call *call, gmm_plan *plan)
{
    double work = (double)call->products * (double)call->m * (double)call->n * (double)call->k;
    double workers = work / WORK_PER_THREAD;
    int32_t threads = gmm_context_threads(context);
    int64_t mr = plan->outer->mr, rows = OUTER_FLOATS / (call->k > 0 ? call->k : 1) / mr * mr, items = 0;

    plan->workers = workers >= threads ? threads : workers < 1 ? 1 : (int32_t)workers;
    plan->outer_rows = rows < mr ? mr : rows > OUTER_TILES * mr ? OUTER_TILES * mr : rows;

    /* Twice the same walk: first to count, then to fill. One thread needs no pieces. */
    double all_pieces = plan->workers > 1 ? (double)ITEMS_PER_THREAD * plan->workers : 0;
    double total_rows = (double)call->products * (double)call->m;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t g = 0; g < plan->group_count; g++) {
            int64_t made = cut(call, plan, &plan->groups[g], all_pieces * (double)plan->groups[g].rows / total_rows);
            items += pass == 0 ? made : 0;
        }
        if (pass == 0 && !(plan->items = allocate(items, sizeof *plan->items)))
            return gmm_fail(GMM_ERR_MEMORY, "no memory for %lld pieces of work", (long long)items);
    }
    if (plan->item_count < plan->workers)
        plan->workers = (int32_t)plan->item_count;
    return GMM_OK;
}

gmm_status gmm_plan_make(const gmm_context *context, const gmm_call *call, gmm_plan *plan)
{
    gmm_status status;
    uint32_t features;

    *plan = (gmm_plan){0};
    if ((status = gmm_cpu_usable(context, &features)) || (status = gmm_indices_check(&call->lhs_indices)) ||
        (status = gmm_indices_check(&call->rhs_indices)))
        return status;
    plan->dot = gmm_kernel_choose("dot", "f32", features);
    plan->outer = gmm_kernel_choose("outer", "f32", features);
    plan->decoder = choose_decoder(&call->weights, features);
    plan->decode = plan->decoder ? plan->decoder->decode : call->weights.format->decode;
    if (call->products == 0 || call->m == 0 || call->n == 0)
        return GMM_OK;
    if ((status = group_rows(call, plan)))
        return status;
    return cut_work(context, call, plan);
}

void gmm_plan_free(gmm_plan *plan)
{
    free(plan->order);
    free(plan->lhs_offsets);
    free(plan->groups);
    free(plan->items);
    *plan = (gmm_plan){0};
}
