/* tensor_set.h - the tensors of all files of a checkpoint, by name. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_TENSOR_SET_H
#define GMM_TENSOR_SET_H

#include <jansson.h>

#include "gathermm/io.h"
#include "io/gguf.h"

typedef struct gmm_shard {
    char *path;
    gmm_safetensors *file; /* one of these two */
    gmm_gguf *gguf;
} gmm_shard;

typedef struct gmm_set_entry {
    gmm_tensor tensor;
    const char *path;          /* of its file */
    const gmm_gguf_type *type; /* of a GGUF file; else NULL */
} gmm_set_entry;

typedef struct gmm_tensor_set {
    char *path;      /* as given */
    char *directory; /* that holds config.json; NULL for GGUF files, which need none */
    gmm_shard *shards;
    size_t shard_count;
    gmm_set_entry *entries; /* sorted by name */
    size_t count;
} gmm_tensor_set;

/* Open a folder, an index, or one file, and all files that these name; files of one kind. To be closed in any case.
 * GMM_OK; GMM_ERR_FILE; GMM_ERR_MALFORMED; GMM_ERR_MEMORY. */
gmm_status gmm_tensor_set_open(const char *path, gmm_tensor_set *set);

void gmm_tensor_set_close(gmm_tensor_set *set);

/* The tensor of this name, or NULL. */
const gmm_set_entry *gmm_tensor_set_find(const gmm_tensor_set *set, const char *name);

/* "directory/name" in memory of its own; NULL without memory. */
char *gmm_path_join(const char *directory, const char *name);

/* Read a JSON file that holds an object, of at most `limit` bytes. GMM_OK; GMM_ERR_FILE; GMM_ERR_MALFORMED;
 * GMM_ERR_MEMORY. */
gmm_status gmm_json_load(const char *path, size_t limit, json_t **value);

#endif
