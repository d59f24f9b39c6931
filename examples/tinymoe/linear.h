/* linear.h - a linear layer, or a stack of them, with weights in any format of the library. */
/* SPDX-License-Identifier: MIT */
#ifndef TINYMOE_LINEAR_H
#define TINYMOE_LINEAR_H

#include "gathermm/moe.h"

/* How the weights of linear layers are held. */
typedef struct weight_format {
    const char *name;
    gmm_dtype dtype;  /* dense: GMM_F32 or GMM_BF16 */
    const char *mode; /* quantized: the library's mode; NULL: dense */
    int32_t group_size, bits;
} weight_format;

/* The formats of the demo's table, best first; the name of the last is NULL. */
extern const weight_format weight_formats[];

/* The format of this name; NULL if there is none. */
const weight_format *weight_format_find(const char *name, size_t name_bytes);

/* y = x @ w^T for one matrix (w.ndim 2 when dense) or for a stack. Does not move after linear_create. */
typedef struct linear {
    gmm_array w;              /* dense: the transposed view (..., cols, rows); quantized: the packed codes */
    gmm_array as_stored;      /* dense: (..., rows, cols), row-major */
    gmm_array scales, biases; /* quantized only */
    gmm_quantized quantized;  /* mode is NULL when dense */
    int64_t rows, cols;       /* outputs, inputs */
    int64_t w_shape[3], w_strides[3], stored_shape[3], scales_shape[3];
    int64_t weights, bytes; /* how many, and what they occupy in their format */
} linear;

/* Convert or quantize row-major bf16 weights of shape (matrices, rows, cols), or (rows, cols) when matrices is 0. */
void linear_create(linear *layer, const gmm_context *context, const weight_format *format, uint16_t *bf16,
                   int64_t matrices, int64_t rows, int64_t cols);

void linear_destroy(linear *layer);

/* out (tokens, rows) = x (tokens, cols) @ w^T. */
void linear_apply(const linear *layer, const gmm_context *context, float *x, int64_t tokens, float *out);

/* The weights as a part of an expert layer: a projection of all experts, or a router. */
gmm_moe_weights linear_weights(const linear *layer);

#endif
