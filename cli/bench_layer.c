/* bench_layer.c - rows of whole expert layers: gmm_moe_plan_run, and beside it the same layer from three products.
 * SPDX-License-Identifier: MIT
 *
 * The other side is what one writes without gmm_moe: gate and up by gmm_run, SiLU, down by gmm_run, and the weighted
 * sum, its element-wise parts vectorised and shared between the same threads. Both sides get the same choice of
 * experts, but each its own matrices, so that neither finds what the other has read in a cache. They take turns. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench_silu.h"
#include "cast.h"
#include "command.h"
#include "gathermm/moe.h"
#include "output.h"
#include "progress.h"
#include "stop_signals.h"

enum {
    GATE,
    UP,
    DOWN,
    PARTS = BENCH_PARTS,
    MIN_PAIRS = 3,
    CHUNK = 256,
    THREADED_ELEMENTS = 1 << 14, /* fewer are not worth waking threads */
};

/* A layer in one stack of each projection, as plans borrow it. */
typedef struct stack {
    bench_operands operands[PARTS];
    gmm_moe_plan *plan;
    gmm_moe_layer layer;
} stack;

typedef struct layers {
    const bench_row *row;
    const bench_weights *weights; /* [PARTS] */
    const gmm_context *context;
    stack *stacks;
    int64_t x_shape[2], slots_shape[2];
    gmm_array x, ids, weight, out;
    /* the other side */
    int64_t row_shape[4], inner_shape[4], outer_shape[4];
    gmm_array rows, gate, up, down; /* (tokens, 1, 1, H), (tokens, top_k, 1, I) twice, (tokens, top_k, 1, H) */
    gmm_product products[PARTS];
    bench_operands operands[PARTS];
} layers;

static int32_t dtype_bytes(gmm_dtype dtype)
{
    return gmm_dtype_bits(dtype) / 8;
}

/* ---- what both sides need ---------------------------------------------------------------------------------------- */

static gmm_array take(gmm_dtype dtype, int32_t ndim, const int64_t *shape)
{
    size_t count = 1;

    for (int32_t d = 0; d < ndim; d++)
        count *= (size_t)shape[d];
    return (gmm_array){must_allocate(count, (size_t)dtype_bytes(dtype)), dtype, ndim, shape, NULL, 0};
}

static int make_stack(const layers *l, int64_t number, stack *s)
{
    gmm_moe_projections *p = &s->layer.experts;
    gmm_moe_weights *of[] = {&p->gate, &p->up, &p->down};

    s->layer = (gmm_moe_layer){.size = sizeof s->layer, .activation = GMM_ACTIVATION_SILU};
    for (int part = 0; part < PARTS; part++) {
        gmm_product product = {.size = sizeof product};
        bench_weights_set(&l->weights[part], number, &s->operands[part], &product);
        *of[part] = (gmm_moe_weights){.quantized = product.quantized, .prepared = product.prepared};
        if (!product.rhs)
            continue;
        of[part]->rhs = &s->operands[part].parts[0]; /* (E, N, K), as it lies */
        s->operands[part].parts[0].shape = l->weights[part].parts[0].shape;
        s->operands[part].parts[0].strides = l->weights[part].parts[0].strides;
    }
    gmm_status status =
        gmm_moe_plan_create(l->context, &s->layer, l->row->tokens, (int32_t)l->row->shape->top_k, &s->plan);
    return status ? complain_status(status) : EXIT_FINE;
}

