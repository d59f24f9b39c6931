/* family.c - the list of families, and what they share. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/family.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "io/file_check.h"

#define FAMILY(name) &name,
const gmm_family *const gmm_families[] = {
#include "checkpoint/family_list.h"
    NULL,
};
#undef FAMILY

gmm_status gmm_family_sizes(const gmm_config *config, const char *experts_key, const char *intermediate_key,
                            gmm_checkpoint_layer *layer)
{
    int64_t top_k = 0;
    gmm_status status;

    if ((status = gmm_config_integer(config, "hidden_size", 1, GMM_CONFIG_MAX_SIZE, &layer->hidden)) != GMM_OK ||
        (status = gmm_config_integer(config, intermediate_key, 1, GMM_CONFIG_MAX_SIZE / 2, &layer->intermediate)) !=
            GMM_OK ||
        (status = gmm_config_integer(config, experts_key, 1, GMM_CONFIG_MAX_SIZE, &layer->experts)) != GMM_OK ||
        (status = gmm_config_integer(config, "num_experts_per_tok", 1, layer->experts, &top_k)) != GMM_OK)
        return status;
    layer->top_k = (int32_t)top_k;
    return GMM_OK;
}

gmm_status gmm_family_groups(const gmm_config *config, const gmm_group_names *names, gmm_checkpoint_layer *layer)
{
    int64_t groups = 1, kept = 1, shared = 0;
    gmm_status status;

    if ((status = gmm_config_optional(config, names->groups, 1, layer->experts, &groups)) != GMM_OK ||
        (status = gmm_config_optional(config, names->kept, 1, groups, &kept)) != GMM_OK ||
        (status = gmm_config_optional(config, names->shared, 0, GMM_CONFIG_MAX_SIZE / layer->intermediate, &shared)) !=
            GMM_OK)
        return status;
    if (layer->experts % groups != 0 || layer->top_k > layer->experts / groups * kept)
        return gmm_malformed(config->path, "%s %" PRId64 ", %s %" PRId64 ", %s %" PRId32 " do not fit %s %" PRId64,
                             names->groups, groups, names->kept, kept, names->top_k, layer->top_k, names->experts,
                             layer->experts);
    layer->n_group = (int32_t)groups;
    layer->topk_group = (int32_t)kept;
    layer->shared_intermediate = shared * layer->intermediate;
    return GMM_OK;
}

gmm_status gmm_family_activation(const gmm_config *config, gmm_checkpoint_layer *layer)
{
    static const struct {
        const char *name;
        gmm_checkpoint_activation activation;
    } known[] = {
        {"silu", GMM_CHECKPOINT_SILU}, {"gelu", GMM_CHECKPOINT_GELU}, {"gelu_pytorch_tanh", GMM_CHECKPOINT_GELU_TANH}};
    const char *name = "silu";

    gmm_status status = gmm_config_word(config, "hidden_act", &name);
    if (status != GMM_OK)
        return status;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0) {
            layer->activation = known[i].activation;
            return GMM_OK;
        }
    return gmm_fail(GMM_ERR_ARGUMENT, "%s: hidden_act is not silu, gelu or gelu_pytorch_tanh", config->path);
}

/* The modules {gate,up,down}_proj after a prefix: stacks of `count` matrices, or with 0 one matrix each. */
static gmm_status find_modules(const gmm_finder *finder, const char *prefix, int64_t count, int64_t hidden,
                               int64_t intermediate, gmm_expert_sources *to)
{
    gmm_status status = gmm_find_module(finder, count, intermediate, hidden, &to->gate, "%sgate_proj", prefix);

    if (status == GMM_OK)
        status = gmm_find_module(finder, count, intermediate, hidden, &to->up, "%sup_proj", prefix);
    if (status == GMM_OK)
        status = gmm_find_module(finder, count, hidden, intermediate, &to->down, "%sdown_proj", prefix);
    return status;
}

bool gmm_family_stacks(const gmm_finder *finder, const gmm_expert_names *names, gmm_layer_record *record,
                       gmm_status *status)
{
    const gmm_checkpoint_layer *layer = &record->layer;
    char block[80], prefix[80];

    snprintf(prefix, sizeof prefix, "%s%s", gmm_family_prefix(layer->number, names->block, block, sizeof block),
             names->mlx);
    bool mlx = gmm_find_is(finder, "%sgate_proj.weight", prefix);
    record->layer.layout = mlx ? "mlx" : "hf";
    if (mlx)
        *status = find_modules(finder, prefix, layer->experts, layer->hidden, layer->intermediate, &record->experts);
    return mlx;
}

gmm_status gmm_family_experts(const gmm_finder *finder, const gmm_expert_names *names, gmm_layer_record *record)
{
    const gmm_checkpoint_layer *layer = &record->layer;
    gmm_source *sources[] = {&record->experts.gate, &record->experts.up, &record->experts.down};
    char prefix[80];

    gmm_family_prefix(layer->number, names->block, prefix, sizeof prefix);
    gmm_status status = gmm_find_module(finder, 0, layer->experts, layer->hidden, &record->router, "%sgate", prefix);
    if (status != GMM_OK || gmm_family_stacks(finder, names, record, &status))
        return status;
    for (size_t i = 0; i < 3 && status == GMM_OK; i++) {
        int64_t rows = i == 2 ? layer->hidden : layer->intermediate,
                cols = i == 2 ? layer->intermediate : layer->hidden;
        status = gmm_find_experts(finder, prefix, names->hf[i], layer->experts, rows, cols, sources[i]);
    }
    return status;
}

gmm_status gmm_family_shared(const gmm_finder *finder, const char *prefix, int64_t intermediate,
                             gmm_layer_record *record)
{
    return find_modules(finder, prefix, 0, record->layer.hidden, intermediate, &record->shared);
}

const char *gmm_family_prefix(int64_t number, const char *block, char *text, size_t text_size)
{
    snprintf(text, text_size, "model.layers.%" PRId64 ".%s", number, block);
    return text;
}

bool gmm_family_tied_head(const gmm_config *config, const char *name)
{
    return strcmp(name, "lm_head.weight") == 0 && json_is_true(json_object_get(config->root, "tie_word_embeddings"));
}
