/* layer_time.c - time a layer on hidden states that change from run to run, and hold it against the ceilings. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "gathermm/ceilings.h"
#include "layer.h"
#include "output.h"
#include "progress.h"
#include "stop_signals.h"

enum {
    MIN_REPETITIONS = 3
};

bool layer_goes_on(void *user, int64_t done, int64_t total)
{
    (void)user, (void)done, (void)total;
    return stop_signal() == 0;
}

/* How many experts tokens [first, first + count) go to. */
static int64_t experts_touched(const layer_choice *choice, int64_t experts, int64_t first, int64_t count)
{
    bool *seen = must_allocate((size_t)experts, sizeof *seen);
    int64_t touched = 0;

    for (int64_t slot = first * choice->slots; slot < (first + count) * choice->slots; slot++) {
        touched += !seen[choice->ids[slot]];
        seen[choice->ids[slot]] = true;
    }
    free(seen);
    return touched;
}

/* Weights of touched experts once each, router and shared expert, hidden states in and out. */
static void count_work(layer_row *row, const gmm_moe_layer *moe, double touched)
{
    const gmm_moe_info *info = &row->facts->info;
    const gmm_moe_projections *s = &moe->shared;
    double tokens = row->tokens, hidden = (double)info->hidden;
    double shared = (double)(layer_weight_bytes(&s->gate) + layer_weight_bytes(&s->up) +
                             layer_weight_bytes(&s->gate_up) + layer_weight_bytes(&s->down));
    double inner = (double)(moe->routing->top_k * info->intermediate + info->shared_intermediate);

    row->bytes = touched * (double)row->expert_bytes / (double)info->experts + shared +
                 (double)layer_weight_bytes(&moe->routing->router) + tokens * 2 * hidden * (double)sizeof(float);
    row->operations = 2 * tokens * hidden * (3 * inner + (double)info->experts);
}

int layer_time(layer_row *row, const layer_request *request, const gmm_context *context, const gmm_moe_layer *moe,
               const layer_input *input, const layer_choice *choice)
{
    const int64_t shape[] = {row->tokens, input->hidden}, windows = input->rows / row->tokens;
    gmm_array x = {.dtype = GMM_F32, .ndim = 2, .shape = shape}, out = x;
    gmm_moe_plan *plan;
    double *times = NULL, begin = monotonic_seconds(), touched = 0;
    size_t count = 0, capacity = 0;
    gmm_status status = gmm_moe_plan_create(context, moe, row->tokens, 0, &plan);

    if (status)
        return complain_status(status);
    out.data = must_allocate((size_t)(shape[0] * shape[1]), sizeof(float));
    /* The first call is not counted: it starts threads. */
    for (int64_t turn = 0; !status && !stop_signal(); turn++) {
        int64_t first = turn % windows * row->tokens;
        x.data = input->values + first * input->hidden;
        double from = monotonic_seconds();
        status = gmm_moe_plan_run(plan, &x, NULL, NULL, &out);
        double to = monotonic_seconds();
        if (turn == 0 || status)
            continue;
        if (count == capacity)
            times = must_grow(times, capacity = capacity ? 2 * capacity : 64, sizeof *times);
        times[count++] = to - from;
        touched += (double)experts_touched(choice, row->facts->info.experts, first, row->tokens);
        if (to - begin > request->seconds && count >= MIN_REPETITIONS)
            break;
    }
    gmm_moe_plan_destroy(plan);
    free(out.data);
    if (!status && count) {
        row->repetitions = (int32_t)count;
        bench_summarize(times, count, &row->median_s, &row->min_s, &row->spread);
        count_work(row, moe, touched / (double)count);
    }
    free(times);
    return status && status != GMM_ERR_CANCELLED ? complain_status(status) : EXIT_FINE;
}

double layer_tokens_s(const layer_row *row)
{
    return row->tokens / row->median_s;
}

double layer_gbytes_s(const layer_row *row)
{
    return row->bytes / row->median_s * 1e-9;
}

/* The hidden states are f32: bf16 weights take three bf16 products each. */
void layer_hold(layer_row *row, const bench_ceilings *c)
{
    double bf16_operations = strcmp(row->format, "bf16") ? 0 : 3 * row->operations;
    bench_binding binds = bench_bind(c, row->bytes, row->operations, bf16_operations, 0);

    row->ceiling = binds.ceiling;
    row->ceiling_rate = binds.rate;
    row->ceiling_share = binds.seconds / row->median_s;
}
