/* run.h - what both kinds of sums share when a plan is carried out: where rows of the operands and of the output lie.
 */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_RUN_H
#define GMM_RUN_H

#include "core/call.h"
#include "formats/convert.h"

typedef struct run_job {
    const gmm_call *call;
    const gmm_plan *plan;
    const gmm_view *out;
    float *scratch;
    int64_t scratch_floats; /* per worker */
    char *rounded;          /* int8 sums: all rows of lhs, if they are rounded before the items; else NULL */
    _Atomic int64_t next;
} run_job;

static inline int64_t minimum(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Which product and which of its rows is row number `row` of a group? */
static inline int64_t product_of(const run_job *job, const gmm_item *item, int64_t row, int64_t *row_in_product)
{
    int64_t m = job->call->m;

    *row_in_product = (item->row + row) % m;
    return job->plan->order[item->group->first + (item->row + row) / m];
}

static inline const char *lhs_row(const run_job *job, const gmm_item *item, int64_t row)
{
    const gmm_view *lhs = &job->call->lhs;
    int64_t m, product = product_of(job, item, row, &m);

    return gmm_view_at(lhs, job->plan->lhs_offsets[product] + m * lhs->strides[lhs->ndim - 2]);
}

/* Elements [k, k + count) of a row of lhs as f32: in place when it is such, else converted into `buffer`. */
static inline const float *lhs_floats(const run_job *job, const char *row, int64_t k, int64_t count, float *buffer)
{
    const gmm_view *lhs = &job->call->lhs;
    int64_t stride = lhs->strides[lhs->ndim - 1];
    const char *at = row + k * stride * lhs->element_bytes;

    if (lhs->dtype == GMM_F32 && stride == 1 && (uintptr_t)at % sizeof(float) == 0)
        return (const float *)(const void *)at;
    if (job->plan->decode_lhs)
        job->plan->decode_lhs(&job->plan->lhs, (gmm_row){.codes = at}, 0, count, buffer);
    else
        gmm_load_run(lhs->dtype, job->call->dtype, at, stride, count, buffer);
    return buffer;
}

/* Row number `row` (along the axis that is not read in sequence) of a matrix of rhs. */
static inline gmm_row weight_row(const run_job *job, gmm_weights_offsets at, int64_t row)
{
    const gmm_call *call = job->call;
    const gmm_view *rhs = &call->rhs;

    if (call->quantized)
        return gmm_weights_row(rhs, &call->scales, &call->biases, at, row);
    int64_t stride = rhs->strides[rhs->ndim - (call->dot ? 1 : 2)];
    return (gmm_row){.codes = gmm_view_at(rhs, at.w + row * stride)};
}

static inline gmm_weights_offsets weight_offsets(const run_job *job, int64_t matrix)
{
    const gmm_call *call = job->call;

    if (call->quantized)
        return gmm_weights_matrix(&call->rhs, &call->scales, &call->biases, matrix);
    return (gmm_weights_offsets){.w = gmm_view_offset(&call->rhs, call->rhs.ndim - 2, matrix)};
}

/* Bytes from one row to the next; an axis of one row may have any stride. */
static inline int64_t row_bytes(const gmm_view *view, int32_t axis)
{
    return view->shape[axis] > 1 ? view->strides[axis] * view->element_bytes : 0;
}

/* Weight rows from number `first` on (along the axis that is not read in sequence). */
static inline gmm_rows weight_rows(const run_job *job, gmm_weights_offsets matrix, int64_t first)
{
    const gmm_call *call = job->call;
    const gmm_view *rhs = &call->rhs, *scales = &call->scales, *biases = &call->biases;
    gmm_rows rows = {.first = weight_row(job, matrix, first)};

    if (!call->quantized) {
        rows.code_bytes = row_bytes(rhs, rhs->ndim - (call->dot ? 1 : 2));
        return rows;
    }
    rows.code_bytes = row_bytes(rhs, rhs->ndim - 2);
    rows.scale_bytes = row_bytes(scales, scales->ndim - 2);
    if (biases->ndim >= 0)
        rows.bias_bytes = row_bytes(biases, biases->ndim - 2);
    return rows;
}

/* Where row number `row` of an item begins in the output. */
static inline char *out_row(const run_job *job, const gmm_item *item, int64_t row)
{
    const gmm_view *out = job->out;
    int32_t batch_ndim = job->call->batch_ndim;
    int64_t m, product = product_of(job, item, row, &m);

    return gmm_view_at(out, gmm_view_offset(out, batch_ndim, product) + m * out->strides[batch_ndim]);
}

/* Store results of one row, columns [column, column + count) of the product. */
static inline void store(const run_job *job, char *row, int64_t column, int64_t count, const float *values)
{
    const gmm_view *out = job->out;
    int64_t stride = out->strides[out->ndim - 1];

    gmm_store_run(out->dtype, values, count, row + column * stride * out->element_bytes, stride);
}

/* Are weights f32 that lie one after the other, so that they can be read where they are? */
static inline bool in_place(const gmm_call *call)
{
    return !call->quantized && call->rhs.dtype == GMM_F32 && call->weights.code_stride == 1 &&
           (uintptr_t)call->rhs.data % sizeof(float) == 0;
}

/* Weights of columns [column, column + columns), elements [k, k + count), for an outer kernel to fetch in so many
 * steps. */
void gmm_look_ahead(const run_job *job, gmm_weights_offsets matrix, int64_t column, int64_t columns, int64_t k,
                    int64_t count, int64_t steps, gmm_ahead *ahead);

/* ---- weights as kernels of whole tiles want them: run_rows.c ----------------------------------------------------- */

/* Bytes of a copy of a row whose codes, scales or biases do not lie one after the other, a multiple of 64; 0 if they
 * do. */
int64_t gmm_row_copy_bytes(const gmm_call *call);

/* Weight rows of these columns with strides of 1: as they are, or copied to `copies`. */
gmm_rows gmm_plain_rows(const run_job *job, gmm_weights_offsets matrix, int64_t column, int64_t columns, char *copies);

/* ---- few rows of lhs, weights along N: run_sweep.c --------------------------------------------------------------- */

/* Floats of scratch for an item. True when that overflows. */
bool gmm_run_sweep_scratch(const gmm_call *call, const gmm_plan *plan, int64_t *floats);

void gmm_run_sweep_item(const run_job *job, const gmm_item *item, float *scratch);

/* ---- groups for a BLAS: blas_route.c ---------------------------------------------------------------------------- */

/* Floats of scratch for all of them. True when that overflows. */
bool gmm_run_blas_scratch(const gmm_call *call, const gmm_plan *plan, int64_t *floats);

/* All groups that are for it, one call after another. */
void gmm_run_blas(const run_job *job, float *scratch);

/* ---- int8 sums: run_int8.c --------------------------------------------------------------------------------------- */

/* Floats of scratch for an item. True when that overflows. */
bool gmm_run_int8_scratch(const gmm_call *call, const gmm_plan *plan, int64_t *floats);

/* When rows of lhs are used more than once, by several matrices or by pieces of one, round all of them, once: with the
 * 8 experts of a token that is 7/8 of 5 % of a call. False when there is no memory. Nothing is written but the arena's.
 */
bool gmm_run_int8_round(const gmm_context *context, run_job *job, gmm_arena *arena);

void gmm_run_int8_item(const run_job *job, const gmm_item *item, float *scratch);

/* ---- tile sums: run_tile.c --------------------------------------------------------------------------------------- */

/* Floats of scratch for an item. True when that overflows. */
bool gmm_run_tile_scratch(const gmm_call *call, const gmm_plan *plan, int64_t *floats);

/* `*packed` is the row of lhs that lies packed in this scratch, alone, or NULL: a token has several experts. */
void gmm_run_tile_item(const run_job *job, const gmm_item *item, float *scratch, const char **packed);

#endif
