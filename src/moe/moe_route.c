/* moe_route.c - see moe_route.h: checks of a routing, then each thread takes a part of the tokens. */
/* SPDX-License-Identifier: MIT */
#include "moe/moe_route.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/context.h"
#include "base/error.h"
#include "cpu/cpu.h"
#include "formats/convert.h"
#include "kernels/exponential.h"
#include "threads/parallel.h"

enum {
    TOKENS_PER_TASK = 16
};

/* ---- what a routing may be ---- */

static gmm_status check_correction(const gmm_routing *routing, int64_t experts, gmm_view *correction)
{
    gmm_status status;

    correction->ndim = -1;
    if (!routing->correction_bias)
        return GMM_OK;
    if (routing->kind != GMM_ROUTING_SIGMOID)
        return gmm_fail(GMM_ERR_ARGUMENT, "correction_bias is for GMM_ROUTING_SIGMOID; kind is %d", (int)routing->kind);
    if ((status = gmm_view_make(routing->correction_bias, "correction_bias", correction)))
        return status;
    if (!gmm_is_float(correction->dtype))
        return gmm_fail(GMM_ERR_DTYPE, "correction_bias is %s; it may be f32, f16 or bf16",
                        gmm_dtype_name(correction->dtype));
    if (correction->ndim != 1 || correction->shape[0] != experts)
        return gmm_fail(GMM_ERR_SHAPE, "correction_bias must have one axis of %" PRId64 " experts", experts);
    for (int64_t e = 0; e < experts; e++) {
        float value;
        gmm_load_run(correction->dtype, GMM_F32, gmm_view_at(correction, e * correction->strides[0]), 1, 1, &value);
        if (!isfinite(value))
            return gmm_fail(GMM_ERR_ARGUMENT, "correction_bias[%" PRId64 "] is %g; it must be finite", e,
                            (double)value);
    }
    return GMM_OK;
}

static gmm_status check_groups(const gmm_routing *routing, int64_t experts)
{
    int64_t groups = routing->n_group, kept = routing->topk_group;

    if (groups < 0 || kept < 0)
        return gmm_fail(GMM_ERR_ARGUMENT, "n_group is %" PRId64 " and topk_group %" PRId64 "; neither may be negative",
                        groups, kept);
    if (groups <= 1)
        return GMM_OK;
    if (routing->kind != GMM_ROUTING_SIGMOID)
        return gmm_fail(GMM_ERR_ARGUMENT, "n_group is %" PRId64 "; groups are for GMM_ROUTING_SIGMOID", groups);
    if (experts % groups != 0)
        return gmm_fail(GMM_ERR_ARGUMENT, "n_group is %" PRId64 "; %" PRId64 " experts are no such multiple", groups,
                        experts);
    if (kept < 1 || kept > groups)
        return gmm_fail(GMM_ERR_ARGUMENT, "topk_group is %" PRId64 "; it may be 1 to %" PRId64, kept, groups);
    if (!routing->drop_to_zero && routing->top_k > experts / groups * kept)
        return gmm_fail(GMM_ERR_ARGUMENT, "top_k is %" PRId32 "; %" PRId64 " groups of %" PRId64 " have fewer experts",
                        routing->top_k, kept, experts / groups);
    return GMM_OK;
}

gmm_status gmm_routing_check(const gmm_routing *routing, int64_t experts, gmm_view *correction)
{
    gmm_status status;

    if (!routing)
        return gmm_fail(GMM_ERR_NULL, "routing is NULL");
    if (routing->size != sizeof *routing)
        return gmm_fail(GMM_ERR_ARGUMENT, "routing->size is %zu; this library knows %zu", routing->size,
                        sizeof *routing);
    /* As a number: what a caller puts there need not be one of the names. */
    int64_t kind = (int64_t)routing->kind;
    if (kind < GMM_ROUTING_SOFTMAX_TOPK || kind > GMM_ROUTING_SIGMOID)
        return gmm_fail(GMM_ERR_ARGUMENT, "routing->kind is %" PRId64 "; it may be 0 to %d", kind, GMM_ROUTING_SIGMOID);
    if (experts > INT32_MAX)
        return gmm_fail(GMM_ERR_SIZE, "%" PRId64 " experts; at most %" PRId32, experts, INT32_MAX);
    if (routing->top_k < 1 || routing->top_k > experts)
        return gmm_fail(GMM_ERR_ARGUMENT, "top_k is %" PRId32 "; it may be 1 to %" PRId64, routing->top_k, experts);
    if (!isfinite(routing->scale))
        return gmm_fail(GMM_ERR_ARGUMENT, "scale is %g; it must be finite", (double)routing->scale);
    status = check_groups(routing, experts);
    return status ? status : check_correction(routing, experts, correction);
}

