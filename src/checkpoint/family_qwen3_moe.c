/* family_qwen3_moe.c - Qwen3-MoE: the k largest of a softmax, in layers between which dense ones may lie. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/family.h"

static gmm_status read(const gmm_config *config, gmm_checkpoint_layer *layer)
{
    gmm_status status = gmm_family_sizes(config, "num_experts", "moe_intermediate_size", layer);

    layer->routing = GMM_CHECKPOINT_SOFTMAX_TOPK;
    if (status == GMM_OK)
        status = gmm_config_flag(config, "norm_topk_prob", &layer->renormalise);
    return status == GMM_OK ? gmm_family_activation(config, layer) : status;
}

static gmm_status has_experts(const gmm_config *config, int64_t number, bool *has)
{
    int64_t step = 1;
    bool dense;

    gmm_status status = gmm_config_optional(config, "decoder_sparse_step", 1, GMM_CONFIG_MAX_SIZE, &step);
    if (status == GMM_OK)
        status = gmm_config_list_has(config, "mlp_only_layers", number, &dense);
    if (status == GMM_OK)
        *has = !dense && (number + 1) % step == 0;
    return status;
}

static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};

static gmm_status find(const gmm_finder *finder, gmm_layer_record *record)
{
    return gmm_family_experts(finder, &gmm_family_qwen3_moe.names, record);
}

const gmm_family gmm_family_qwen3_moe = {
    .name = "qwen3_moe",
    .read = read,
    .has_experts = has_experts,
    .find = find,
    .names = {.block = "mlp.", .mlx = "switch_mlp.", .hf = names},
    .left_out = gmm_family_tied_head,
};
