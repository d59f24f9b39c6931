/* family_gpt_oss.c - gpt-oss: mxfp4 experts with interleaved gate and up, linear biases, a clamped activation. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "checkpoint/family.h"

static gmm_status read(const gmm_config *config, gmm_checkpoint_layer *layer)
{
    layer->routing = GMM_CHECKPOINT_TOPK_SOFTMAX;
    layer->activation = GMM_CHECKPOINT_SWIGLU_CLAMPED;
    layer->alpha = 1.702f; /* no member of config.json */
    layer->limit = 7.0f;
    gmm_status status = gmm_family_sizes(config, "num_local_experts", "intermediate_size", layer);
    return status == GMM_OK ? gmm_config_number(config, "swiglu_limit", &layer->limit) : status;
}

/* The release has blocks; fine-tunes may have plain matrices, which lie input first. */
static gmm_status find_hf(const gmm_finder *finder, const char *prefix, gmm_layer_record *record)
{
    int64_t experts = record->layer.experts, hidden = record->layer.hidden, inner = record->layer.intermediate;
    gmm_status (*one)(const gmm_finder *, const char *, int64_t, int64_t, int64_t, gmm_source *) =
        gmm_find_is(finder, "%sexperts.gate_up_proj", prefix) ? gmm_find_transposed : gmm_find_blocks;
    char name[120];

    snprintf(name, sizeof name, "%sexperts.gate_up_proj", prefix);
    gmm_status status = one(finder, name, experts, 2 * inner, hidden, &record->experts.gate_up);
    if (status != GMM_OK)
        return status;
    snprintf(name, sizeof name, "%sexperts.down_proj", prefix);
    return one(finder, name, experts, hidden, inner, &record->experts.down);
}

static gmm_status find(const gmm_finder *finder, gmm_layer_record *record)
{
    const gmm_checkpoint_layer *layer = &record->layer;
    char prefix[80];

    gmm_family_prefix(layer->number, gmm_family_gpt_oss.names.block, prefix, sizeof prefix);
    gmm_status status = gmm_find_module(finder, 0, layer->experts, layer->hidden, &record->router, "%srouter", prefix);
    if (status != GMM_OK || gmm_family_stacks(finder, &gmm_family_gpt_oss.names, record, &status))
        return status;
    return find_hf(finder, prefix, record);
}

const gmm_family gmm_family_gpt_oss = {
    .name = "gpt_oss",
    .read = read,
    .find = find,
    .names = {.block = "mlp.", .mlx = "experts."},
};
