/* moe_explain.c - what a run of a layer does, in words. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/context.h"
#include "base/error.h"
#include "core/explain.h"
#include "cpu/cpu.h"
#include "moe/moe_run.h"

/* Text that is cut where there is no more room. */
typedef struct words {
    char *text;
    size_t size, used;
} words;

__attribute__((format(printf, 2, 3))) static void say(words *w, const char *format, ...)
{
    va_list arguments;
    size_t left = w->size - w->used;

    va_start(arguments, format);
    int length = vsnprintf(w->text + w->used, left, format, arguments);
    va_end(arguments);
    if (length > 0)
        w->used += (size_t)length < left ? (size_t)length : left - 1;
}

static const char *activation_name(gmm_activation activation)
{
    static const char *const names[] = {"SiLU", "GELU", "GELU by tanh", "clamped SwiGLU", "squared ReLU"};

    return names[activation];
}

static const char *gate_text(const gmm_moe_mlp *mlp)
{
    if (mlp->gate_up.weights)
        return mlp->interleaved ? "gate and up in one stack, rows in turns" : "gate and up in one stack";
    return mlp->gated ? "gate and up apart" : "no gate";
}

static void say_layer(words *w, const gmm_moe_model *model, uint32_t features)
{
    say(w, "layer: %" PRId64 " experts of %" PRId64 " x %" PRId64 ", %s, %s", model->count, model->hidden,
        model->experts.inner, gate_text(&model->experts), activation_name(model->layer.activation));
    say(w, " by %s", gmm_kernel_choose(GMM_CAN_ACTIVATE, "f32", features)->name);
    if (model->shared.down.weights)
        say(w, "; a shared expert of %" PRId64 ", %s%s", model->shared.inner, gate_text(&model->shared),
            model->shared_gate.weights ? ", with a weight of its own" : "");
    say(w, "\n");
}

static void say_blocks(words *w, const gmm_context *context, const gmm_moe_model *model, const gmm_moe_sizes *sizes,
                       int64_t bytes)
{
    char all[32], waiting[32], between[32];
    int64_t blocks = (sizes->tokens + sizes->block - 1) / sizes->block;
    int64_t pieces = gmm_moe_piece_rows(context, model, sizes, sizes->block * sizes->slots);

    say(w,
        "tokens: %" PRId64 " with %" PRId64 " experts each, in %" PRId64 " block%s of at most %" PRId64
        "; %s; %s of at most %" PRId64 " rows\n",
        sizes->tokens, sizes->slots, blocks, blocks == 1 ? "" : "s", sizes->block,
        model->experts.single ? "one expert at a time" : "rows sorted by expert",
        pieces ? "each thread on its own, pieces" : "parts", pieces ? pieces : sizes->rows);
    say(w, "scratch: %s; %s between the projections, %s wait for the weighted sum\n",
        gmm_explain_bytes((double)bytes, all, sizeof all),
        gmm_explain_bytes((double)sizes->rows * (double)model->experts.width * sizeof(float), between, sizeof between),
        gmm_explain_bytes((double)sizes->block * (double)sizes->slots * (double)model->hidden * sizeof(float), waiting,
                          sizeof waiting));
}

static void say_kernels(words *w, const gmm_call *call, const gmm_plan *plan)
{
    char format[64];

    gmm_explain_weights(call, format, sizeof format);
    say(w, "%s%s; ", format, call->prepared ? ", prepared" : "");
    if (plan->int8)
        say(w, "int8 sums by %s\n", plan->int8->name);
    else if (plan->tile)
        say(w, "tile sums by %s\n", plan->tile->name);
    else if (plan->few_rows == 0)
        say(w, "%s; decode: %s\n", plan->outer->name, gmm_explain_decoder(call, plan));
    else
        say(w, "%s, from %" PRId64 " rows of an expert on %s; decode: %s\n", call->dot ? plan->dot->name : "swept",
            plan->few_rows + 1, plan->outer->name, gmm_explain_decoder(call, plan));
}

/* A projection, by a plan of one row for each of its matrices. Where each has a description, by the first. */
static gmm_status say_stack(words *w, const gmm_context *context, const gmm_moe_stack *stack, const char *name)
{
    static float zero;
    const int64_t shape[] = {1, 1, stack->k}, strides[] = {0, 0, 0};
    gmm_array lhs = {.data = &zero, .dtype = GMM_F32, .ndim = 3, .shape = shape, .strides = strides};
    gmm_moe_operand operand;
    gmm_status status;
    gmm_call call;
    gmm_plan plan;

    if (!stack->weights || stack->matrices == 0)
        return GMM_OK;
    gmm_moe_operand_make(stack, 0, &operand);
    operand.product.lhs = &lhs;
    if ((status = gmm_call_check(&operand.product, &call)))
        return status;
    gmm_arena *arena = gmm_arena_begin(gmm_context_pool(context));
    if (!arena)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for a call");
    if (!(status = gmm_plan_make(context, &call, arena, &plan))) {
        say(w, "%s: %" PRId64 " x %" PRId64 ", %s", name, stack->n, stack->k,
            stack->weights->each ? "expert 0 of formats of their own: " : "");
        say_kernels(w, &call, &plan);
    }
    gmm_arena_end(gmm_context_pool(context), arena);
    return status;
}

static gmm_status say_all(words *w, const gmm_context *context, const gmm_moe_model *model)
{
    const struct {
        const gmm_moe_stack *stack;
        const char *name;
    } all[] = {
        {&model->router, "router"},           {&model->experts.gate_up, "gate_up"},
        {&model->experts.gate, "gate"},       {&model->experts.up, "up"},
        {&model->experts.down, "down"},       {&model->shared.gate_up, "shared gate_up"},
        {&model->shared.gate, "shared gate"}, {&model->shared.up, "shared up"},
        {&model->shared.down, "shared down"}, {&model->shared_gate, "shared_gate"},
    };
    gmm_status status = GMM_OK;

    for (size_t i = 0; !status && i < sizeof all / sizeof all[0]; i++)
        status = say_stack(w, context, all[i].stack, all[i].name);
    if (!status)
        say(w, "threads: up to %" PRId32 "\n", gmm_context_threads(context));
    return status;
}

gmm_status gmm_moe_explain(const gmm_context *context, const gmm_moe_layer *layer, int64_t max_tokens,
                           int32_t max_slots, char *text, size_t text_size)
{
    words w = {.text = text, .size = text_size};
    gmm_moe_model model;
    gmm_moe_sizes sizes;
    gmm_status status;
    uint32_t features;
    int64_t slots;
    char first;

    if (!text || text_size == 0)
        return gmm_fail(GMM_ERR_NULL, "text is NULL or of size 0");
    if ((status = gmm_cpu_usable(context, &features)) || (status = gmm_moe_check(layer, &model)) ||
        (status = gmm_moe_slots_planned(&model, max_tokens, max_slots, &slots)))
        return status;
    int64_t bytes = gmm_moe_plan_sizes(context, &model, max_tokens, slots, &sizes);
    if (bytes < 0)
        return gmm_moe_no_memory(&model, max_tokens, slots);
    /* Nothing is written unless all of it can be said: the first time only plans are tried. */
    words none = {.text = &first, .size = 1};
    if ((status = say_all(&none, context, &model)))
        return status;
    say_layer(&w, &model, features);
    say_blocks(&w, context, &model, &sizes, bytes);
    return say_all(&w, context, &model);
}
