/* architecture.h - what an architecture of GGUF files is: a family's descriptor, for llama.cpp's names of keys and
 * tensors. One in each arch_NAME.c, listed in architecture_list.h. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_ARCHITECTURE_H
#define GMM_ARCHITECTURE_H

#include "checkpoint/family.h"

/* Every architecture, NULL at the end; built from architecture_list.h. */
extern const gmm_family *const gmm_architectures[];

#define ARCHITECTURE(name) extern const gmm_family name;
#include "checkpoint/architecture_list.h"
#undef ARCHITECTURE

/* ---- what architectures share ---- */

/* embedding_length, expert_count, expert_used_count, and the intermediate size under this key. */
gmm_status gmm_arch_sizes(const gmm_config *config, const char *intermediate_key, gmm_checkpoint_layer *layer);

/* expert_gating_func: 1 is softmax, 2 sigmoid, 3 softmax of the chosen. GMM_ERR_ARGUMENT unless it is this one; where
 * there is none, it is `fallback`. */
gmm_status gmm_arch_gating(const gmm_config *config, int64_t wanted, int64_t fallback);

/* expert_weights_scale; 0 and 1 change nothing. */
gmm_status gmm_arch_scale(const gmm_config *config, gmm_checkpoint_layer *layer);

/* blk.N.ffn_gate_inp and blk.N.ffn_{gate,up,down}_exps; for a layer with a shared expert, ffn_{gate,up,down}_shexp. */
gmm_status gmm_arch_find(const gmm_finder *finder, gmm_layer_record *record);

#endif