/* ---- the choice ---- */

typedef struct route_job {
    const gmm_routing *routing;
    const gmm_view *correction, *logits, *ids, *weights;
    int64_t tokens, experts, tasks, task_bytes;
    char *scratch;
    bool check; /* look for logits that cannot be used, write nothing */
} route_job;

/* What a task works with; in its scratch. */
typedef struct route_rows {
    int64_t bad;     /* the first element of the task's logits that cannot be used; -1: none */
    float *logit;    /* a token's */
    float *key;      /* what is compared */
    float *score;    /* what weighs */
    bool *closed;    /* not, or no longer, to be chosen */
    int32_t *chosen; /* top_k */
} route_rows;

static int64_t align(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static int64_t task_bytes(int64_t experts)
{
    return align((int64_t)sizeof(route_rows)) + 4 * align(experts * 4) + align(experts);
}

int64_t gmm_routing_scratch(int64_t tasks, int64_t experts)
{
    return tasks * task_bytes(experts);
}

static route_rows *rows_of(const route_job *job, int64_t task)
{
    char *at = job->scratch + task * job->task_bytes;
    int64_t floats = align(job->experts * 4);
    route_rows *rows = (route_rows *)(void *)at;

    at += align((int64_t)sizeof *rows);
    rows->logit = (float *)(void *)at;
    rows->key = (float *)(void *)(at + floats);
    rows->score = (float *)(void *)(at + 2 * floats);
    rows->chosen = (int32_t *)(void *)(at + 3 * floats);
    rows->closed = (bool *)(at + 4 * floats);
    return rows;
}

static void load(const route_job *job, int64_t token, float *logit)
{
    const gmm_view *logits = job->logits;

    gmm_load_run(logits->dtype, GMM_F32, gmm_view_at(logits, token * logits->strides[0]), logits->strides[1],
                 job->experts, logit);
}

/* The first logit of a token that cannot be used; -1: none. All -infinity: the first. */
static int64_t bad_logit(const float *logit, int64_t experts)
{
    bool any = false;

    for (int64_t e = 0; e < experts; e++) {
        if (isnan(logit[e]) || logit[e] == INFINITY)
            return e;
        any |= logit[e] != -INFINITY;
    }
    return any ? -1 : 0;
}

/* The open one with the largest key; of equals the first. There is one. */
static int64_t best_of(const float *key, const bool *closed, int64_t count)
{
    int64_t best = -1;

    for (int64_t e = 0; e < count; e++)
        if (!closed[e] && (best < 0 || key[e] > key[best]))
            best = e;
    return best;
}

/* Close the experts of all but the topk_group best groups, or let them compete with 0. */
static void drop_groups(const gmm_routing *routing, int64_t experts, route_rows *rows)
{
    int64_t groups = routing->n_group, size = experts / groups;
    float *group_score = rows->logit; /* which is used up */
    bool *dropped = rows->closed;     /* of groups, in front of what it will be of experts */

    for (int64_t g = 0; g < groups; g++) {
        float first = rows->key[g * size], second = -INFINITY;
        for (int64_t i = 1; i < size; i++) {
            float key = rows->key[g * size + i];
            second = key > first ? first : key > second ? key : second;
            first = key > first ? key : first;
        }
        group_score[g] = size > 1 ? first + second : first;
        dropped[g] = false;
    }
    for (int32_t i = 0; i < routing->topk_group; i++)
        dropped[best_of(group_score, dropped, groups)] = true; /* the kept ones, for now */
    for (int64_t g = groups - 1; g >= 0; g--) {                /* from behind: flags of groups are read before */
        bool kept = dropped[g];
        for (int64_t i = size - 1; i >= 0; i--) {
            if (!kept && routing->drop_to_zero)
                rows->key[g * size + i] = 0;
            rows->closed[g * size + i] = !kept && !routing->drop_to_zero;
        }
    }
}

/* Keys and scores from logits. */
static void score(const route_job *job, route_rows *rows)
{
    const gmm_routing *routing = job->routing;
    int64_t experts = job->experts;

    memset(rows->closed, 0, (size_t)experts * sizeof *rows->closed);
    if (routing->kind != GMM_ROUTING_SIGMOID) {
        float largest = -INFINITY;
        memcpy(rows->key, rows->logit, (size_t)experts * sizeof *rows->key);
        for (int64_t e = 0; e < experts; e++)
            largest = rows->logit[e] > largest ? rows->logit[e] : largest;
        for (int64_t e = 0; e < experts; e++)
            rows->score[e] = gmm_exp_negative(rows->logit[e] - largest);
        return;
    }
    if (job->correction->ndim >= 0)
        gmm_load_run(job->correction->dtype, GMM_F32, job->correction->data, job->correction->strides[0], experts,
                     rows->key);
    else
        memset(rows->key, 0, (size_t)experts * sizeof *rows->key);
    for (int64_t e = 0; e < experts; e++) {
        rows->score[e] = gmm_logistic(rows->logit[e]);
        rows->key[e] = rows->score[e] + rows->key[e];
    }
    if (routing->n_group > 1)
        drop_groups(routing, experts, rows);
}

/* What scores are divided by: a sum of f32 numbers in double precision, in order. */
static double divisor(const route_job *job, const route_rows *rows)
{
    const gmm_routing *routing = job->routing;
    bool all = routing->kind == GMM_ROUTING_SOFTMAX_TOPK && !routing->renormalise;
    double sum = 0;

    if (routing->kind == GMM_ROUTING_SIGMOID && (!routing->renormalise || routing->top_k == 1))
        return 1;
    for (int64_t e = 0; e < job->experts && all; e++)
        sum += (double)rows->score[e];
    for (int32_t j = 0; j < routing->top_k && !all; j++)
        sum += (double)rows->score[rows->chosen[j]];
    return sum > 0 ? sum : 1;
}

static void store_index(const gmm_view *ids, int64_t token, int64_t slot, int32_t id)
{
    memcpy(gmm_view_at(ids, token * ids->strides[0] + slot * ids->strides[1]), &id, sizeof id);
}

static void route_token(const route_job *job, route_rows *rows, int64_t token)
{
    const gmm_routing *routing = job->routing;
    double scale = routing->scale == 0 ? 1 : (double)routing->scale;

    load(job, token, rows->logit);
    score(job, rows);
    for (int32_t j = 0; j < routing->top_k; j++) {
        rows->chosen[j] = (int32_t)best_of(rows->key, rows->closed, job->experts);
        rows->closed[rows->chosen[j]] = true;
        store_index(job->ids, token, j, rows->chosen[j]);
    }
    double sum = divisor(job, rows);
    for (int32_t j = 0; j < routing->top_k; j++) {
        float weight = (float)((double)rows->score[rows->chosen[j]] / sum * scale);
        memcpy(gmm_view_at(job->weights, token * job->weights->strides[0] + j * job->weights->strides[1]), &weight,
               sizeof weight);
    }
}

static void route_part(void *arg, int64_t task)
{
    const route_job *job = arg;
    route_rows *rows = rows_of(job, task);
    int64_t begin =
        job->tokens / job->tasks * task + (job->tokens % job->tasks < task ? job->tokens % job->tasks : task);
    int64_t end = begin + job->tokens / job->tasks + (task < job->tokens % job->tasks);

    rows->bad = -1;
    for (int64_t t = begin; t < end && rows->bad < 0; t++) {
        if (!job->check) {
            route_token(job, rows, t);
            continue;
        }
        load(job, t, rows->logit);
        int64_t bad = bad_logit(rows->logit, job->experts);
        if (bad >= 0)
            rows->bad = t * job->experts + bad;
    }
}

gmm_status gmm_routing_run(const gmm_context *context, const gmm_routing *routing, const gmm_view *correction,
                           const gmm_view *logits, int64_t first, int64_t tasks, void *scratch, const gmm_view *ids,
                           const gmm_view *weights)
{
    route_job job = {
        .routing = routing,
        .correction = correction,
        .logits = logits,
        .ids = ids,
        .weights = weights,
        .tokens = logits->shape[0],
        .experts = logits->shape[1],
        .tasks = tasks,
        .task_bytes = task_bytes(logits->shape[1]),
        .scratch = scratch,
        .check = true,
    };
    int64_t most = (job.tokens + TOKENS_PER_TASK - 1) / TOKENS_PER_TASK;

    if (job.tokens == 0)
        return GMM_OK;
    job.tasks = job.tasks < most ? job.tasks : most;
    gmm_parallel(context, job.tasks, route_part, &job);
    for (int64_t task = 0; task < job.tasks; task++) {
        int64_t bad = rows_of(&job, task)->bad, expert = bad % job.experts;
        float value;
        if (bad < 0)
            continue;
        load(&job, bad / job.experts, rows_of(&job, 0)->logit);
        value = rows_of(&job, 0)->logit[expert];
        if (value == -INFINITY)
            return gmm_fail(GMM_ERR_ARGUMENT, "all logits of token %" PRId64 " are -infinity",
                            first + bad / job.experts);
        return gmm_fail(GMM_ERR_ARGUMENT, "the logit of token %" PRId64 " for expert %" PRId64 " is %s",
                        first + bad / job.experts, expert, isnan(value) ? "NaN" : "infinite");
    }
    job.check = false;
    gmm_parallel(context, job.tasks, route_part, &job);
    return GMM_OK;
}

/* ---- the public call ---- */

static gmm_status check_output(const gmm_array *array, const char *name, gmm_dtype dtype, int64_t tokens, int64_t k,
                               gmm_view *view)
{
    gmm_status status = gmm_view_make(array, name, view);

    if (status)
        return status;
    if (view->dtype != dtype)
        return gmm_fail(GMM_ERR_DTYPE, "%s is %s; it must be %s", name, gmm_dtype_name(view->dtype),
                        gmm_dtype_name(dtype));
    if (view->ndim != 2 || view->shape[0] != tokens || view->shape[1] != k) {
        char text[128];
        return gmm_fail(GMM_ERR_SHAPE, "%s is %s; it must be (%" PRId64 ", %" PRId64 ")", name,
                        gmm_shape_text(view->shape, view->ndim, text, sizeof text), tokens, k);
    }
    return gmm_view_check_writable(view, name);
}

gmm_status gmm_route(const gmm_context *context, const gmm_routing *routing, const gmm_array *logits, gmm_array *ids,
                     gmm_array *weights)
{
    gmm_status status;
    gmm_view correction, in, out_ids, out_weights;
    uint32_t features;

    if ((status = gmm_cpu_usable(context, &features)) || (status = gmm_view_make(logits, "logits", &in)))
        return status;
    if (!gmm_is_float(in.dtype))
        return gmm_fail(GMM_ERR_DTYPE, "logits are %s; they may be f32, f16 or bf16", gmm_dtype_name(in.dtype));
    if (in.ndim != 2)
        return gmm_fail(GMM_ERR_SHAPE, "logits have %" PRId32 " axes; they must have 2", in.ndim);
    if ((status = gmm_routing_check(routing, in.shape[1], &correction)) ||
        (status = check_output(ids, "ids", GMM_I32, in.shape[0], routing->top_k, &out_ids)) ||
        (status = check_output(weights, "weights", GMM_F32, in.shape[0], routing->top_k, &out_weights)) ||
        (status = gmm_views_check_apart(&out_ids, "ids", &in, "logits")) ||
        (status = gmm_views_check_apart(&out_weights, "weights", &in, "logits")) ||
        (status = gmm_views_check_apart(&out_ids, "ids", &out_weights, "weights")))
        return status;
    if (correction.ndim >= 0 &&
        ((status = gmm_views_check_apart(&out_ids, "ids", &correction, "correction_bias")) ||
         (status = gmm_views_check_apart(&out_weights, "weights", &correction, "correction_bias"))))
        return status;
    gmm_arena *arena = gmm_arena_begin(gmm_context_pool(context));
    int64_t tasks = gmm_context_threads(context);
    void *scratch = arena ? gmm_arena_take(arena, gmm_routing_scratch(tasks, in.shape[1]), 1) : NULL;
    if (scratch)
        status = gmm_routing_run(context, routing, &correction, &in, 0, tasks, scratch, &out_ids, &out_weights);
    else
        status = gmm_fail(GMM_ERR_MEMORY, "no memory to route: %" PRId64 " experts", in.shape[1]);
    gmm_arena_end(gmm_context_pool(context), arena);
    return status;
}
