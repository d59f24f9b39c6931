/* blas_route.c - groups of dense f32 rows that a context's BLAS multiplies: which, and how.
 * SPDX-License-Identifier: MIT
 *
 * The BLAS sees memory of ours for A and C: rows gathered one after the other, and a C of zeros, both from a 64-byte
 * boundary on. Only B is read where the caller has it. So few circumstances are left for a fault to depend on, and no
 * library ever holds a pointer to the caller's output. The copies cost 2 K + 3 N floats a row, against 2 K N
 * operations.
 */
#include <string.h>

#include "base/context.h"
#include "core/run.h"

enum {
    LEAST_COLUMNS = 2, /* one column is one row of the transposed product, which is what Fortran's side computes */
    LEAST_ROWS = 64,   /* of a call, if there are more */
    MOST_ROWS = 4096,
    MOST_FLOATS = 8 << 20 /* gathered rows and results of a call: 32 MB */
};

/* Can rhs be handed over as it lies? */
static bool find_layout(const gmm_call *call, gmm_plan *plan)
{
    const gmm_view *rhs = &call->rhs;

    if (call->quantized || call->panel_block || call->lhs.dtype != GMM_F32 || rhs->dtype != GMM_F32 ||
        (uintptr_t)rhs->data % sizeof(float) || call->k < 1 || call->n < LEAST_COLUMNS)
        return false;
    int64_t k_stride = rhs->strides[rhs->ndim - 2], n_stride = rhs->strides[rhs->ndim - 1];
    if (n_stride == 1 && (call->k == 1 || k_stride >= call->n)) {
        plan->blas_transposes = false;
        plan->blas_ld = call->k == 1 ? call->n : k_stride;
        return true;
    }
    plan->blas_transposes = true;
    plan->blas_ld = n_stride;
    return (k_stride == 1 || call->k == 1) && n_stride >= call->k;
}

static const float *matrix_of(const gmm_call *call, const gmm_group_of_rows *group)
{
    int64_t offset = gmm_view_offset(&call->rhs, call->rhs.ndim - 2, group->matrix);

    return (const float *)(const void *)gmm_view_at(&call->rhs, offset);
}

static gmm_provider_product product_of_rows(const gmm_call *call, const gmm_plan *plan, const gmm_group_of_rows *group,
                                            int64_t rows)
{
    return (gmm_provider_product){
        .transpose_b = plan->blas_transposes,
        .m = rows,
        .n = call->n,
        .k = call->k,
        .b = matrix_of(call, group),
        .ldb = plan->blas_ld,
    };
}

/* The calls of a group differ by one row at most, so none has a single row. */
static int64_t calls_of(const gmm_plan *plan, const gmm_group_of_rows *group)
{
    return (group->rows + plan->blas_rows - 1) / plan->blas_rows;
}

static int64_t call_begin(const gmm_plan *plan, const gmm_group_of_rows *group, int64_t number)
{
    return gmm_tile_begin(group->rows, calls_of(plan, group), number);
}

void gmm_plan_blas(const gmm_context *context, const gmm_call *call, gmm_plan *plan)
{
    if (!context || !context->provider || !find_layout(call, plan))
        return;
    int64_t width = call->k > INT64_MAX / 2 - call->n ? INT64_MAX / 2 : call->k + call->n, rows = MOST_FLOATS / width;
    plan->provider = context->provider;
    plan->blas_rows = rows < LEAST_ROWS ? LEAST_ROWS : rows > MOST_ROWS ? MOST_ROWS : rows;
    int64_t largest = 0;
    for (int64_t g = 0; g < plan->group_count; g++)
        largest = plan->groups[g].rows > largest ? plan->groups[g].rows : largest;
    plan->blas_rows = minimum(plan->blas_rows, largest);
    for (int64_t g = 0; g < plan->group_count; g++) {
        gmm_group_of_rows *group = &plan->groups[g];
        if (group->rows <= plan->few_rows || group->rows < 2)
            continue;
        gmm_provider_product most = product_of_rows(call, plan, group, call_begin(plan, group, 1));
        gmm_provider_product least = most;
        least.m = group->rows - call_begin(plan, group, calls_of(plan, group) - 1);
        group->blas = gmm_provider_takes(plan->provider, &most) && gmm_provider_takes(plan->provider, &least);
        plan->blas_groups += group->blas;
        plan->blas_left += !group->blas;
    }
}

static int64_t whole_lines(int64_t floats)
{
    return (floats + 15) / 16 * 16;
}

bool gmm_run_blas_scratch(const gmm_call *call, const gmm_plan *plan, int64_t *floats)
{
    int64_t results;

    if (gmm_mul_overflows(plan->blas_rows, call->k, floats) || gmm_mul_overflows(plan->blas_rows, call->n, &results) ||
        gmm_add_overflows(*floats, results, floats))
        return true;
    return gmm_add_overflows(*floats, 32, floats);
}

/* Rows [begin, end) of a group. */
static void multiply(const run_job *job, const gmm_group_of_rows *group, int64_t begin, int64_t end, float *scratch)
{
    const gmm_call *call = job->call;
    const gmm_item item = {.group = group, .row = begin, .rows = end - begin, .columns = call->n};
    float *a = scratch, *c = scratch + whole_lines(item.rows * call->k);
    gmm_provider_product product = product_of_rows(call, job->plan, group, item.rows);

    for (int64_t r = 0; r < item.rows; r++) {
        float *to = a + r * call->k;
        const float *from = lhs_floats(job, lhs_row(job, &item, r), 0, call->k, to);
        if (from != to)
            memcpy(to, from, (size_t)call->k * sizeof(float));
    }
    memset(c, 0, (size_t)(item.rows * call->n) * sizeof(float)); /* never what was there: docs/blas.md */
    product.a = a;
    product.c = c;
    gmm_provider_multiply(job->plan->provider, &product);
    for (int64_t r = 0; r < item.rows; r++)
        store(job, out_row(job, &item, r), 0, call->n, c + r * call->n);
}

void gmm_run_blas(const run_job *job, float *scratch)
{
    const gmm_plan *plan = job->plan;

    for (int64_t g = 0; g < plan->group_count; g++) {
        const gmm_group_of_rows *group = &plan->groups[g];
        for (int64_t i = 0; group->blas && i < calls_of(plan, group); i++)
            multiply(job, group, call_begin(plan, group, i), call_begin(plan, group, i + 1), scratch);
    }
}
