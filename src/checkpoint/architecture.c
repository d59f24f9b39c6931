/* architecture.c - the list of architectures, and what they share. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/architecture.h"

#include <inttypes.h>

#include "base/error.h"
#include "checkpoint/gguf_source.h"

#define ARCHITECTURE(name) &name,
const gmm_family *const gmm_architectures[] = {
#include "checkpoint/architecture_list.h"
    NULL,
};
#undef ARCHITECTURE

gmm_status gmm_arch_sizes(const gmm_config *config, const char *intermediate_key, gmm_checkpoint_layer *layer)
{
    int64_t top_k = 0;
    gmm_status status;

    if ((status = gmm_config_integer(config, "embedding_length", 1, GMM_CONFIG_MAX_SIZE, &layer->hidden)) != GMM_OK ||
        (status = gmm_config_integer(config, intermediate_key, 1, GMM_CONFIG_MAX_SIZE / 2, &layer->intermediate)) !=
            GMM_OK ||
        (status = gmm_config_integer(config, "expert_count", 1, GMM_CONFIG_MAX_SIZE, &layer->experts)) != GMM_OK ||
        (status = gmm_config_integer(config, "expert_used_count", 1, layer->experts, &top_k)) != GMM_OK)
        return status;
    layer->top_k = (int32_t)top_k;
    layer->layout = "gguf";
    return GMM_OK;
}

gmm_status gmm_arch_gating(const gmm_config *config, int64_t wanted, int64_t fallback)
{
    int64_t found = 0; /* which files may say too */

    gmm_status status = gmm_config_optional(config, "expert_gating_func", 0, GMM_CONFIG_MAX_SIZE, &found);
    if (status != GMM_OK)
        return status;
    found = found ? found : fallback;
    if (found != wanted)
        return gmm_fail(GMM_ERR_ARGUMENT,
                        "%s: expert_gating_func is %" PRId64 "; this architecture is supported with %" PRId64,
                        config->path, found, wanted);
    return GMM_OK;
}

gmm_status gmm_arch_scale(const gmm_config *config, gmm_checkpoint_layer *layer)
{
    const json_t *scale = json_object_get(config->root, "expert_weights_scale");

    return json_is_number(scale) && json_number_value(scale) == 0
               ? GMM_OK
               : gmm_config_number(config, "expert_weights_scale", &layer->scale);
}

static gmm_status find_set(const gmm_finder *finder, int64_t number, const char *suffix, int64_t count, int64_t inner,
                           int64_t hidden, gmm_expert_sources *to)
{
    gmm_status status =
        gmm_find_gguf(finder, count, inner, hidden, &to->gate, "blk.%" PRId64 ".ffn_gate_%s", number, suffix);
    if (status == GMM_OK)
        status = gmm_find_gguf(finder, count, inner, hidden, &to->up, "blk.%" PRId64 ".ffn_up_%s", number, suffix);
    if (status == GMM_OK)
        status = gmm_find_gguf(finder, count, hidden, inner, &to->down, "blk.%" PRId64 ".ffn_down_%s", number, suffix);
    return status;
}

gmm_status gmm_arch_find(const gmm_finder *finder, gmm_layer_record *record)
{
    const gmm_checkpoint_layer *l = &record->layer;

    gmm_status status =
        gmm_find_gguf(finder, 0, l->experts, l->hidden, &record->router, "blk.%" PRId64 ".ffn_gate_inp", l->number);
    if (status == GMM_OK)
        status = find_set(finder, l->number, "exps", l->experts, l->intermediate, l->hidden, &record->experts);
    if (status == GMM_OK && l->shared_intermediate > 0)
        status = find_set(finder, l->number, "shexp", 0, l->shared_intermediate, l->hidden, &record->shared);
    return status;
}
