/* gguf_set.h - the GGUF files of a checkpoint as a set of tensors, and their metadata as a configuration. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_GGUF_SET_H
#define GMM_GGUF_SET_H

#include "checkpoint/config.h"
#include "checkpoint/tensor_set.h"

/* Does the path end as those of GGUF files do? */
bool gmm_gguf_path(const char *path);

/* Open set->path and, if it is the first of several, NAME-00001-of-0000N.gguf, the others: into set->shards. GMM_OK;
 * GMM_ERR_FILE; GMM_ERR_MALFORMED; GMM_ERR_MEMORY. */
gmm_status gmm_gguf_set_open(gmm_tensor_set *set);

/* The first file's metadata as a configuration: its numbers, flags and words, keys of the architecture without its
 * name, so that "llama.expert_count" is "expert_count". *architecture borrows from the configuration. GMM_OK;
 * GMM_ERR_MALFORMED; GMM_ERR_MEMORY. To be closed in any case. */
gmm_status gmm_gguf_config(const gmm_tensor_set *set, gmm_config *config, const char **architecture);

#endif
