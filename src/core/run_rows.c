/* run_rows.c - weight rows whose numbers do not lie one after the other, copied for kernels that want them so. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "core/run.h"

/* Bytes of a code element: a word of packed codes, or a number. */
static int64_t code_bytes(const gmm_call *call)
{
    return call->quantized ? 4 : call->rhs.element_bytes;
}

static int64_t code_count(const gmm_call *call)
{
    return call->quantized ? call->k * call->weights.bits / 32 : call->k;
}

/* Of the scales of a row, and of its biases. */
static int64_t scale_room(const gmm_call *call)
{
    return call->quantized ? gmm_round_up(4 * (call->k / call->weights.group_size), 64) : 0;
}

int64_t gmm_row_copy_bytes(const gmm_call *call)
{
    if (gmm_weights_plain(&call->weights))
        return 0;
    return gmm_round_up(code_count(call) * code_bytes(call), 64) + 2 * scale_room(call);
}

/* `count` elements of `bytes`, `stride` elements apart, one after the other. */
static void copy_run(const void *from, int64_t count, int64_t stride, int64_t bytes, char *to)
{
    for (int64_t i = 0; i < count; i++)
        memcpy(to + i * bytes, (const char *)from + i * stride * bytes, (size_t)bytes);
}

gmm_rows gmm_plain_rows(const run_job *job, gmm_weights_offsets matrix, int64_t column, int64_t columns, char *copies)
{
    const gmm_call *call = job->call;
    const gmm_weights *weights = &call->weights;
    int64_t bytes = gmm_row_copy_bytes(call), codes_end = bytes - 2 * scale_room(call);
    bool has_biases = call->quantized && call->biases.ndim >= 0;

    if (bytes == 0)
        return weight_rows(job, matrix, column);
    for (int64_t c = 0; c < columns; c++) {
        gmm_row row = weight_row(job, matrix, column + c);
        char *to = copies + c * bytes;
        copy_run(row.codes, code_count(call), weights->code_stride, code_bytes(call), to);
        if (call->quantized)
            copy_run(row.scales, call->k / weights->group_size, weights->scale_stride, call->scales.element_bytes,
                     to + codes_end);
        if (has_biases)
            copy_run(row.biases, call->k / weights->group_size, weights->bias_stride, call->biases.element_bytes,
                     to + codes_end + scale_room(call));
    }
    return (gmm_rows){
        .first = {.codes = copies,
                  .scales = call->quantized ? copies + codes_end : NULL,
                  .biases = has_biases ? copies + codes_end + scale_room(call) : NULL},
        .code_bytes = bytes,
        .scale_bytes = bytes,
        .bias_bytes = bytes,
    };
}
