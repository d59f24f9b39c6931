/* forward.h - run the model: tokens in, logits out, keys and values kept. */
/* SPDX-License-Identifier: MIT */
#ifndef TINYMOE_FORWARD_H
#define TINYMOE_FORWARD_H

#include "model.h"

/* A run of several sequences of equal length side by side, with its KV cache and scratch. */
typedef struct forward forward;

/* Room for `sequences` sequences and, in one call, `length` tokens of each. The model must outlive it. */
forward *forward_create(const model *m, int64_t sequences, int64_t length);
void forward_destroy(forward *f);

/* Forget all tokens. */
void forward_reset(forward *f);

/*
 * Append tokens (sequences, length) to what every sequence holds; logits (sequences, length, vocab). The tokens so far
 * must fit in config.positions. `sequences` must not change between resets.
 *
 * A token's logits have the same bits whether it comes alone or with others: every product is a function of its row
 * alone, and attention always sums over whole blocks of keys, padded with weights of 0.
 */
void forward_run(forward *f, const uint8_t *tokens, int64_t sequences, int64_t length, float *logits);

/* How a block's tokens choose their experts: the top_k largest logits of its router, and their softmax. */
gmm_routing forward_routing(const block *b, const model_config *c);

/* One MoE layer: out[t] = sum over the token's top_k experts of weight * w2(silu(w1 x[t]) * w3 x[t]). x, out (tokens,
 * hidden). */
void forward_experts(forward *f, const block *b, float *x, int64_t tokens, float *out);

#endif
