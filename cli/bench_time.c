/* bench_time.c - time one row, and hold it against the ceilings. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "command.h"
#include "gathermm/ceilings.h"
#include "output.h"
#include "progress.h"
#include "stop_signals.h"

enum {
    MIN_REPETITIONS = 3
};

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The value below which a share of the sorted values lies. */
static double quantile(const double *sorted, size_t count, double share)
{
    double at = share * (double)(count - 1);
    size_t below = (size_t)at, above = below + 1 < count ? below + 1 : below;

    return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

void bench_summarize(double *values, size_t count, double *median, double *lowest, double *spread)
{
    qsort(values, count, sizeof *values, rising);
    *lowest = values[0];
    *median = quantile(values, count, 0.5);
    *spread = (quantile(values, count, 0.75) - quantile(values, count, 0.25)) / *median;
}

/* Operands of a row; the weights come with each draw. */
typedef struct {
    int64_t lhs_shape[4], index_shape[2], out_shape[4];
    gmm_array lhs, indices, out;
    bench_operands weights;
    gmm_product product;
} operands;

static void make_operands(operands *o, const bench_row *row)
{
    const bench_shape *shape = row->shape;
    int64_t tokens = row->tokens, top_k = shape->top_k;
    gmm_dtype dtype = row->activations->dtype;
    size_t bytes = (size_t)gmm_dtype_bits(dtype) / 8, lhs_bytes = (size_t)(tokens * shape->k) * bytes;

    *o = (operands){
        .lhs_shape = {tokens, 1, 1, shape->k},
        .index_shape = {tokens, top_k},
        .out_shape = {tokens, top_k, 1, shape->n},
    };
    o->lhs = (gmm_array){must_allocate(lhs_bytes, 1), dtype, 4, o->lhs_shape, NULL, 0};
    o->indices =
        (gmm_array){must_allocate((size_t)(tokens * top_k), sizeof(int32_t)), GMM_I32, 2, o->index_shape, NULL, 0};
    o->out = (gmm_array){must_allocate((size_t)(tokens * top_k * shape->n), bytes), dtype, 4, o->out_shape, NULL, 0};
    o->product = (gmm_product){.size = sizeof o->product, .lhs = &o->lhs, .rhs_indices = &o->indices};
    bench_random_numbers(dtype, o->lhs.data, lhs_bytes);
}

static void free_operands(operands *o)
{
    free(o->lhs.data);
    free(o->indices.data);
    free(o->out.data);
}

int32_t bench_bf16_parts(const bench_row *row)
{
    gmm_dtype x = row->activations->dtype;

    if (!row->format->quantized && row->format->dtype == GMM_BF16)
        return x == GMM_BF16 ? 1 : x == GMM_F16 ? 2 : 3;
    return row->format->quantized && x == GMM_BF16 ? 1 : 0;
}

/* How far the product's results are from those of f32 sums, as a share of these: root mean squares. Both come as f32,
 * so that rounding to a shorter type is no part of it. */
static int measure_error(bench_row *row, const operands *o, const gmm_context *context)
{
    const int64_t count = o->out_shape[0] * o->out_shape[1] * o->out_shape[3];
    gmm_array got = o->out, want = o->out;
    double difference = 0, size = 0;

    got.dtype = want.dtype = GMM_F32;
    got.data = must_allocate((size_t)count, sizeof(float));
    want.data = must_allocate((size_t)count, sizeof(float));
    gmm_status status = gmm_run(context, &o->product, &got);
    if (!status)
        status = gmm_run(NULL, &o->product, &want);
    for (int64_t i = 0; !status && i < count; i++) {
        double exact = ((const float *)want.data)[i], off = ((const float *)got.data)[i] - exact;
        difference += off * off;
        size += exact * exact;
    }
    row->error = size > 0 ? sqrt(difference / size) : 0;
    free(got.data);
    free(want.data);
    return status ? complain_status(status) : EXIT_FINE;
}

int bench_time(bench_row *row, const bench_request *request, const bench_weights *weights, const gmm_context *context)
{
    int status = EXIT_FINE;
    bench_draw draw;
    operands o;
    double *times = NULL, begin = monotonic_seconds();
    size_t count = 0, capacity = 0;
    int64_t touched_total = 0;
    const double moved = (double)row->tokens * gmm_dtype_bits(row->activations->dtype) / 8 *
                         ((double)row->shape->k + (double)row->shape->top_k * (double)row->shape->n);

    make_operands(&o, row);
    bench_draw_start(&draw, request->seed, weights, row->shape->top_k, request->in_cache);
    /* The first call is not counted: it makes scratch and threads. */
    for (bool counted = false; !status && !stop_signal(); counted = true) {
        int64_t touched = bench_draw_next(&draw, row->tokens, o.indices.data);
        bench_weights_set(weights, draw.stack, &o.weights, &o.product);
        double from = monotonic_seconds();
        gmm_status failed = gmm_run(context, &o.product, &o.out);
        double to = monotonic_seconds();
        if (failed)
            status = complain_status(failed);
        if (!counted || status)
            continue;
        if (count == capacity)
            times = must_grow(times, capacity = capacity ? 2 * capacity : 64, sizeof *times);
        times[count++] = to - from;
        touched_total += touched;
        if (to - begin > request->seconds && count >= MIN_REPETITIONS)
            break;
    }
    if (!status && row->mode->arithmetic != GMM_ARITHMETIC_F32)
        status = measure_error(row, &o, context);
    if (!status && count) {
        bench_summarize(times, count, &row->median_s, &row->min_s, &row->spread);
        row->repetitions = (int32_t)count;
        row->experts_held = weights->experts;
        row->bf16_parts = bench_bf16_parts(row);
        row->bytes = (double)touched_total / (double)count * (double)weights->matrix_bytes + moved;
        row->operations = 2.0 * row->tokens * row->shape->top_k * (double)row->shape->k * (double)row->shape->n;
    }
    bench_draw_end(&draw);
    free_operands(&o);
    free(times);
    return status;
}

double bench_gbytes_s(const bench_row *row)
{
    return row->bytes / row->median_s * 1e-9;
}

double bench_gflop_s(const bench_row *row)
{
    return row->operations / row->median_s * 1e-9;
}

void bench_hold(bench_row *row)
{
    bool int8 = row->mode->arithmetic == GMM_ARITHMETIC_INT8;
    bench_binding binds = bench_bind(row->ceilings, row->bytes, row->operations,
                                     int8 ? 0 : row->bf16_parts * row->operations, int8 ? row->operations : 0);

    row->ceiling = binds.ceiling;
    row->ceiling_rate = binds.rate;
    row->ceiling_share = binds.seconds / row->median_s;
}
