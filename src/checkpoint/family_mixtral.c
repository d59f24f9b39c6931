/* family_mixtral.c - Mixtral: softmax of the k largest logits. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/family.h"

static gmm_status read(const gmm_config *config, gmm_checkpoint_layer *layer)
{
    gmm_status status = gmm_family_sizes(config, "num_local_experts", "intermediate_size", layer);

    layer->routing = GMM_CHECKPOINT_TOPK_SOFTMAX;
    return status == GMM_OK ? gmm_family_activation(config, layer) : status;
}

static const char *const names[] = {"w1", "w3", "w2"};

static gmm_status find(const gmm_finder *finder, gmm_layer_record *record)
{
    return gmm_family_experts(finder, &gmm_family_mixtral.names, record);
}

const gmm_family gmm_family_mixtral = {
    .name = "mixtral",
    .read = read,
    .find = find,
    .names = {.block = "block_sparse_moe.", .mlx = "switch_mlp.", .hf = names},
    .left_out = gmm_family_tied_head,
};
