/* checkpoint_open.h - what an open checkpoint holds. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CHECKPOINT_OPEN_H
#define GMM_CHECKPOINT_OPEN_H

#include "checkpoint/family.h"

struct gmm_checkpoint {
    gmm_tensor_set set;
    gmm_config config;
    const gmm_family *family;
    bool is_gguf;
    gmm_layer_record *records;
    size_t count;
};

/* The sources of a record and where the layer has their weights, number i; false past the end. */
bool gmm_record_source(gmm_layer_record *record, size_t i, gmm_source **source, gmm_checkpoint_weights **weights);

/* GMM_OK or GMM_ERR_ARGUMENT: is there a layer i? */
gmm_status gmm_checkpoint_check_layer(const gmm_checkpoint *checkpoint, size_t i);

/* These bytes of a mapped file are not needed any more. Advice only. */
void gmm_memory_drop(const void *data, size_t size_bytes);

#endif
