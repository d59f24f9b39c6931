/* moe.h - a whole mixture-of-experts layer in one call: routing, gate and up, activation, down, weighted sum.
 * SPDX-License-Identifier: MIT
 *
 * For a token x (H) with experts e[0..k-1] and weights w[0..k-1]:
 *
 *     g = Wg[e] x + bg[e]      u = Wu[e] x + bu[e]      a = f(g, u)      y[j] = Wd[e[j]] a + bd[e[j]]
 *     out = sum over j = 0..k-1 of w[j] * y[j]    + shared expert
 *
 * Every intermediate is f32, the sum runs in the order of the slots j in f32, and is rounded once, to out's type. A
 * token's bits do not depend on the other tokens, their order, the number of threads, earlier calls, or what out held.
 * docs/numerics.md has the bound.
 *
 * Every function may be called from several threads at once, but one plan is used by one thread at a time.
 */
#ifndef GMM_MOE_H
#define GMM_MOE_H

#include "gathermm.h"
#include "prepared.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/**
 * One projection of all experts, N outputs of K inputs each. Set one of `rhs`, `quantized`, `prepared` and `each`; all
 * zero: there is no such projection.
 */
typedef struct gmm_moe_weights {
    const gmm_array *rhs;           /**< dense, as checkpoints have them: (E, N, K), f32, f16 or bf16, any strides */
    const gmm_quantized *quantized; /**< packed (E, N, K) */
    const gmm_prepared *prepared;   /**< either, by gmm_prepare: of rhs as (E, K, N), of quantized with transpose */
    const struct gmm_moe_weights *each; /**< one matrix each: (N, K) or (1, N, K); formats may differ. Set each_count */
    int64_t each_count;                 /**< E, with `each` */
    const gmm_array *bias; /**< the linear bias, (E, N), f32, f16 or bf16; NULL: none. In `each`: (N) or (1, N) */
} gmm_moe_weights;

/** How the rows of a gate_up stack (E, 2I, H) lie. Values are pinned. */
typedef enum gmm_gate_up {
    GMM_GATE_UP_CONCATENATED = 0, /**< rows 0..I-1 are gate's, I..2I-1 up's */
    GMM_GATE_UP_INTERLEAVED = 1   /**< row 2i is gate's row i, row 2i+1 up's (gpt-oss) */
} gmm_gate_up;

/** What an expert computes. Either gate_up, or gate and up, or up alone: then a = f(u), there is no product. */
typedef struct gmm_moe_projections {
    gmm_moe_weights gate;    /**< (E, I, H) */
    gmm_moe_weights up;      /**< (E, I, H) */
    gmm_moe_weights gate_up; /**< (E, 2I, H): one pass over the activations */
    gmm_moe_weights down;    /**< (E, H, I) */
    gmm_gate_up gate_up_layout;
} gmm_moe_projections;

/** f. Values are pinned. Of g and u; where there is no gate, of u alone: the same without "* u", for g = u. */
typedef enum gmm_activation {
    GMM_ACTIVATION_SILU = 0,      /**< g / (1 + exp(-g)) * u */
    GMM_ACTIVATION_GELU = 1,      /**< g * (1 + erf(g / sqrt(2))) / 2 * u */
    GMM_ACTIVATION_GELU_TANH = 2, /**< g * (1 + tanh(sqrt(2 / pi) * (g + 0.044715 g^3))) / 2 * u */
    /** gpt-oss's: with c = min(g, limit) and l = min(max(u, -limit), limit), c / (1 + exp(-alpha c)) * (l + 1). Needs a
     * gate. */
    GMM_ACTIVATION_SWIGLU_CLAMPED = 3,
    GMM_ACTIVATION_RELU_SQUARED = 4 /**< max(g, 0)^2 * u */
} gmm_activation;

/* ---- routing ----------------------------------------------------------------------------------------------------- */

