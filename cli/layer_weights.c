/* layer_weights.c - matrices of a layer one by one as f32, and its experts quantized anew in memory. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "cast.h"
#include "layer.h"
#include "output.h"

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void part_name(const gmm_checkpoint_weights *part, char name[32])
{
    gmm_format_info info;
    int length = snprintf(name, 32, "%s", part->format);

    for (size_t i = 0; part->bits && gmm_format_at(i, &info); i++) {
        if (strcmp(info.mode, part->format) != 0 || !info.quantized)
            continue;
        if (info.bits[1])
            length = snprintf(name, 32, "%s%d", part->format, (int)part->bits);
        if (part->group_size != info.group_sizes[0])
            snprintf(name + length, (size_t)(32 - length), "/%d", (int)part->group_size);
    }
}

void layer_format_name(const gmm_checkpoint_layer *layer, char name[32])
{
    const gmm_checkpoint_projections *p = &layer->projections;
    const gmm_checkpoint_weights *const parts[] = {&p->gate, &p->up, &p->gate_up};
    char other[32];

    part_name(&p->down, name);
    for (size_t i = 0; i < 3; i++) {
        if (!parts[i]->count)
            continue;
        part_name(parts[i], other);
        if (strcmp(name, other) != 0)
            snprintf(name, 32, "mixed");
    }
}

/* ---- matrices ---------------------------------------------------------------------------------------------------- */

static int64_t stride_of(const gmm_array *array, int32_t axis)
{
    int64_t stride = 1;

    if (array->strides)
        return array->strides[axis];
    for (int32_t d = array->ndim - 1; d > axis; d--)
        stride *= array->shape[d];
    return stride;
}

/* The last `ndim` axes of an array that has one more, at number e; or the array itself. */
static gmm_array slice(const gmm_array *array, int32_t ndim, int64_t e)
{
    gmm_array part = *array;

    if (array->ndim == ndim)
        return part;
    part.ndim = ndim;
    part.shape++;
    if (part.strides)
        part.strides++;
    part.byte_offset += (uint64_t)(e * stride_of(array, 0) * gmm_dtype_bits(array->dtype) / 8);
    return part;
}

/* Elements of an array of one or two axes as f32. */
static void copy_out(const gmm_array *array, float *values)
{
    int64_t bytes = gmm_dtype_bits(array->dtype) / 8, rows = array->ndim == 2 ? array->shape[0] : 1;
    int64_t cols = array->shape[array->ndim - 1], across = stride_of(array, array->ndim - 1);
    int64_t down = array->ndim == 2 ? stride_of(array, 0) : 0;
    const char *data = (const char *)array->data + array->byte_offset;

    for (int64_t r = 0; r < rows; r++) {
        const char *row = data + r * down * bytes;
        if (across == 1)
            cast_elements(row, array->dtype, values + r * cols, GMM_F32, (size_t)cols);
        for (int64_t c = 0; across != 1 && c < cols; c++)
            cast_elements(row + c * across * bytes, array->dtype, values + r * cols + c, GMM_F32, 1);
    }
}

gmm_status layer_decode(const gmm_moe_weights *weights, int64_t e, float *values)
{
    if (weights->each)
        return layer_decode(&weights->each[e], 0, values);
    if (weights->rhs) {
        gmm_array matrix = slice(weights->rhs, 2, e);
        copy_out(&matrix, values);
        return GMM_OK;
    }
    gmm_quantized one = *weights->quantized;
    gmm_array w = slice(one.w, 2, e), scales = slice(one.scales, 2, e), biases,
              out = {.data = values, .dtype = GMM_F32, .ndim = 2};
    gmm_array_spec spec;
    one.w = &w;
    one.scales = &scales;
    if (one.biases) {
        biases = slice(one.biases, 2, e);
        one.biases = &biases;
    }
    gmm_status status = gmm_dequantize_spec(&one, &spec);
    out.shape = spec.shape;
    return status ? status : gmm_dequantize(NULL, &one, &out);
}

void layer_decode_bias(const gmm_moe_weights *weights, int64_t e, int64_t rows, float *values)
{
    if (weights->each) {
        layer_decode_bias(&weights->each[e], 0, rows, values);
        return;
    }
    memset(values, 0, (size_t)rows * sizeof *values);
    if (weights->bias) {
        gmm_array row = slice(weights->bias, 1, e);
        copy_out(&row, values);
    }
}

static int64_t array_bytes(const gmm_array *array)
{
    int64_t count = array != NULL;

    for (int32_t d = 0; array && d < array->ndim; d++)
        count *= array->shape[d];
    return array ? count * gmm_dtype_bits(array->dtype) / 8 : 0;
}

int64_t layer_weight_bytes(const gmm_moe_weights *weights)
{
    int64_t bytes = array_bytes(weights->rhs) + array_bytes(weights->bias);

    if (weights->quantized)
        bytes += array_bytes(weights->quantized->w) + array_bytes(weights->quantized->scales) +
                 array_bytes(weights->quantized->biases);
    for (int64_t e = 0; weights->each && e < weights->each_count; e++)
        bytes += layer_weight_bytes(&weights->each[e]);
    return bytes;
}

/* ---- other formats ----------------------------------------------------------------------------------------------- */

bool layer_format_fits(const gmm_checkpoint_layer *layer, const bench_format *format, int64_t *cols)
{
    const int64_t sizes[] = {layer->hidden, layer->intermediate};

    for (int i = 0; format->quantized && i < 2; i++)
        if (sizes[i] % format->group_size != 0) {
            *cols = sizes[i];
            return false;
        }
    return true;
}

