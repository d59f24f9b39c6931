/* checkpoint_moe.h - a loaded layer as gmm_moe_run takes it, and what it must give. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CHECKPOINT_MOE_H
#define GMM_CHECKPOINT_MOE_H

#include "gathermm/checkpoint.h"
#include "gathermm/io.h"
#include "gathermm/moe.h"

/* Not to be copied. It borrows from the loaded layer. */
typedef struct layer_moe {
    gmm_moe_layer layer;
    gmm_routing routing;
    gmm_moe_weights *lists[8]; /* of single matrices */
    size_t list_count;
} layer_moe;

void layer_moe_make(layer_moe *made, const gmm_checkpoint_layer *loaded);
void layer_moe_free(layer_moe *made);

/* Run the layer on N.x: it gives N.y of the reference, within the a-priori bound of docs/numerics.md. */
void check_output(const gmm_safetensors *reference, const gmm_checkpoint_layer *loaded);

#endif