/** How logits (E) of a token become experts and weights. Values are pinned. */
typedef enum gmm_routing_kind {
    /** p = softmax of all logits; the k largest; w = p there, divided by their sum if `renormalise`. */
    GMM_ROUTING_SOFTMAX_TOPK = 0,
    /** The k largest logits; w = softmax of these k. (Mixtral, gpt-oss) `renormalise` changes nothing. */
    GMM_ROUTING_TOPK_SOFTMAX = 1,
    /**
     * s = 1 / (1 + exp(-logits)), c = s + correction_bias. If n_group > 1, experts form n_group equal groups in order;
     * a group's score is the sum of its two largest c (of its one, if it has one expert), and only experts of the
     * topk_group best groups compete. The k largest c; w = s there, divided by their sum if `renormalise` and k > 1.
     * (DeepSeek-V3) A sum of 0 divides nothing.
     */
    GMM_ROUTING_SIGMOID = 2
} gmm_routing_kind;

/**
 * A router. Equal values: the expert, or group, with the lower number comes first. Slots are in descending order of
 * what they were chosen by. w is multiplied by `scale` last.
 */
typedef struct gmm_routing {
    size_t size; /**< sizeof(gmm_routing) */
    gmm_routing_kind kind;
    int32_t top_k; /**< 1 to E */
    bool renormalise;
    float scale;                      /**< routed_scaling_factor; 0: 1 */
    const gmm_array *correction_bias; /**< GMM_ROUTING_SIGMOID: (E), f32, f16 or bf16, finite; NULL: zeros */
    int32_t n_group, topk_group;      /**< GMM_ROUTING_SIGMOID; n_group 0 or 1: no groups */
    /** What experts of groups that are not kept compete with: false: they do not (DeepSeek's release, -infinity); true:
     * c = 0 (Transformers, MLX). The same unless a kept c is negative. */
    bool drop_to_zero;
    /** The router (E, H), and its linear bias (E): logits = W x + b, in f32. `rhs` (E, H), `quantized` packed (E, H),
     * or prepared from these. Only gmm_moe_run and plans use it. */
    gmm_moe_weights router;
} gmm_routing;

/**
 * Choose experts: for every token of logits (T, E), f32, f16 or bf16, any strides.
 *
 * @param ids      (T, top_k), GMM_I32
 * @param weights  (T, top_k), GMM_F32
 * @return GMM_OK; GMM_ERR_NULL, _SHAPE, _DTYPE, _OVERLAP, _SIZE; GMM_ERR_ARGUMENT for a routing with no meaning, and
 * for logits of a token that are NaN, +infinity or all -infinity: the detail names token and expert; GMM_ERR_CPU;
 *         GMM_ERR_MEMORY. On error nothing is written.
 */
GMM_API gmm_status gmm_route(const gmm_context *context, const gmm_routing *routing, const gmm_array *logits,
                             gmm_array *ids, gmm_array *weights);

/* ---- the layer --------------------------------------------------------------------------------------------------- */

/**
 * Called now and then by the thread that called, with the work done so far and all of it, in no unit; returns false to
 * cancel. Must not call into the same plan.
 */
typedef bool gmm_moe_progress(void *user, int64_t done, int64_t total);

/** A layer. Set `size`. Everything that it points to is borrowed. E, H and I follow from the shapes. */
typedef struct gmm_moe_layer {
    size_t size;                 /**< sizeof(gmm_moe_layer) */
    gmm_moe_projections experts; /**< of E experts */
    /** One more expert that every token goes to, last in the sum with weight 1; no `down`: none. Shapes as above with
     * E = 1, or without that axis; its I may be another. Several shared experts are one with their I's put together. */
    gmm_moe_projections shared;
    /** The shared expert's weight is 1 / (1 + exp(-(v . x))) instead, v of shape (1, H) (Qwen2-MoE); no bias. */
    gmm_moe_weights shared_gate;
    gmm_activation activation;
    float alpha, limit;         /**< GMM_ACTIVATION_SWIGLU_CLAMPED; 0: 1.702 and 7 */
    const gmm_routing *routing; /**< NULL: ids and weights are always the caller's */
    gmm_moe_progress *progress; /**< NULL: none */
    void *progress_user;
} gmm_moe_layer;

