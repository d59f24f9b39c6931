/* run_sweep.c - items of few rows and weights that run along N: sums stay in place while weights are swept row by row.
 * SPDX-License-Identifier: MIT */
#include "core/run.h"

enum {
    /* Columns whose sums are kept together. */
    STRIP = 1024,
    /* Elements of K at a time: of f32 weights, whose rows the kernel reads in pieces of some KB that a memory page
     * holds together, and of others, decoded into 32 KB. */
    IN_PLACE = 64,
    DECODED = 8,
};

/* Scratch: x, if it is not read in place | sums | decoded weights. */
bool gmm_run_sweep_scratch(const gmm_call *call, const gmm_plan *plan, int64_t *floats)
{
    return gmm_mul_overflows(call->k, plan->few_rows, floats) ||
           gmm_add_overflows(*floats, (plan->few_rows + DECODED) * STRIP, floats);
}

/* Columns [column, column + columns), at most STRIP, of all rows. */
static void sweep_strip(const run_job *job, const gmm_item *item, gmm_weights_offsets matrix, const float *const *x,
                        int64_t column, int64_t columns, float *sums, float *decoded)
{
    const gmm_call *call = job->call;
    const float *at[GMM_MOST_FEW_ROWS];
    int64_t step = in_place(call) ? IN_PLACE : DECODED;
    gmm_sweep sweep = {.rows = item->rows, .columns = columns, .x = at, .sums = sums, .sums_stride = STRIP};

    for (int64_t r = 0; r < item->rows; r++)
        for (int64_t c = 0; c < columns; c++)
            sums[r * STRIP + c] = 0;
    for (int64_t k = 0; k < call->k; k += step) {
        sweep.k = minimum(step, call->k - k);
        for (int64_t r = 0; r < item->rows; r++)
            at[r] = x[r] + k;
        if (in_place(call)) {
            sweep.b = (const float *)weight_row(job, matrix, k).codes + column;
            sweep.b_stride = call->rhs.strides[call->rhs.ndim - 2];
        } else {
            for (int64_t i = 0; i < sweep.k; i++)
                job->plan->decode(&call->weights, weight_row(job, matrix, k + i), column, columns, decoded + i * STRIP);
            sweep.b = decoded;
            sweep.b_stride = STRIP;
        }
        job->plan->outer->sweep(&sweep);
    }
}

void gmm_run_sweep_item(const run_job *job, const gmm_item *item, float *scratch)
{
    const gmm_call *call = job->call;
    gmm_weights_offsets matrix = weight_offsets(job, item->group->matrix);
    float *sums = scratch + job->plan->few_rows * call->k, *decoded = sums + job->plan->few_rows * STRIP;
    const float *x[GMM_MOST_FEW_ROWS];

    for (int64_t r = 0; r < item->rows; r++)
        x[r] = lhs_floats(job, lhs_row(job, item, r), 0, call->k, scratch + r * call->k);
    for (int64_t c = 0; c < item->columns; c += STRIP) {
        int64_t column = item->column + c, columns = minimum(STRIP, item->columns - c);
        sweep_strip(job, item, matrix, x, column, columns, sums, decoded);
        for (int64_t r = 0; r < item->rows; r++)
            store(job, out_row(job, item, r), column, columns, sums + r * STRIP);
    }
}
