/* checkpoint_moe.c - see checkpoint_moe.h. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint_moe.h"

#include <stdlib.h>

#include "cmocka_test.h"

static gmm_moe_weights weights(layer_moe *made, const gmm_checkpoint_weights *from)
{
    gmm_moe_weights to = {.rhs = from->rhs, .quantized = from->quantized, .bias = from->bias};

    if (!from->each)
        return to;
    gmm_moe_weights *list = calloc((size_t)from->count, sizeof *list);
    assert_non_null(list);
    for (int64_t e = 0; e < from->count; e++)
        list[e] = (gmm_moe_weights){
            .rhs = from->each[e].rhs, .quantized = from->each[e].quantized, .bias = from->each[e].bias};
    made->lists[made->list_count++] = list;
    to.each = list;
    to.each_count = from->count;
    return to;
}

static gmm_moe_projections projections(layer_moe *made, const gmm_checkpoint_projections *from)
{
    return (gmm_moe_projections){
        .gate = weights(made, &from->gate),
        .up = weights(made, &from->up),
        .gate_up = weights(made, &from->gate_up),
        .down = weights(made, &from->down),
        .gate_up_layout = GMM_GATE_UP_INTERLEAVED,
    };
}

void layer_moe_make(layer_moe *made, const gmm_checkpoint_layer *loaded)
{
    static const gmm_routing_kind kinds[] = {GMM_ROUTING_SOFTMAX_TOPK, GMM_ROUTING_TOPK_SOFTMAX, GMM_ROUTING_SIGMOID};
    static const gmm_activation activations[] = {GMM_ACTIVATION_SILU, GMM_ACTIVATION_GELU, GMM_ACTIVATION_GELU_TANH,
                                                 GMM_ACTIVATION_SWIGLU_CLAMPED};

    *made = (layer_moe){.list_count = 0};
    made->routing = (gmm_routing){
        .size = sizeof made->routing,
        .kind = kinds[loaded->routing],
        .top_k = loaded->top_k,
        .renormalise = loaded->renormalise,
        .scale = loaded->scale,
        .correction_bias = loaded->correction_bias,
        .n_group = loaded->n_group,
        .topk_group = loaded->topk_group,
        .drop_to_zero = true, /* as make_models.py and MLX have it */
        .router = weights(made, &loaded->router),
    };
    made->layer = (gmm_moe_layer){
        .size = sizeof made->layer,
        .experts = projections(made, &loaded->projections),
        .shared = projections(made, &loaded->shared),
        .activation = activations[loaded->activation],
        .alpha = loaded->alpha,
        .limit = loaded->limit,
        .routing = &made->routing,
    };
}

void layer_moe_free(layer_moe *made)
{
    for (size_t i = 0; i < made->list_count; i++)
        free(made->lists[i]);
}
