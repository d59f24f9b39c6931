/* checkpoint_moe.h - what a loaded layer must give when it is run. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CHECKPOINT_MOE_H
#define GMM_CHECKPOINT_MOE_H

#include "gathermm/checkpoint.h"
#include "gathermm/io.h"

/* Run the layer on N.x: it gives N.y of the reference, within the a-priori bound of docs/numerics.md, and the reference
 * is what double precision makes of its parts here. */
void check_output(const gmm_safetensors *reference, const gmm_checkpoint_layer *loaded);

#endif
