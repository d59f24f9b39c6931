/* quantize_plan.h - which tensors 'gathermm quantize' quantizes, and why it keeps the others. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_QUANTIZE_PLAN_H
#define GMM_QUANTIZE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shard_set.h"

/* Patterns of one option, and whether each matched a tensor. */
typedef struct pattern_list {
    const char **globs;
    bool *matched;
    size_t count;
} pattern_list;

typedef struct quantize_request {
    const char *in, *out;
    gmm_quantize_options options; /* mode, bits and group_size filled in; no mode: nothing is quantized */
    bool has_biases;
    pattern_list includes, excludes;
    bool casts; /* was --dtype given? */
    gmm_dtype cast_dtype;
    int32_t threads;
    bool replaces; /* a folder at `out` gives way */
    bool json, quiet, dry_run;
} quantize_request;

/* What becomes of one tensor. */
typedef struct planned {
    const entry *source;
    gmm_dtype dtype; /* of the kept tensor, or of the numbers that are quantized: after --dtype */
    bool quantize;
    bool is_module;        /* could have been quantized, so the config says when it is not */
    char *module;          /* the name without .weight if quantize or is_module */
    char *reason;          /* why it is kept; NULL if quantize */
    int64_t words, groups; /* last sizes of the packed weights and of the scales */
    uint64_t out_bytes;
} planned;

typedef struct quantize_plan {
    planned *tensors; /* in the order of the checkpoint's entries */
    size_t count, quantized;
    uint64_t bytes_before, bytes_after;
    uint64_t parameters; /* numbers before quantization */
} quantize_plan;

/* Decide about every tensor. Refuses, after a complaint, checkpoints with problems, with modules that are quantized
 * already, with names that the new tensors would need, and ones with nothing to quantize. */
int quantize_plan_make(const checkpoint *c, quantize_request *request, quantize_plan *plan);

void quantize_plan_free(quantize_plan *plan);

/* The new config.json: keys sorted as mlx-lm does, the quantization entry under both of its names. */
json_t *quantize_config(const checkpoint *c, const quantize_request *request, const quantize_plan *plan);

/* The new model.safetensors.index.json. */
json_t *quantize_index(const checkpoint *c, const quantize_request *request, const quantize_plan *plan);

#endif
