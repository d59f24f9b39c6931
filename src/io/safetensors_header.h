/* safetensors_header.h - the JSON header of a safetensors file as records, each checked by itself. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_SAFETENSORS_HEADER_H
#define GMM_SAFETENSORS_HEADER_H

#include <stddef.h>

#include "gathermm/gathermm.h"

/* The format's own limit. */
#define GMM_SAFETENSORS_MAX_HEADER_BYTES 100000000

/* A growing run of elements. */
typedef struct gmm_pool {
    void *data;
    size_t used, capacity, element_bytes;
} gmm_pool;

/* One tensor. Names and shapes are numbers of elements in the header's pools, which move while they grow. */
typedef struct gmm_tensor_record {
    size_t name;  /* in text; rises in the order of the header */
    size_t shape; /* in shapes */
    int64_t begin, end;
    gmm_dtype dtype;
    int32_t ndim;
} gmm_tensor_record;

typedef struct gmm_header {
    gmm_pool text;     /* char: every string, ended by 0 */
    gmm_pool shapes;   /* int64_t */
    gmm_pool records;  /* gmm_tensor_record */
    gmm_pool metadata; /* size_t: key, value, key, value, ... in text */
} gmm_header;

/* Read the header's text. Every record's size is that of its shape and type, and lies in [0, data_bytes); that names
 * differ and that ranges meet is for the caller to see. `path` is for messages. GMM_OK; GMM_ERR_MALFORMED;
 * GMM_ERR_MEMORY. To be freed in any case. */
gmm_status gmm_header_parse(const char *path, const char *text, size_t size, int64_t data_bytes, gmm_header *header);

void gmm_header_free(gmm_header *header);

#endif