/* The type in which weights are quantized, which affine scales have too: their own, or what MLX decodes them to. */
static gmm_status source_type(const gmm_moe_weights *weights, gmm_dtype *dtype)
{
    gmm_array_spec spec;

    if (weights->each)
        return source_type(&weights->each[0], dtype);
    gmm_status status = weights->rhs ? GMM_OK : gmm_dequantize_spec(weights->quantized, &spec);
    if (!status)
        *dtype = weights->rhs ? weights->rhs->dtype : spec.dtype;
    return status;
}

static void set_part(layer_stack *stack, int p, gmm_dtype dtype, int64_t experts, int64_t rows, int64_t cols)
{
    stack->shapes[p][0] = experts;
    stack->shapes[p][1] = rows;
    stack->shapes[p][2] = cols;
    stack->parts[p] = (gmm_array){.dtype = dtype, .ndim = 3, .shape = stack->shapes[p]};
    stack->parts[p].data = must_allocate((size_t)(experts * rows * cols) + 1, (size_t)gmm_dtype_bits(dtype) / 8);
}

static void copy_biases(layer_stack *stack, const gmm_moe_weights *from, int64_t experts, int64_t rows)
{
    if (!from->bias && !(from->each && from->each[0].bias))
        return;
    stack->bias_shape[0] = experts;
    stack->bias_shape[1] = rows;
    stack->bias = (gmm_array){.dtype = GMM_F32, .ndim = 2, .shape = stack->bias_shape};
    stack->bias.data = must_allocate((size_t)(experts * rows), sizeof(float));
    for (int64_t e = 0; e < experts; e++)
        layer_decode_bias(from, e, rows, (float *)stack->bias.data + e * rows);
    stack->weights.bias = &stack->bias;
}

static gmm_status make_parts(layer_stack *stack, const gmm_array *matrix, const gmm_quantize_options *options,
                             const bench_format *format, int64_t experts)
{
    gmm_array_spec specs[3];

    if (!format->quantized) {
        set_part(stack, 0, format->dtype, experts, matrix->shape[0], matrix->shape[1]);
        stack->weights.rhs = &stack->parts[0];
        return GMM_OK;
    }
    gmm_status status = gmm_quantize_spec(matrix, options, &specs[0], &specs[1], &specs[2]);
    if (status)
        return status;
    for (int p = 0; p < 3; p++)
        if (specs[p].ndim > 0)
            set_part(stack, p, specs[p].dtype, experts, specs[p].shape[0], specs[p].shape[1]);
    stack->quantized = (gmm_quantized){.w = &stack->parts[0],
                                       .scales = &stack->parts[1],
                                       .biases = format->has_biases ? &stack->parts[2] : NULL,
                                       .mode = format->mode,
                                       .group_size = format->group_size,
                                       .bits = format->bits};
    stack->weights.quantized = &stack->quantized;
    return GMM_OK;
}

/* One projection, a matrix at a time. */
static gmm_status make_stack(layer_stack *stack, const gmm_moe_weights *from, const bench_format *format,
                             int64_t experts, int64_t rows, int64_t cols)
{
    const int64_t shape[] = {rows, cols};
    const gmm_quantize_options options = {
        .size = sizeof options, .mode = format->mode, .bits = format->bits, .group_size = format->group_size};
    gmm_array matrix = {.ndim = 2, .shape = shape};
    gmm_status status = source_type(from, &matrix.dtype);
    size_t count = (size_t)(rows * cols);

    if (status)
        return status;
    float *values = must_allocate(count, sizeof *values);
    matrix.data = must_allocate(count, sizeof *values);
    status = make_parts(stack, &matrix, &options, format, experts);
    for (int64_t e = 0; !status && e < experts; e++) {
        gmm_array out[3];
        status = layer_decode(from, e, values);
        for (int p = 0; p < 3 && stack->parts[p].data; p++)
            out[p] = slice(&stack->parts[p], 2, e);
        cast_elements(values, GMM_F32, matrix.data, matrix.dtype, count);
        if (!status && format->quantized)
            status = gmm_quantize(NULL, &matrix, &options, &out[0], &out[1], format->has_biases ? &out[2] : NULL);
        else if (!status)
            cast_elements(values, GMM_F32, (char *)out[0].data + out[0].byte_offset, format->dtype, count);
    }
    free(values);
    free(matrix.data);
    if (!status)
        copy_biases(stack, from, experts, rows);
    return status;
}

gmm_status layer_copy_make(layer_copy *copy, const gmm_moe_layer *moe, const gmm_checkpoint_layer *layer,
                           const bench_format *format)
{
    const gmm_moe_projections *from = &moe->experts;
    const gmm_moe_weights *const parts[] = {&from->gate, &from->up, &from->gate_up, &from->down};
    const int64_t inner = layer->intermediate, hidden = layer->hidden;
    const int64_t sizes[][2] = {{inner, hidden}, {inner, hidden}, {2 * inner, hidden}, {hidden, inner}};
    gmm_status status = GMM_OK;

    *copy = (layer_copy){.moe = *moe};
    gmm_moe_weights *const to[] = {&copy->moe.experts.gate, &copy->moe.experts.up, &copy->moe.experts.gate_up,
                                   &copy->moe.experts.down};
    for (int i = 0; !status && i < 4; i++) {
        if (!parts[i]->rhs && !parts[i]->quantized && !parts[i]->each)
            continue;
        status = make_stack(&copy->stacks[i], parts[i], format, layer->experts, sizes[i][0], sizes[i][1]);
        *to[i] = copy->stacks[i].weights;
    }
    return status;
}

void layer_copy_free(layer_copy *copy)
{
    for (int i = 0; i < 4; i++) {
        for (int p = 0; p < 3; p++)
            free(copy->stacks[i].parts[p].data);
        free(copy->stacks[i].bias.data);
    }
    *copy = (layer_copy){0};
}
