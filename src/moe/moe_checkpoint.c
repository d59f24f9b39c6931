/* moe_checkpoint.c - a layer of a checkpoint as gmm_moe_run takes it. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "gathermm/checkpoint.h"

/* What is given out is the first member. Arrays stay where they are: only descriptions are made here. */
typedef struct made {
    gmm_moe_layer layer;
    gmm_routing routing;
    gmm_moe_weights each[]; /* of all projections that have one matrix each */
} made;

/* Every part of a layer that may have weights. */
#define PARTS(layer)                                                                                                   \
    {                                                                                                                  \
        &(layer)->router, &(layer)->projections.gate, &(layer)->projections.up, &(layer)->projections.gate_up,         \
            &(layer)->projections.down, &(layer)->shared.gate, &(layer)->shared.up, &(layer)->shared.gate_up,          \
            &(layer)->shared.down                                                                                      \
    }

static gmm_status check_part(const gmm_checkpoint_layer *layer, const gmm_checkpoint_weights *part, int64_t *each)
{
    if (part->count == 0)
        return GMM_OK;
    if (!part->rhs && !part->quantized && !part->each)
        return gmm_fail(GMM_ERR_ARGUMENT, "layer %" PRId64 ": %s has no arrays; gmm_checkpoint_layer_load makes them",
                        layer->number, part->module ? part->module : "a projection");
    if (part->each)
        *each += part->count;
    return GMM_OK;
}

static gmm_status check_words(const gmm_checkpoint_layer *layer)
{
    if ((unsigned)layer->routing > GMM_CHECKPOINT_SIGMOID)
        return gmm_fail(GMM_ERR_ARGUMENT, "layer %" PRId64 ": routing is %d; it may be 0 to %d", layer->number,
                        (int)layer->routing, GMM_CHECKPOINT_SIGMOID);
    if ((unsigned)layer->activation > GMM_CHECKPOINT_SWIGLU_CLAMPED)
        return gmm_fail(GMM_ERR_ARGUMENT, "layer %" PRId64 ": activation is %d; it may be 0 to %d", layer->number,
                        (int)layer->activation, GMM_CHECKPOINT_SWIGLU_CLAMPED);
    return GMM_OK;
}

/* Describe a part; those with one matrix each take their descriptions from *next on. */
static gmm_moe_weights describe(const gmm_checkpoint_weights *part, gmm_moe_weights **next)
{
    gmm_moe_weights weights = {.rhs = part->rhs, .quantized = part->quantized, .bias = part->bias};

    if (part->count == 0 || !part->each)
        return weights;
    for (int64_t e = 0; e < part->count; e++)
        (*next)[e] = (gmm_moe_weights){
            .rhs = part->each[e].rhs, .quantized = part->each[e].quantized, .bias = part->each[e].bias};
    weights = (gmm_moe_weights){.each = *next, .each_count = part->count};
    *next += part->count;
    return weights;
}

static gmm_moe_projections describe_all(const gmm_checkpoint_projections *parts, gmm_moe_weights **next)
{
    return (gmm_moe_projections){
        .gate = describe(&parts->gate, next),
        .up = describe(&parts->up, next),
        .gate_up = describe(&parts->gate_up, next),
        .down = describe(&parts->down, next),
        .gate_up_layout = GMM_GATE_UP_INTERLEAVED,
    };
}

static gmm_routing_kind routing_of(gmm_checkpoint_routing_kind kind)
{
    static const gmm_routing_kind kinds[] = {
        [GMM_CHECKPOINT_SOFTMAX_TOPK] = GMM_ROUTING_SOFTMAX_TOPK,
        [GMM_CHECKPOINT_TOPK_SOFTMAX] = GMM_ROUTING_TOPK_SOFTMAX,
        [GMM_CHECKPOINT_SIGMOID] = GMM_ROUTING_SIGMOID,
    };

    return kinds[kind];
}

static gmm_activation activation_of(gmm_checkpoint_activation activation)
{
    static const gmm_activation activations[] = {
        [GMM_CHECKPOINT_SILU] = GMM_ACTIVATION_SILU,
        [GMM_CHECKPOINT_GELU] = GMM_ACTIVATION_GELU,
        [GMM_CHECKPOINT_GELU_TANH] = GMM_ACTIVATION_GELU_TANH,
        [GMM_CHECKPOINT_SWIGLU_CLAMPED] = GMM_ACTIVATION_SWIGLU_CLAMPED,
    };

    return activations[activation];
}

static void fill(made *to, const gmm_checkpoint_layer *from)
{
    gmm_moe_weights *next = to->each;

    to->routing = (gmm_routing){
        .size = sizeof to->routing,
        .kind = routing_of(from->routing),
        .top_k = from->top_k,
        .renormalise = from->renormalise,
        .scale = from->scale,
        .correction_bias = from->correction_bias,
        .n_group = from->n_group,
        .topk_group = from->topk_group,
        .drop_to_zero = true, /* as Transformers and MLX run DeepSeek-V3 */
        .router = describe(&from->router, &next),
    };
    to->layer = (gmm_moe_layer){
        .size = sizeof to->layer,
        .experts = describe_all(&from->projections, &next),
        .shared = describe_all(&from->shared, &next),
        .activation = activation_of(from->activation),
        .alpha = from->alpha,
        .limit = from->limit,
        .routing = &to->routing,
    };
}

gmm_status gmm_moe_layer_from_checkpoint(const gmm_checkpoint_layer *layer, const gmm_moe_layer **moe)
{
    int64_t each = 0;
    gmm_status status;

    if (!layer || !moe)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", layer ? "moe" : "layer");
    const gmm_checkpoint_weights *const parts[] = PARTS(layer);
    if ((status = check_words(layer)))
        return status;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if ((status = check_part(layer, parts[i], &each)))
            return status;
    made *to = calloc(1, sizeof *to + (size_t)each * sizeof to->each[0]);
    if (!to)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for the descriptions of %" PRId64 " matrices", each);
    fill(to, layer);
    *moe = &to->layer;
    return GMM_OK;
}

void gmm_moe_layer_free(const gmm_moe_layer *moe)
{
    free((made *)(uintptr_t)moe);
}
