/* linear.c - see linear.h. */
/* SPDX-License-Identifier: MIT */
#include "linear.h"

#include <stdlib.h>
#include <string.h>

#include "stop.h"

const weight_format weight_formats[] = {
    {"f32", GMM_F32, NULL, 0, 0},          {"bf16", GMM_BF16, NULL, 0, 0},        {"affine8", GMM_U32, "affine", 64, 8},
    {"affine6", GMM_U32, "affine", 64, 6}, {"affine5", GMM_U32, "affine", 64, 5}, {"affine4", GMM_U32, "affine", 64, 4},
    {"affine3", GMM_U32, "affine", 64, 3}, {"affine2", GMM_U32, "affine", 64, 2}, {"mxfp8", GMM_U32, "mxfp8", 32, 8},
    {"mxfp4", GMM_U32, "mxfp4", 32, 4},    {"nvfp4", GMM_U32, "nvfp4", 16, 4},    {NULL, GMM_U32, NULL, 0, 0},
};

const weight_format *weight_format_find(const char *name, size_t name_bytes)
{
    for (const weight_format *format = weight_formats; format->name; format++)
        if (strlen(format->name) == name_bytes && memcmp(format->name, name, name_bytes) == 0)
            return format;
    return NULL;
}

static int64_t elements(const int64_t *shape, int32_t ndim)
{
    int64_t count = 1;

    for (int32_t d = 0; d < ndim; d++)
        count *= shape[d];
    return count;
}

static void create_dense(linear *layer, gmm_dtype dtype, const uint16_t *bf16)
{
    int32_t first = layer->w.ndim - 2;

    layer->w.dtype = dtype;
    layer->bytes = layer->weights * gmm_dtype_bits(dtype) / 8;
    layer->w.data = allocate(layer->bytes, 1);
    if (dtype == GMM_BF16) {
        memcpy(layer->w.data, bf16, (size_t)layer->bytes);
    } else {
        for (int64_t i = 0; i < layer->weights; i++) {
            uint32_t f32 = (uint32_t)bf16[i] << 16; /* bf16 is the upper half of f32 */
            memcpy((char *)layer->w.data + 4 * i, &f32, sizeof f32);
        }
    }
    /* The checkpoint holds (rows, cols); the product wants (cols, rows): a view, nothing is moved. */
    layer->w_shape[first] = layer->cols;
    layer->w_shape[first + 1] = layer->rows;
    layer->w_strides[first] = 1;
    layer->w_strides[first + 1] = layer->cols;
    if (first > 0)
        layer->w_strides[0] = layer->rows * layer->cols;
    layer->w.strides = layer->w_strides;
}

/* Give array the shape and type of spec, and memory. */
static void make_output(gmm_array *array, const gmm_array_spec *spec, int64_t *shape, int64_t *bytes)
{
    int64_t array_bytes;

    memcpy(shape, spec->shape, (size_t)spec->ndim * sizeof *shape);
    array_bytes = elements(shape, spec->ndim) * gmm_dtype_bits(spec->dtype) / 8;
    *array = (gmm_array){.data = allocate(array_bytes, 1), .dtype = spec->dtype, .ndim = spec->ndim, .shape = shape};
    *bytes += array_bytes;
}

static void create_quantized(linear *layer, const gmm_context *context, const weight_format *format, gmm_array *w)
{
    gmm_quantize_options options = {
        .size = sizeof options, .mode = format->mode, .group_size = format->group_size, .bits = format->bits};
    gmm_array_spec w_spec, scales_spec, biases_spec;
    bool has_biases;

    must(gmm_quantize_spec(w, &options, &w_spec, &scales_spec, &biases_spec), format->name);
    has_biases = biases_spec.ndim >= 0;
    make_output(&layer->w, &w_spec, layer->w_shape, &layer->bytes);
    make_output(&layer->scales, &scales_spec, layer->scales_shape, &layer->bytes);
    if (has_biases)
        make_output(&layer->biases, &biases_spec, layer->scales_shape, &layer->bytes);
    must(gmm_quantize(context, w, &options, &layer->w, &layer->scales, has_biases ? &layer->biases : NULL),
         format->name);
    layer->quantized = (gmm_quantized){.w = &layer->w,
                                       .scales = &layer->scales,
                                       .biases = has_biases ? &layer->biases : NULL,
                                       .mode = format->mode,
                                       .group_size = format->group_size,
                                       .bits = format->bits};
}

void linear_create(linear *layer, const gmm_context *context, const weight_format *format, uint16_t *bf16,
                   int64_t matrices, int64_t rows, int64_t cols)
{
    int64_t shape[3] = {matrices, rows, cols};
    int32_t ndim = matrices > 0 ? 3 : 2;
    gmm_array w = {.data = bf16, .dtype = GMM_BF16, .ndim = ndim, .shape = shape + 3 - ndim};

    memset(layer, 0, sizeof *layer);
    layer->rows = rows;
    layer->cols = cols;
    layer->weights = elements(w.shape, ndim);
    layer->w_shape[0] = matrices;
    layer->w.ndim = ndim;
    layer->w.shape = layer->w_shape;
    if (format->mode) {
        create_quantized(layer, context, format, &w);
        return;
    }
    create_dense(layer, format->dtype, bf16);
    memcpy(layer->stored_shape, w.shape, (size_t)ndim * sizeof *shape);
    layer->as_stored = (gmm_array){layer->w.data, format->dtype, ndim, layer->stored_shape, NULL, 0};
}

void linear_destroy(linear *layer)
{
    free(layer->w.data);
    free(layer->scales.data);
    free(layer->biases.data);
}

void linear_apply(const linear *layer, const gmm_context *context, float *x, int64_t tokens, float *out)
{
    int64_t x_shape[2] = {tokens, layer->cols}, out_shape[2] = {tokens, layer->rows};
    gmm_array lhs = {.data = x, .dtype = GMM_F32, .ndim = 2, .shape = x_shape};
    gmm_array result = {.data = out, .dtype = GMM_F32, .ndim = 2, .shape = out_shape};

    if (layer->quantized.mode)
        must(gmm_quantized_matmul(context, &lhs, &layer->quantized, true, &result), "linear layer");
    else
        must(gmm_gather_mm(context, &lhs, &layer->w, NULL, NULL, false, &result), "linear layer");
}

gmm_moe_weights linear_weights(const linear *layer)
{
    bool quantized = layer->quantized.mode != NULL;

    return (gmm_moe_weights){.rhs = quantized ? NULL : &layer->as_stored,
                             .quantized = quantized ? &layer->quantized : NULL};
}
