/* family.h - what a family of models is: one const descriptor, defined in a file of its own, listed in family_list.h.
 */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_FAMILY_H
#define GMM_FAMILY_H

#include "checkpoint/source.h"
#include "gathermm/checkpoint.h"

/* Where one set of experts lies. */
typedef struct gmm_expert_sources {
    gmm_source gate, up, gate_up, down;
} gmm_expert_sources;

/* A layer as it was found: numbers, and where its tensors are. */
typedef struct gmm_layer_record {
    gmm_checkpoint_layer layer; /* without arrays */
    gmm_source router;
    gmm_expert_sources experts, shared;
    gmm_array correction_bias; /* layer.correction_bias points to it */
    const gmm_tensor *correction;
} gmm_layer_record;

struct gmm_conversion;

/* Names of experts' modules after "model.layers.N.". */
typedef struct gmm_expert_names {
    const char *block;     /* "mlp." */
    const char *mlx;       /* the stacks are BLOCK + mlx + {gate,up,down}_proj */
    const char *const *hf; /* gate, up, down: the experts are BLOCK + "experts.E." + hf[i]. NULL: gpt-oss's
                              experts.gate_up_proj, rows of gate and up in turn, and experts.down_proj */
} gmm_expert_names;

typedef struct gmm_family {
    const char *name;   /* model_type of config.json; of GGUF files, general.architecture */
    const char *family; /* of GGUF files: the family that it is; else NULL */

    /* What all layers have in common: sizes, routing and activation of `layer`. */
    gmm_status (*read)(const gmm_config *config, gmm_checkpoint_layer *layer);

    /* Does this layer, layer.number, have experts? NULL: each does. */
    gmm_status (*has_experts)(const gmm_config *config, int64_t number, bool *has);

    /* Find the tensors of a layer that does. */
    gmm_status (*find)(const gmm_finder *finder, gmm_layer_record *record);

    /* The names of experts in both layouts, for `find` and for conversion, which writes what it reads. Not of GGUF. */
    gmm_expert_names names;

    /* Is the router no module that mlx-lm quantizes? */
    bool router_stays_dense;

    /* What else than experts has another form in the other layout. NULL: nothing. */
    gmm_status (*convert)(struct gmm_conversion *conversion);

    /* Does mlx-lm leave this tensor out? NULL: none. */
    bool (*left_out)(const gmm_config *config, const char *name);
} gmm_family;

/* Every family, NULL at the end; built from family_list.h. */
extern const gmm_family *const gmm_families[];

#define FAMILY(name) extern const gmm_family name;
#include "checkpoint/family_list.h"
#undef FAMILY

/* ---- what families share ---- */

/* hidden_size, num_experts_per_tok, and the members of these names for experts and for intermediate. */
gmm_status gmm_family_sizes(const gmm_config *config, const char *experts_key, const char *intermediate_key,
                            gmm_checkpoint_layer *layer);

/* What members are called that say of groups of experts and of the shared ones. */
typedef struct gmm_group_names {
    const char *groups, *kept, *shared, *top_k, *experts;
} gmm_group_names;

/* n_group, topk_group and shared_intermediate, each absent or fitting what gmm_family_sizes has read. */
gmm_status gmm_family_groups(const gmm_config *config, const gmm_group_names *names, gmm_checkpoint_layer *layer);

/* hidden_act: silu, gelu or gelu_pytorch_tanh. GMM_ERR_ARGUMENT for another. */
gmm_status gmm_family_activation(const gmm_config *config, gmm_checkpoint_layer *layer);

/* The router BLOCK + "gate" of layer number N, and its experts in the layout that there is. Not for names without hf.
 */
gmm_status gmm_family_experts(const gmm_finder *finder, const gmm_expert_names *names, gmm_layer_record *record);

/* Are a layer's experts stacks, mlx's layout? Then find them; *status says how that went. In any case layer.layout
 * becomes "mlx" or "hf". */
bool gmm_family_stacks(const gmm_finder *finder, const gmm_expert_names *names, gmm_layer_record *record,
                       gmm_status *status);

/* The `convert` of families with latent attention (conversion_mla.c). */
gmm_status gmm_conversion_mla(struct gmm_conversion *conversion);

/* "model.layers.N." + block into `text`; returns it. */
const char *gmm_family_prefix(int64_t number, const char *block, char *text, size_t text_size);

/* A `left_out`: lm_head where it is embed_tokens. */
bool gmm_family_tied_head(const gmm_config *config, const char *name);

/* PREFIX{gate,up,down}_proj, one matrix each. */
gmm_status gmm_family_shared(const gmm_finder *finder, const char *prefix, int64_t intermediate,
                             gmm_layer_record *record);

#endif
