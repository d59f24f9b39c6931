/* conversion.h - a checkpoint's tensors under the names and in the shapes of another layout.
 * SPDX-License-Identifier: MIT
 *
 * The layouts are those of gmm_checkpoint_layer: "hf", as published, and "mlx", as converted by mlx-lm. A conversion is
 * the list of all tensors that the other layout has, and their bytes, made a few rows at a time from the mapped files:
 * memory does not grow with the model. docs/checkpoints.md has what becomes of each tensor.
 *
 * To "mlx": experts are stacked, gpt-oss's gate and up are taken apart, fp8 weights with block scales become bf16, and
 * what mlx-lm leaves out is left out. To "hf": stacks become experts, quantized modules become dense ones, but mxfp4
 * experts of gpt-oss become blocks, which have the same bytes.
 *
 * Every function may be called from several threads at once, on one conversion too.
 */
#ifndef GMM_CONVERSION_H
#define GMM_CONVERSION_H

#include "checkpoint.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A planned conversion. Opaque. */
typedef struct gmm_conversion gmm_conversion;

/** What becomes of a tensor. Values are pinned. */
typedef enum gmm_conversion_kind {
    GMM_CONVERSION_CARRIED = 0,    /**< name, type, shape and bytes are those of the source */
    GMM_CONVERSION_REARRANGED = 1, /**< the same numbers under another name or in another shape */
    GMM_CONVERSION_DECODED = 2     /**< fp8 or quantized in the source: computed in f32 and rounded once to `dtype` */
} gmm_conversion_kind;

/** Options for gmm_conversion_create; set `size`. */
typedef struct gmm_conversion_options {
    size_t size;        /**< sizeof(gmm_conversion_options) */
    const char *layout; /**< "hf" or "mlx": what the tensors are to be; the checkpoint's own is allowed */
    /** To "hf", fp8 weights with block scales stay as they are; true: decoded to bf16, as they always are to "mlx". */
    bool decode_fp8;
} gmm_conversion_options;

/** One tensor of the new layout. Pointers are valid until the conversion is freed. */
typedef struct gmm_converted {
    const char *name;
    gmm_dtype dtype;
    int32_t ndim;
    const int64_t *shape;
    size_t size_bytes;
    int64_t rows;     /**< what is read at once at least: one along the last axis, or more of it for gpt-oss's blocks */
    size_t row_bytes; /**< size_bytes = rows * row_bytes */
    gmm_conversion_kind kind;
    const char *mode;         /**< of packed weights that stay so: their format; NULL for all other tensors */
    int32_t bits, group_size; /**< with `mode`; else 0 */
    bool stays_dense;         /**< the layout has no quantized form of it */
} gmm_converted;

/**
 * Plan a conversion. Nothing is read but names, types and shapes. The checkpoint must outlive the conversion.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_ARGUMENT (size, layout; a GGUF file; a tensor whose other form is not known);
 * GMM_ERR_FORMAT for experts of different formats that are to be stacked; GMM_ERR_MALFORMED for modules that are not
 * whole, and for two tensors of one new name; GMM_ERR_SIZE; GMM_ERR_MEMORY. On error *conversion is not written.
 */
GMM_API gmm_status gmm_conversion_create(const gmm_checkpoint *checkpoint, const gmm_conversion_options *options,
                                         gmm_conversion **conversion);

/** Free; NULL is allowed. */
GMM_API void gmm_conversion_free(gmm_conversion *conversion);

/** How many tensors the new layout has. */
GMM_API size_t gmm_conversion_count(const gmm_conversion *conversion);

/** Tensor number i, ordered by name with numbers in it as numbers; false past the end. */
GMM_API bool gmm_conversion_at(const gmm_conversion *conversion, size_t i, gmm_converted *tensor);

/** Number i of the source's tensors that the layout leaves out; NULL past the end. Valid until the checkpoint's close.
 */
GMM_API const char *gmm_conversion_left_out_at(const gmm_conversion *conversion, size_t i);

/**
 * Rows [first, first + rows) of tensor i, one after another, into `out`, which has rows * row_bytes bytes of any
 * alignment. The system is told that the files' pages are no longer needed.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_ARGUMENT (i, first, rows); GMM_ERR_MEMORY. On error `out` is not written.
 */
GMM_API gmm_status gmm_conversion_read(const gmm_conversion *conversion, size_t i, int64_t first, int64_t rows,
                                       void *out);

#ifdef __cplusplus
}
#endif

#endif
