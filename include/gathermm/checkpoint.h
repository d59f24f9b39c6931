/* checkpoint.h - the mixture-of-experts layers of model checkpoints, mapped where they lie.
 * SPDX-License-Identifier: MIT
 *
 * A checkpoint is a folder with config.json and safetensors files: model.safetensors.index.json and its shards, or
 * model*.safetensors; or a GGUF file, or several. docs/checkpoints.md has the families, their names, and what becomes
 * of each tensor.
 *
 * Nothing in the files is trusted. An opened checkpoint is whole: every tensor of every layer has been found, with the
 * type and the shape that config.json, or the GGUF file's metadata, asks for. What is not so gives GMM_ERR_MALFORMED
 * with a gmm_error_detail that names the file, the tensor and the numbers. Values are not looked at. io.h says what
 * holds for mapped files.
 *
 * Every function may be called from several threads at once, on one checkpoint too.
 */
#ifndef GMM_CHECKPOINT_H
#define GMM_CHECKPOINT_H

#include "gathermm.h"
#include "moe.h"

#ifdef __cplusplus
extern "C" {
#endif

/** An open checkpoint. Opaque. */
typedef struct gmm_checkpoint gmm_checkpoint;

/* ---- what a layer is --------------------------------------------------------------------------------------------- */

/** How logits become experts and weights. Values are pinned. */
typedef enum gmm_checkpoint_routing_kind {
    GMM_CHECKPOINT_SOFTMAX_TOPK = 0, /**< softmax of all logits, the k largest, divided by their sum if `renormalise` */
    GMM_CHECKPOINT_TOPK_SOFTMAX = 1, /**< the k largest logits, softmax of these */
    GMM_CHECKPOINT_SIGMOID = 2       /**< DeepSeek-V3's: sigmoid, correction bias, groups */
} gmm_checkpoint_routing_kind;

/** What stands between gate, up and down. Values are pinned. */
typedef enum gmm_checkpoint_activation {
    GMM_CHECKPOINT_SILU = 0,
    GMM_CHECKPOINT_GELU = 1,
    GMM_CHECKPOINT_GELU_TANH = 2,
    GMM_CHECKPOINT_SWIGLU_CLAMPED = 3 /**< gpt-oss's, with `alpha` and `limit` */
} gmm_checkpoint_activation;

/** One weight matrix (rows, cols): exactly one of `rhs` and `quantized`. */
typedef struct gmm_checkpoint_matrix {
    const gmm_array *rhs;           /**< dense (rows, cols), f32, f16 or bf16 */
    const gmm_quantized *quantized; /**< packed (rows, cols) */
    const gmm_array *bias;          /**< the linear bias (rows), f32, f16 or bf16; NULL: none */
} gmm_checkpoint_matrix;

/**
 * One projection: `count` matrices of `rows` outputs and `cols` inputs; count 0: there is none. The last four members
 * are set in a loaded layer only, exactly one of `rhs`, `quantized` and `each`.
 */
typedef struct gmm_checkpoint_weights {
    const char *module;       /**< its name in the files; of one tensor per expert, that of expert 0 */
    const char *format;       /**< "f32", "f16", "bf16", a quantized mode, "fp8" (E4M3 with block scales), or "mixed";
                               * of blocks of GGUF files, the mode that they become */
    int32_t bits, group_size; /**< quantized: of expert 0; else 0 */
    int64_t count, rows, cols;
    int64_t file_bytes;                /**< of all its tensors: codes, scales, biases, linear biases */
    const gmm_array *rhs;              /**< dense (count, rows, cols), any strides */
    const gmm_quantized *quantized;    /**< packed (count, rows, cols) */
    const gmm_checkpoint_matrix *each; /**< `count` matrices, each where its file has it */
    const gmm_array *bias;             /**< (count, rows); NULL: none. Not with `each`: there each has its own */
} gmm_checkpoint_weights;

/** The projections of experts. Either gate_up, or gate and up. */
typedef struct gmm_checkpoint_projections {
    gmm_checkpoint_weights gate, up; /**< (E, I, H) */
    gmm_checkpoint_weights gate_up;  /**< (E, 2I, H): row 2i is gate's row i, row 2i + 1 up's (gpt-oss) */
    gmm_checkpoint_weights down;     /**< (E, H, I) */
} gmm_checkpoint_projections;

/** A mixture-of-experts layer. */
typedef struct gmm_checkpoint_layer {
    int64_t number;     /**< in the model, counted from 0: l in model.layers.l or blk.l */
    const char *family; /**< "mixtral", "qwen3_moe", "deepseek_v3", "gpt_oss" */
    const char *layout; /**< "hf": names and shapes as published; "mlx": as converted by mlx-lm; "gguf" */
    int64_t experts, hidden, intermediate;
    int64_t shared_intermediate; /**< 0: no shared expert */
    int64_t file_bytes;          /**< of all tensors below */

    gmm_checkpoint_routing_kind routing;
    int32_t top_k;
    bool renormalise;
    float scale;                      /**< the weights are multiplied by this last */
    int32_t n_group, topk_group;      /**< 1: no groups */
    const gmm_array *correction_bias; /**< (E), f32, f16 or bf16; NULL: none */

    gmm_checkpoint_activation activation;
    float alpha, limit; /**< GMM_CHECKPOINT_SWIGLU_CLAMPED; else 0 */

    gmm_checkpoint_weights router; /**< (E, H): count 1, arrays without that axis */
    gmm_checkpoint_projections projections;
    gmm_checkpoint_projections shared; /**< one more expert, for all tokens: count 1, arrays without that axis; or 0 */

    int64_t owned_bytes; /**< memory that a loaded layer holds besides what is mapped; else 0 */
} gmm_checkpoint_layer;

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/**
 * Open and check a checkpoint.
 *
 * @param path  a folder; or an index in it, "....index.json"; or a single safetensors file with config.json beside it;
 * or a GGUF file, "....gguf", version 2 or 3, little-endian: of several files the first, NAME-00001-of-0000N.gguf
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_FILE; GMM_ERR_MALFORMED; GMM_ERR_ARGUMENT for a family that is not known, or
 * something of it that is not supported, as many types of GGUF files; GMM_ERR_MEMORY. On error
 * *checkpoint is not written.
 */
GMM_API gmm_status gmm_checkpoint_open(const char *path, gmm_checkpoint **checkpoint);

/** Unmap and free; NULL is allowed. Layers that were loaded from it are to be freed before. */
GMM_API void gmm_checkpoint_close(gmm_checkpoint *checkpoint);

/** How many mixture-of-experts layers there are. */
GMM_API size_t gmm_checkpoint_layer_count(const gmm_checkpoint *checkpoint);

/** Layer number i of these, without arrays (correction_bias is there); false past the end. Valid until the close. */
GMM_API bool gmm_checkpoint_layer_at(const gmm_checkpoint *checkpoint, size_t i, gmm_checkpoint_layer *layer);

/** Family number i that can be read; NULL past the end. */
GMM_API const char *gmm_checkpoint_family_at(size_t i);

/* ---- loading ----------------------------------------------------------------------------------------------------- */

/** Options for gmm_checkpoint_layer_load; set `size`, leave the rest zero for the defaults. */
typedef struct gmm_checkpoint_load_options {
    size_t size; /**< sizeof(gmm_checkpoint_load_options) */
    bool stack;  /**< copy tensors of single experts into one stack: `each` is never set then */
    /**
     * What fp8 weights become: E4M3(code) * scale of its block, the product in f32, which is GMM_F32 as it is, and
     * rounded once more, to nearest even, for GMM_BF16. 0: GMM_BF16, as the models' own release and MLX have it.
     */
    gmm_dtype fp8_dtype;
} gmm_checkpoint_load_options;

/**
 * Make the arrays of layer i. They view the files where these have what products take, and the system is asked to read
 * these parts ahead. Only fp8 weights, blocks of GGUF files, and stacks if asked for, are in memory of the layer's own.
 *
 * @param options  NULL: the defaults
 * @param layer    to be freed; borrows from the checkpoint
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_ARGUMENT (i, size, fp8_dtype); GMM_ERR_FORMAT for experts of different formats
 * that are to be stacked; GMM_ERR_SIZE; GMM_ERR_MEMORY. On error *layer is not written.
 */
GMM_API gmm_status gmm_checkpoint_layer_load(const gmm_checkpoint *checkpoint, size_t i,
                                             const gmm_checkpoint_load_options *options,
                                             const gmm_checkpoint_layer **layer);

/**
 * Make the arrays of one expert of layer i and of nothing else: weights that are decoded or repacked take the memory of
 * one expert at a time. Each of the projections has count 1 and arrays without that axis; there is no router, no
 * correction_bias and no shared expert. `module` is the name that the whole layer has. `stack` changes nothing.
 *
 * A layer of the chosen experts alone is one for gmm_moe_run, with `each` of its weights (moe.h), and ids and weights
 * of gmm_route, numbered anew.
 *
 * @param expert   0 to experts - 1
 * @param options  NULL: the defaults
 * @param layer    to be freed by gmm_checkpoint_layer_free; borrows from the checkpoint
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_ARGUMENT (i, expert, size, fp8_dtype); GMM_ERR_SIZE; GMM_ERR_MEMORY. On error
 * *layer is not written.
 */
GMM_API gmm_status gmm_checkpoint_expert_load(const gmm_checkpoint *checkpoint, size_t i, int64_t expert,
                                              const gmm_checkpoint_load_options *options,
                                              const gmm_checkpoint_layer **layer);

/** Free a loaded layer, or expert; NULL is allowed. What was mapped stays so. */
GMM_API void gmm_checkpoint_layer_free(const gmm_checkpoint_layer *layer);

/* ---- running ----------------------------------------------------------------------------------------------------- */

/**
 * Describe a loaded layer to gmm_moe_run, its router, shared expert and activation included. No weight is copied: the
 * arrays are those of the loaded layer, which must stay. DeepSeek-V3 routes as Transformers and MLX have it
 * (drop_to_zero). To change something, as `progress`, copy *moe and change the copy.
 *
 *     gmm_checkpoint_layer_load(checkpoint, i, NULL, &loaded);
 *     gmm_moe_layer_from_checkpoint(loaded, &moe);
 *     gmm_moe_run(context, moe, &x, NULL, NULL, &out);
 *
 * @param moe  to be freed
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_ARGUMENT for a layer without arrays, or a routing or activation that does not
 * exist; GMM_ERR_MEMORY. On error *moe is not written.
 */
GMM_API gmm_status gmm_moe_layer_from_checkpoint(const gmm_checkpoint_layer *layer, const gmm_moe_layer **moe);

/** Free what gmm_moe_layer_from_checkpoint made, before the loaded layer; NULL is allowed. */
GMM_API void gmm_moe_layer_free(const gmm_moe_layer *moe);

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/** What the system is told of a layer's part of the files. Values are pinned. */
typedef enum gmm_checkpoint_advice {
    GMM_CHECKPOINT_WILL_NEED = 0, /**< read it ahead, without waiting */
    GMM_CHECKPOINT_DONT_NEED = 1  /**< its pages may go; they are read again when used */
} gmm_checkpoint_advice;

/**
 * Tell the system about the experts' matrices of layer i: of one expert, or of all and the rest of the layer for -1.
 * Advice only: no result depends on it.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_ARGUMENT (i, expert, advice).
 */
GMM_API gmm_status gmm_checkpoint_advise(const gmm_checkpoint *checkpoint, size_t i, int64_t expert,
                                         gmm_checkpoint_advice advice);

/**
 * How much of layer i's part of the files is in memory now, in whole pages: what this process or another one has used
 * and the system has kept.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_ARGUMENT (i); GMM_ERR_FILE when the system does not tell. On error
 * *resident_bytes is not written.
 */
GMM_API gmm_status gmm_checkpoint_resident(const gmm_checkpoint *checkpoint, size_t i, int64_t *resident_bytes);

#ifdef __cplusplus
}
#endif

#endif