static int make_layers(layers *l)
{
    const bench_shape *shape = l->row->shape;
    int64_t tokens = l->row->tokens, top_k = shape->top_k, stacks = l->weights[0].stacks;
    int status = EXIT_FINE;

    *l = (layers){
        .row = l->row,
        .weights = l->weights,
        .context = l->context,
        .stacks = must_allocate((size_t)stacks, sizeof *l->stacks),
        .x_shape = {tokens, shape->k},
        .slots_shape = {tokens, top_k},
        .row_shape = {tokens, 1, 1, shape->k},
        .inner_shape = {tokens, top_k, 1, shape->n},
        .outer_shape = {tokens, top_k, 1, shape->k},
    };
    gmm_dtype dtype = l->row->activations->dtype;
    l->x = take(dtype, 2, l->x_shape);
    l->ids = take(GMM_I32, 2, l->slots_shape);
    l->weight = take(GMM_F32, 2, l->slots_shape);
    l->out = take(dtype, 2, l->x_shape);
    l->gate = take(GMM_F32, 4, l->inner_shape);
    l->up = take(GMM_F32, 4, l->inner_shape);
    l->down = take(GMM_F32, 4, l->outer_shape);
    l->rows = l->x;
    l->rows.ndim = 4;
    l->rows.shape = l->row_shape;
    bench_random_numbers(dtype, l->x.data, (size_t)(tokens * shape->k * dtype_bytes(dtype)));
    bench_random_numbers(GMM_F32, l->weight.data, (size_t)(tokens * top_k) * sizeof(float));
    for (int part = 0; part < PARTS; part++)
        l->products[part] = (gmm_product){
            .size = sizeof l->products[part], .lhs = part == DOWN ? &l->gate : &l->rows, .rhs_indices = &l->ids};
    for (int64_t s = 0; !status && s < stacks; s++)
        status = make_stack(l, s, &l->stacks[s]);
    return status;
}

static void free_layers(layers *l)
{
    const gmm_array *owned[] = {&l->x, &l->ids, &l->weight, &l->out, &l->gate, &l->up, &l->down};

    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free(owned[i]->data);
    for (int64_t s = 0; s < l->weights[0].stacks; s++)
        gmm_moe_plan_destroy(l->stacks[s].plan);
    free(l->stacks);
}

/* ---- from three products ----------------------------------------------------------------------------------------- */

/* gate = silu(gate) * up */
static void activate(bench_silu *silu, float *gate, const float *up, int64_t count, int32_t threads)
{
    int64_t chunks = (count + CHUNK - 1) / CHUNK;

    (void)threads;
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(static) if (count > THREADED_ELEMENTS)
#endif
    for (int64_t c = 0; c < chunks; c++) {
        int64_t begin = c * CHUNK, end = begin + CHUNK < count ? begin + CHUNK : count;
        silu(gate + begin, up + begin, end - begin);
    }
}

/* A piece of a token's weighted sum. */
static void sum_chunk(const layers *l, int64_t token, int64_t begin, int64_t count, gmm_array *out)
{
    int64_t top_k = l->slots_shape[1], hidden = l->x_shape[1];
    const float *weight = (const float *)l->weight.data + token * top_k;
    const float *down = (const float *)l->down.data + token * top_k * hidden + begin;
    char *to = (char *)out->data + (token * hidden + begin) * dtype_bytes(out->dtype);
    float sum[CHUNK] = {0};

    for (int64_t j = 0; j < top_k; j++)
        for (int64_t i = 0; i < count; i++)
            sum[i] += weight[j] * down[j * hidden + i];
    if (out->dtype == GMM_F32)
        memcpy(to, sum, (size_t)count * sizeof *sum);
    else
        cast_elements(sum, GMM_F32, to, out->dtype, (size_t)count);
}

static void add_up(const layers *l, gmm_array *out)
{
    int64_t hidden = l->x_shape[1], in_row = (hidden + CHUNK - 1) / CHUNK, chunks = l->x_shape[0] * in_row;

#ifdef _OPENMP
#pragma omp parallel for num_threads(l->row->threads) schedule(static) if (chunks * CHUNK > THREADED_ELEMENTS)
#endif
    for (int64_t c = 0; c < chunks; c++) {
        int64_t begin = c % in_row * CHUNK;
        sum_chunk(l, c / in_row, begin, begin + CHUNK < hidden ? CHUNK : hidden - begin, out);
    }
}

static gmm_status run_products(layers *l, int64_t number, gmm_array *out)
{
    gmm_array *const results[] = {&l->gate, &l->up, &l->down};
    const bench_shape *shape = l->row->shape;
    gmm_status status = GMM_OK;

    for (int part = 0; !status && part < PARTS; part++) {
        bench_weights_set(&l->weights[part], number, &l->operands[part], &l->products[part]);
        if (part == DOWN)
            activate(bench_silu_for(l->context), l->gate.data, l->up.data, l->x_shape[0] * shape->top_k * shape->n,
                     l->row->threads);
        status = gmm_run(l->context, &l->products[part], results[part]);
    }
    if (!status)
        add_up(l, out);
    return status;
}

