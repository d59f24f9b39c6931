/* arch_llama.c - "llama" with experts: Mixtral. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/architecture.h"

static gmm_status read(const gmm_config *config, gmm_checkpoint_layer *layer)
{
    gmm_status status = gmm_arch_sizes(config, "feed_forward_length", layer);

    /* llama.cpp divides a softmax of all logits by the sum of the chosen: this. */
    layer->routing = GMM_CHECKPOINT_TOPK_SOFTMAX;
    if (status == GMM_OK)
        status = gmm_arch_gating(config, 1, 1);
    return status == GMM_OK ? gmm_arch_scale(config, layer) : status;
}

const gmm_family gmm_arch_llama = {
    .name = "llama",
    .family = "mixtral",
    .read = read,
    .find = gmm_arch_find,
};
