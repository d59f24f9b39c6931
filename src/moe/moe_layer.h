/* moe_layer.h - a checked layer: the sizes of its projections, and each as an operand of products. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_MOE_LAYER_H
#define GMM_MOE_LAYER_H

#include "base/array.h"
#include "gathermm/moe.h"

/* One projection of all experts. */
typedef struct gmm_moe_stack {
    const gmm_moe_weights *weights; /* NULL: there is none */
    int64_t matrices, n, k;
    int64_t bytes; /* of all of it */
} gmm_moe_stack;

/* All projections. */
typedef struct gmm_moe_mlp {
    gmm_moe_stack gate, up, gate_up, down;
    bool gated, interleaved;
    bool single;   /* some projection has a description for each expert: a product is of one expert */
    int64_t inner; /* I */
    int64_t width; /* what a row holds before the activation: 2 I, ungated I */
} gmm_moe_mlp;

/* A layer; points into itself. */
typedef struct gmm_moe_model {
    gmm_moe_layer layer;
    gmm_routing routing;
    bool routed;
    gmm_view correction;
    gmm_moe_mlp experts;
    gmm_moe_mlp shared; /* down.weights is NULL: there is none */
    gmm_moe_stack shared_gate, router;
    int64_t hidden, count; /* H, E */
} gmm_moe_model;

enum {
    GMM_MOE_BLOCK = 256 /* elements that are taken together where something is done element by element */
};

/* Check a layer and fill in *model. Statuses as gmm_moe_describe. */
gmm_status gmm_moe_check(const gmm_moe_layer *layer, gmm_moe_model *model);

/* GMM_ERR_OVERLAP if an output shares memory with anything of the layer. */
gmm_status gmm_moe_check_apart(const gmm_moe_model *model, const gmm_view *out);

/* The weights of a product, and what they point to. Not to be copied. */
typedef struct gmm_moe_operand {
    gmm_product product;
    gmm_array rhs;
    int64_t shape[3], strides[3];
} gmm_moe_operand;

/* Set the weights of a product: of all experts, or of `expert` where each has its own description. */
void gmm_moe_operand_make(const gmm_moe_stack *stack, int64_t expert, gmm_moe_operand *operand);

/* A row of a linear bias; data is NULL where there is none. */
typedef struct gmm_moe_bias {
    const char *data;
    gmm_dtype dtype;
    int64_t stride, element_bytes;
} gmm_moe_bias;

gmm_moe_bias gmm_moe_bias_of(const gmm_moe_stack *stack, int64_t expert);

/* Add elements [first, first + count) of a bias to values; count <= GMM_MOE_BLOCK. */
void gmm_moe_bias_add(const gmm_moe_bias *bias, int64_t first, int64_t step, int64_t count, float *values);

#endif