/* ---- both give the same ------------------------------------------------------------------------------------------ */

/*
 * How far apart the two may be, for each token. What they share (g and u, and the order of all sums) cannot differ; the
 * functions can, by 24 units of a, and so can what the down projection makes of it: 24 + 2 gamma(I + 8) of sum |w a|,
 * where no weight of a benchmark is larger than 1/4. int8 sums round a, and a rounding may fall to the other side:
 * 1/127 of the largest |a|. Then the weighted sum.
 */
static double allowed(const layers *l, int64_t token)
{
    const double unit = (double)FLT_EPSILON / 2, largest_weight = 0.25;
    int64_t top_k = l->slots_shape[1], inner = l->inner_shape[3], hidden = l->x_shape[1];
    bool int8 = l->row->mode->arithmetic == GMM_ARITHMETIC_INT8;
    double all = 0;

    for (int64_t j = 0; j < top_k; j++) {
        const float *a = (const float *)l->gate.data + (token * top_k + j) * inner;
        const float *y = (const float *)l->down.data + (token * top_k + j) * hidden;
        double sum = 0, most = 0, y_most = 0;
        for (int64_t i = 0; i < inner; i++) {
            sum += fabs((double)a[i]);
            most = fmax(most, fabs((double)a[i]));
        }
        for (int64_t i = 0; i < hidden; i++)
            y_most = fmax(y_most, fabs((double)y[i]));
        double far = largest_weight * (24 + 2 * ((double)inner + 8)) * unit * sum * 1.01;
        if (int8)
            far += largest_weight * (double)inner * most * 1.01 / 127;
        double weight = fabs((double)((const float *)l->weight.data)[token * top_k + j]);
        all += weight * (far + 2 * ((double)top_k + 4) * unit * (y_most + far));
    }
    return all;
}

/* Run both on the same matrices, with results in f32, and complain if they are farther apart than they may be. Of int8
 * sums, say too how far the layer is from one of f32 sums. */
static int check_same(bench_row *row, layers *l, int64_t number)
{
    gmm_array one = take(GMM_F32, 2, l->x_shape), other = take(GMM_F32, 2, l->x_shape);
    int64_t hidden = l->x_shape[1];
    const float *a = one.data, *b = other.data;
    double difference = 0, size = 0;
    bool same = true;
    gmm_status status = gmm_moe_plan_run(l->stacks[number].plan, &l->x, &l->ids, &l->weight, &one);

    if (!status)
        status = run_products(l, number, &other);
    for (int64_t t = 0; !status && same && t < l->x_shape[0]; t++) {
        double most = allowed(l, t);
        for (int64_t i = t * hidden; same && i < (t + 1) * hidden; i++) {
            same = fabs((double)a[i] - (double)b[i]) <= most;
            if (!same)
                complain("element %" PRId64 " of token %" PRId64
                         " is %.9g from the layer and %.9g from three products, "
                         "%.3g apart at most",
                         i - t * hidden, t, (double)a[i], (double)b[i], most);
        }
    }
    if (!status && same && row->mode->arithmetic != GMM_ARITHMETIC_F32) {
        status = gmm_moe_run(NULL, &l->stacks[number].layer, &l->x, &l->ids, &l->weight, &other);
        for (int64_t i = 0; !status && i < l->x_shape[0] * hidden; i++) {
            double off = (double)a[i] - (double)b[i];
            difference += off * off;
            size += (double)b[i] * (double)b[i];
        }
        row->error = size > 0 ? sqrt(difference / size) : 0;
    }
    free(one.data);
    free(other.data);
    if (status)
        return complain_status(status);
    return same ? EXIT_FINE : EXIT_COULD_NOT_RUN;
}

/* Compare both sides, and let every plan touch its scratch once: a model's plans have been used before. */
static int warm_up(bench_row *row, layers *l, bench_draw *draw)
{
    int status = EXIT_FINE;

    for (int64_t s = 0; !status && !stop_signal() && s < l->weights[0].stacks; s++) {
        bench_draw_next(draw, row->tokens, l->ids.data);
        if (s == 0) {
            status = check_same(row, l, draw->stack);
            continue;
        }
        gmm_status failed = gmm_moe_plan_run(l->stacks[draw->stack].plan, &l->x, &l->ids, &l->weight, &l->out);
        status = failed ? complain_status(failed) : EXIT_FINE;
    }
    return status;
}

