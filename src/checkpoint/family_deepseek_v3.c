/* family_deepseek_v3.c - DeepSeek-V3: sigmoid scores, groups, a shared expert, fp8 weights with block scales. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "checkpoint/family.h"

/* A member that can only be this here. */
static gmm_status only(const gmm_config *config, const char *key, const char *wanted)
{
    const char *word = wanted;

    gmm_status status = gmm_config_word(config, key, &word);
    if (status == GMM_OK && strcmp(word, wanted) != 0)
        status =
            gmm_fail(GMM_ERR_ARGUMENT, "%s: %s is not \"%s\"; nothing else is supported", config->path, key, wanted);
    return status;
}

static const gmm_group_names group_names = {
    .groups = "n_group",
    .kept = "topk_group",
    .shared = "n_shared_experts",
    .top_k = "num_experts_per_tok",
    .experts = "n_routed_experts",
};

static gmm_status read(const gmm_config *config, gmm_checkpoint_layer *layer)
{
    gmm_status status;

    layer->routing = GMM_CHECKPOINT_SIGMOID;
    layer->renormalise = true;
    if ((status = gmm_family_sizes(config, "n_routed_experts", "moe_intermediate_size", layer)) != GMM_OK ||
        (status = gmm_family_activation(config, layer)) != GMM_OK ||
        (status = only(config, "scoring_func", "sigmoid")) != GMM_OK ||
        (status = only(config, "topk_method", "noaux_tc")) != GMM_OK ||
        (status = gmm_config_flag(config, "norm_topk_prob", &layer->renormalise)) != GMM_OK ||
        (status = gmm_config_number(config, "routed_scaling_factor", &layer->scale)) != GMM_OK)
        return status;
    return gmm_family_groups(config, &group_names, layer);
}

static gmm_status has_experts(const gmm_config *config, int64_t number, bool *has)
{
    int64_t first = 0, step = 1;

    gmm_status status = gmm_config_optional(config, "first_k_dense_replace", 0, GMM_CONFIG_MAX_SIZE, &first);
    if (status == GMM_OK)
        status = gmm_config_optional(config, "moe_layer_freq", 1, GMM_CONFIG_MAX_SIZE, &step);
    if (status == GMM_OK)
        *has = number >= first && number % step == 0;
    return status;
}

static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};

static gmm_status find(const gmm_finder *finder, gmm_layer_record *record)
{
    const gmm_checkpoint_layer *layer = &record->layer;
    char name[120];
    gmm_status status;

    snprintf(name, sizeof name, "model.layers.%" PRId64 ".mlp.gate.e_score_correction_bias", layer->number);
    if ((status = gmm_find_tensor(finder, name, gmm_float_dtypes, 1, &layer->experts, &record->correction)) != GMM_OK ||
        (status = gmm_family_experts(finder, &gmm_family_deepseek_v3.names, record)) != GMM_OK)
        return status;
    if (layer->shared_intermediate == 0)
        return GMM_OK;
    snprintf(name, sizeof name, "model.layers.%" PRId64 ".mlp.shared_experts.", layer->number);
    return gmm_family_shared(finder, name, layer->shared_intermediate, record);
}

/* Layers past the last are for multi-token prediction; and tables of rotary embeddings. */
static bool left_out(const gmm_config *config, const char *name)
{
    long long number;
    int64_t layers = INT64_MAX;

    (void)gmm_config_optional(config, "num_hidden_layers", 1, GMM_CONFIG_MAX_LAYERS, &layers);
    if (strstr(name, "rotary_emb.inv_freq"))
        return true;
    return sscanf(name, "model.layers.%lld.", &number) == 1 && number >= layers;
}

const gmm_family gmm_family_deepseek_v3 = {
    .name = "deepseek_v3",
    .read = read,
    .has_experts = has_experts,
    .find = find,
    .names = {.block = "mlp.", .mlx = "switch_mlp.", .hf = names},
    .router_stays_dense = true,
    .convert = gmm_conversion_mla,
    .left_out = left_out,
};
