/* gguf.h - reading GGUF files: metadata, and where the tensors lie. Versions 2 and 3, little-endian. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_GGUF_H
#define GMM_GGUF_H

#include "gathermm/io.h"

/* An element type: single elements of `dtype`, or blocks along the rows (dtype 0). */
typedef struct gmm_gguf_type {
    uint32_t number; /* in files */
    const char *name;
    int32_t block_elements, block_bytes;
    gmm_dtype dtype;
} gmm_gguf_type;

typedef enum gmm_gguf_kind {
    GMM_GGUF_INTEGER,
    GMM_GGUF_REAL,
    GMM_GGUF_FLAG,
    GMM_GGUF_TEXT,
    GMM_GGUF_ARRAY /* its elements are checked, and left where they are */
} gmm_gguf_kind;

/* One entry of the metadata. An integer beyond int64_t is a REAL. */
typedef struct gmm_gguf_value {
    char *key;
    gmm_gguf_kind kind;
    int64_t integer; /* INTEGER; FLAG: 0 or 1 */
    double real;
    const char *text; /* not ended by 0 */
    size_t length;
} gmm_gguf_value;

/* The shape is that of a row-major array: the file's sizes backwards. dtype is 0 for types in blocks. */
typedef struct gmm_gguf_tensor {
    gmm_tensor tensor;
    const gmm_gguf_type *type;
    int64_t shape[4];
} gmm_gguf_tensor;

typedef struct gmm_gguf gmm_gguf;

/* Map and check: strings, arrays, types and sizes lie within the file, and the tensors' data follow one another without
 * gaps but for alignment. GMM_OK; GMM_ERR_FILE; GMM_ERR_MALFORMED; GMM_ERR_MEMORY. On error *file is not written. */
gmm_status gmm_gguf_open(const char *path, gmm_gguf **file);

/* NULL is allowed. */
void gmm_gguf_close(gmm_gguf *file);

/* Number i, in the order of the file; NULL past the end. */
const gmm_gguf_value *gmm_gguf_value_at(const gmm_gguf *file, size_t i);
const gmm_gguf_tensor *gmm_gguf_tensor_at(const gmm_gguf *file, size_t i);

/* The entry of this key, or NULL. */
const gmm_gguf_value *gmm_gguf_find(const gmm_gguf *file, const char *key);

#endif