/* ---- the clock --------------------------------------------------------------------------------------------------- */

/* Times of both sides, a pair for each choice of experts. */
typedef struct pairs {
    double *layer, *products, *ratio;
    size_t count, capacity;
    int64_t touched;
} pairs;

static void add_pair(pairs *p, const double seconds[2], int64_t touched)
{
    if (p->count == p->capacity) {
        p->capacity = p->capacity ? 2 * p->capacity : 64;
        p->layer = must_grow(p->layer, p->capacity, sizeof *p->layer);
        p->products = must_grow(p->products, p->capacity, sizeof *p->products);
        p->ratio = must_grow(p->ratio, p->capacity, sizeof *p->ratio);
    }
    p->layer[p->count] = seconds[0];
    p->products[p->count] = seconds[1];
    p->ratio[p->count++] = seconds[1] / seconds[0];
    p->touched += touched;
}

/* One call of a side, 0 the layer, with the next stack. */
static gmm_status time_side(layers *l, int side, int64_t number, double *seconds)
{
    double from = monotonic_seconds();
    gmm_status status = side == 0 ? gmm_moe_plan_run(l->stacks[number].plan, &l->x, &l->ids, &l->weight, &l->out)
                                  : run_products(l, number, &l->out);

    *seconds = monotonic_seconds() - from;
    return status;
}

/* Both sides with the same choice of experts: the same ranks, which are other matrices each time. */
static gmm_status time_pair(layers *l, bench_draw *draw, int first, double seconds[2], int64_t *touched)
{
    uint64_t state = draw->state;
    gmm_status status = GMM_OK;

    for (int i = 0; !status && i < 2; i++) {
        int side = i == 0 ? first : 1 - first;
        draw->state = state;
        *touched = bench_draw_next(draw, l->row->tokens, l->ids.data);
        status = time_side(l, side, draw->stack, &seconds[side]);
    }
    return status;
}

static void summarize(bench_row *row, const layers *l, const pairs *p)
{
    const bench_shape *shape = row->shape;
    const double rows = (double)row->tokens * (double)shape->k * 2;
    double bytes = 0, unused;

    bench_summarize(p->products, p->count, &row->products_s, &unused, &unused);
    bench_summarize(p->ratio, p->count, &row->ratio, &unused, &row->ratio_spread);
    bench_summarize(p->layer, p->count, &row->median_s, &row->min_s, &row->spread);
    row->repetitions = (int32_t)p->count;
    row->experts_held = l->weights[0].experts;
    for (int part = 0; part < PARTS; part++)
        bytes += (double)l->weights[part].matrix_bytes;
    row->bytes = (double)p->touched / (double)p->count * bytes + rows * dtype_bytes(row->activations->dtype);
    row->operations = 2.0 * PARTS * row->tokens * shape->top_k * (double)shape->k * (double)shape->n;
    row->bf16_parts = bench_bf16_parts(row);
}

int bench_time_layer(bench_row *row, const bench_request *request, const bench_weights *weights,
                     const gmm_context *context)
{
    layers l = {.row = row, .weights = weights, .context = context};
    double begin;
    bench_draw draw;
    pairs p = {0};
    int status = make_layers(&l);

    bench_draw_start(&draw, request->seed, weights, row->shape->top_k, request->in_cache);
    if (!status)
        status = warm_up(row, &l, &draw);
    begin = monotonic_seconds();
    for (int first = 0; !status && !stop_signal(); first = 1 - first) {
        double seconds[2];
        int64_t touched;
        gmm_status failed = time_pair(&l, &draw, first, seconds, &touched);
        if (failed)
            status = complain_status(failed);
        else
            add_pair(&p, seconds, touched);
        if (monotonic_seconds() - begin > request->seconds && p.count >= MIN_PAIRS)
            break;
    }
    if (!status && p.count)
        summarize(row, &l, &p);
    bench_draw_end(&draw);
    free_layers(&l);
    free(p.layer);
    free(p.products);
    free(p.ratio);
    return status;
}
