/* arch_qwen3moe.c - "qwen3moe": Qwen3-MoE. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/architecture.h"

static gmm_status read(const gmm_config *config, gmm_checkpoint_layer *layer)
{
    gmm_status status = gmm_arch_sizes(config, "expert_feed_forward_length", layer);

    layer->routing = GMM_CHECKPOINT_SOFTMAX_TOPK;
    layer->renormalise = true; /* as llama.cpp has it where the file does not say */
    if (status == GMM_OK)
        status = gmm_arch_gating(config, 1, 1);
    if (status == GMM_OK)
        status = gmm_config_flag(config, "expert_weights_norm", &layer->renormalise);
    return status == GMM_OK ? gmm_arch_scale(config, layer) : status;
}

const gmm_family gmm_arch_qwen3moe = {
    .name = "qwen3moe",
    .family = "qwen3_moe",
    .read = read,
    .find = gmm_arch_find,
};