/** What a layer is: filled in by gmm_moe_describe. */
typedef struct gmm_moe_info {
    int64_t experts, hidden, intermediate;
    int64_t shared_intermediate; /**< 0: no shared expert */
    int64_t weight_bytes;        /**< of one expert of the layer on average, biases included */
} gmm_moe_info;

/** Check a layer and tell its sizes. @return GMM_OK or the statuses of gmm_moe_run that do not need x. */
GMM_API gmm_status gmm_moe_describe(const gmm_moe_layer *layer, gmm_moe_info *info);

/**
 * Run a layer.
 *
 * @param x        (T, H), f32, f16 or bf16, any strides
 * @param ids      (T, k), any integer type; -1: the slot is skipped; one expert may come twice. NULL, with weights: as
 *                 layer->routing says
 * @param weights  (T, k), f32, f16 or bf16
 * @param out      (T, H), f32, f16 or bf16, any strides that keep its elements apart; never read; apart from all else
 *
 * Products are those of gmm_run, with the context's arithmetic. A token whose slots are all skipped, in a layer without
 * a shared expert, gets zeros; a skipped slot's weight is not looked at.
 *
 * @return GMM_OK; GMM_ERR_NULL, _SHAPE, _DTYPE, _FORMAT, _OVERLAP, _SIZE, _ARGUMENT when the call is not valid, or
 *         logits are not (gmm_route); GMM_ERR_INDEX for an id that is neither -1 nor in [0, E); GMM_ERR_CPU;
 *         GMM_ERR_MEMORY; GMM_ERR_CANCELLED. On error nothing is written, but: tokens are done in blocks whose scratch
 *         is bounded (gmm_moe_plan_bytes), and after GMM_ERR_CANCELLED, or GMM_ERR_MEMORY in a later block, whole
 * blocks of tokens from the first on may have been written. A row of out is either finished or untouched.
 */
GMM_API gmm_status gmm_moe_run(const gmm_context *context, const gmm_moe_layer *layer, const gmm_array *x,
                               const gmm_array *ids, const gmm_array *weights, gmm_array *out);

/** A layer that has been checked, and scratch for it, kept from call to call. Opaque. */
typedef struct gmm_moe_plan gmm_moe_plan;

/**
 * Check a layer once and keep scratch for runs of at most max_tokens tokens with at most max_slots experts each (0:
 * that of layer->routing). The layer's structures are copied; the arrays and handles that they point to, and the
 * context, are borrowed and must stay as they are.
 *
 * @return as gmm_moe_run; GMM_ERR_ARGUMENT also for max_tokens < 1. On error *plan is not written.
 */
GMM_API gmm_status gmm_moe_plan_create(const gmm_context *context, const gmm_moe_layer *layer, int64_t max_tokens,
                                       int32_t max_slots, gmm_moe_plan **plan);

/**
 * gmm_moe_run with a plan: the same bits. A second run like the first allocates nothing.
 * @return as gmm_moe_run; GMM_ERR_SIZE for more tokens or slots than planned.
 */
GMM_API gmm_status gmm_moe_plan_run(gmm_moe_plan *plan, const gmm_array *x, const gmm_array *ids,
                                    const gmm_array *weights, gmm_array *out);

/** Bytes of scratch that a plan keeps; 0 for NULL. */
GMM_API int64_t gmm_moe_plan_bytes(const gmm_moe_plan *plan);

/**
 * What a run of so many tokens with at most max_slots experts each (0: that of layer->routing) would do, or a plan of
 * them: lines of text about the layer, the blocks and parts in which tokens are done, the scratch, and the weights and
 * kernels of each projection. Nothing of it changes a bit of a result. Nothing is computed; the text is cut to fit into
 * text_size bytes, its end included, and its form may change with the version.
 *
 * @return as gmm_moe_plan_create; GMM_ERR_NULL also for text NULL or of size 0. On error text is not written.
 */
GMM_API gmm_status gmm_moe_explain(const gmm_context *context, const gmm_moe_layer *layer, int64_t max_tokens,
                                   int32_t max_slots, char *text, size_t text_size);

/** Free a plan that is not running; NULL is allowed. */
GMM_API void gmm_moe_plan_destroy(gmm_moe_plan *plan);

#ifdef __cplusplus
}
#endif

#endif
