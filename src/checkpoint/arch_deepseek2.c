/* arch_deepseek2.c - "deepseek2": DeepSeek-V3, which V2's name stands for too. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>

#include "checkpoint/architecture.h"

static const gmm_group_names group_names = {
    .groups = "expert_group_count",
    .kept = "expert_group_used_count",
    .shared = "expert_shared_count",
    .top_k = "expert_used_count",
    .experts = "expert_count",
};

static gmm_status read(const gmm_config *config, gmm_checkpoint_layer *layer)
{
    gmm_status status;

    layer->routing = GMM_CHECKPOINT_SIGMOID;
    if ((status = gmm_arch_sizes(config, "expert_feed_forward_length", layer)) != GMM_OK ||
        (status = gmm_arch_gating(config, 2, 1)) != GMM_OK || /* V2 does not say: softmax */
        (status = gmm_config_flag(config, "expert_weights_norm", &layer->renormalise)) != GMM_OK ||
        (status = gmm_arch_scale(config, layer)) != GMM_OK)
        return status;
    return gmm_family_groups(config, &group_names, layer);
}

/* Those before are dense; those for the prediction of further tokens come last, if the file has them at all. */
static gmm_status has_experts(const gmm_config *config, int64_t number, bool *has)
{
    int64_t first = 0, count = 0, predicting = 0;

    gmm_status status = gmm_config_optional(config, "leading_dense_block_count", 0, GMM_CONFIG_MAX_SIZE, &first);
    if (status == GMM_OK)
        status = gmm_config_integer(config, "block_count", 1, GMM_CONFIG_MAX_LAYERS, &count);
    if (status == GMM_OK)
        status = gmm_config_optional(config, "nextn_predict_layers", 0, count, &predicting);
    if (status == GMM_OK)
        *has = number >= first && number < count - predicting;
    return status;
}

static gmm_status find(const gmm_finder *finder, gmm_layer_record *record)
{
    char name[80];

    gmm_status status = gmm_arch_find(finder, record);
    snprintf(name, sizeof name, "blk.%" PRId64 ".exp_probs_b.bias", record->layer.number);
    if (status == GMM_OK && gmm_find_is(finder, "%s", name))
        status = gmm_find_tensor(finder, name, gmm_float_dtypes, 1, &record->layer.experts, &record->correction);
    return status;
}

const gmm_family gmm_arch_deepseek2 = {
    .name = "deepseek2",
    .family = "deepseek_v3",
    .read = read,
    .has_experts = has_experts,
    .find = find,
};
