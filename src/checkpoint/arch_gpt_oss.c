/* arch_gpt_oss.c - "gpt-oss": gate and up in tensors of their own, linear biases, a clamped activation. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/architecture.h"

static gmm_status read(const gmm_config *config, gmm_checkpoint_layer *layer)
{
    gmm_status status = gmm_arch_sizes(config, "expert_feed_forward_length", layer);

    layer->routing = GMM_CHECKPOINT_TOPK_SOFTMAX;
    layer->activation = GMM_CHECKPOINT_SWIGLU_CLAMPED;
    layer->alpha = 1.702f; /* no entries of the metadata */
    layer->limit = 7.0f;
    if (status == GMM_OK)
        status = gmm_arch_gating(config, 3, 3);
    return status == GMM_OK ? gmm_arch_scale(config, layer) : status;
}

const gmm_family gmm_arch_gpt_oss = {
    .name = "gpt-oss",
    .family = "gpt_oss",
    .read = read,
    .find = gmm_arch_find,
};
