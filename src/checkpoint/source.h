/* source.h - where the matrices of one projection lie in the files: found, and checked against what they must be. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_SOURCE_H
#define GMM_SOURCE_H

#include "checkpoint/config.h"
#include "checkpoint/gguf_blocks.h"
#include "checkpoint/tensor_set.h"

typedef enum gmm_storage {
    GMM_STORAGE_DENSE,      /* .weight (rows, cols), f32, f16 or bf16 */
    GMM_STORAGE_TRANSPOSED, /* the same, but (cols, rows) */
    GMM_STORAGE_QUANTIZED,  /* .weight U32, .scales, .biases, in a format of the library */
    GMM_STORAGE_BLOCKS,     /* .weight of a GGUF file, in blocks that a format of the library can have */
    GMM_STORAGE_FP8         /* .weight E4M3, .weight_scale_inv for each block, f32, f16 or bf16 */
} gmm_storage;

/* A tensor, or a stack of them. */
typedef struct gmm_module {
    gmm_storage storage;
    const char *mode; /* quantized, blocks: of the format */
    int32_t bits, group_size;
    const gmm_tensor *weight, *scales, *biases; /* scales: the blocks' for fp8 */
    const gmm_tensor *bias;                     /* the linear bias; NULL: none */
    const gmm_block_format *blocks;             /* blocks: what they are, */
    const gmm_gguf_type *type;                  /* and how large */
} gmm_module;

/* One projection of all experts. */
typedef struct gmm_source {
    char *name;    /* of the module, or of that of expert 0 */
    int64_t count; /* matrices; 0: there is no such projection */
    int64_t rows, cols;
    bool stacked;        /* one module has all, its tensors one more axis in front, unless it is a lone matrix */
    bool lone;           /* stacked, of one matrix, without the axis */
    gmm_module *modules; /* 1 if stacked, else count */
    int64_t block[2];    /* fp8 */
} gmm_source;

typedef struct gmm_finder {
    const gmm_tensor_set *set;
    const gmm_config *config;
} gmm_finder;

/* All of these give GMM_OK; GMM_ERR_MALFORMED; GMM_ERR_MEMORY. A source that was filled in part is to be freed too.
 * Names are formats for printf. */

/* Is there a tensor of this name? */
__attribute__((format(printf, 2, 3))) bool gmm_find_is(const gmm_finder *finder, const char *format, ...);

/* Begin a source of `modules` modules, all zero. */
gmm_status gmm_source_begin(const gmm_finder *finder, const char *name, int64_t count, int64_t rows, int64_t cols,
                            size_t modules, gmm_source *source);

/* The tensor of this name, of this shape, of one of the types (0 ends the list; NULL: of any). */
gmm_status gmm_find_tensor(const gmm_finder *finder, const char *name, const gmm_dtype *dtypes, int32_t ndim,
                           const int64_t *shape, const gmm_tensor **tensor);

/* The module NAME: `count` matrices, stacked. Count 0: one, without that axis. */
__attribute__((format(printf, 6, 7))) gmm_status gmm_find_module(const gmm_finder *finder, int64_t count, int64_t rows,
                                                                 int64_t cols, gmm_source *source, const char *format,
                                                                 ...);

/* The modules PREFIX + "experts.E." + which, for E from 0 to count - 1. */
gmm_status gmm_find_experts(const gmm_finder *finder, const char *prefix, const char *which, int64_t count,
                            int64_t rows, int64_t cols, gmm_source *source);

/* gpt-oss's PREFIX_blocks (count, rows, cols / 32, 16) and PREFIX_scales, which are mxfp4 as it is here; and
 * PREFIX_bias. */
gmm_status gmm_find_blocks(const gmm_finder *finder, const char *prefix, int64_t count, int64_t rows, int64_t cols,
                           gmm_source *source);

/* gpt-oss's PREFIX (count, cols, rows), dense, and PREFIX_bias. */
gmm_status gmm_find_transposed(const gmm_finder *finder, const char *prefix, int64_t count, int64_t rows, int64_t cols,
                               gmm_source *source);

void gmm_source_free(gmm_source *source);

/* What of module m is called: a format's name, or "fp8". */
const char *gmm_module_format_name(const gmm_module *module);

/* Call `visit` for each tensor of the source: of one matrix, or of all for -1. Of a stack, the part of that matrix. */
typedef void gmm_visit_bytes(void *user, const void *data, size_t size_bytes);
void gmm_source_each(const gmm_source *source, int64_t matrix, gmm_visit_bytes *visit, void *user);

/* Bytes of all tensors of the source. */
int64_t gmm_source_bytes(const gmm_source *source);

extern const gmm_dtype gmm_float_dtypes[];

#endif
