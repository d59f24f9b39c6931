/* model.h - a Mixtral checkpoint: its config.json, its tensors, and its layers in one weight format. */
/* SPDX-License-Identifier: MIT */
#ifndef TINYMOE_MODEL_H
#define TINYMOE_MODEL_H

#include "gathermm/io.h"
#include "linear.h"

/* Sizes, by their names in config.json: hidden_size, intermediate_size, ... */
typedef struct model_config {
    int64_t vocab, hidden, intermediate, layers, heads, kv_heads, head_dim, experts, top_k, positions;
    double norm_eps, rope_theta;
} model_config;

/* An open model directory. */
typedef struct checkpoint {
    const char *directory;
    model_config config;
    gmm_safetensors *file;
} checkpoint;

/* One transformer block. */
typedef struct block {
    float *attention_norm, *moe_norm; /* (hidden) */
    linear q, k, v, o, gate;
    linear w1, w2, w3; /* stacks: (experts, intermediate, hidden), (experts, hidden, intermediate), as w1 */
} block;

typedef struct model {
    model_config config;
    const gmm_context *context;
    const weight_format *format;
    float *embedding;  /* (vocab, hidden); a look-up, so it stays as stored in every format */
    float *final_norm; /* (hidden) */
    linear head;
    block *blocks;
    int64_t weights, bytes; /* of all linear layers */
} model;

/* Read DIRECTORY/config.json and DIRECTORY/model.safetensors; EXIT_BROKEN with a message if that cannot be. */
void checkpoint_open(checkpoint *source, const char *directory);
void checkpoint_close(checkpoint *source);

/* "DIRECTORY/NAME" in memory that the caller frees. */
char *path_join(const char *directory, const char *name);

/* A model that keeps nothing of the checkpoint; `context` and `format` must outlive it. */
model *model_create(const checkpoint *source, const gmm_context *context, const weight_format *format);
void model_destroy(model *m);

#endif
