/* conversion_output.c - see conversion_output.h. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/conversion_output.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "io/file_check.h"

gmm_status gmm_conversion_no_memory(const gmm_conversion *c)
{
    return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for a list of %zu tensors", c->checkpoint->set.path, c->count + 1);
}

gmm_output *gmm_output_add(gmm_conversion *c, gmm_conversion_kind kind, gmm_dtype dtype, int64_t cols, size_t pieces,
                           const char *format, ...)
{
    va_list arguments;

    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 256;
        gmm_output **more = realloc(c->outputs, capacity * sizeof *more);
        if (!more)
            return NULL;
        c->outputs = more;
        c->capacity = capacity;
    }
    gmm_output *output = calloc(1, sizeof *output);
    if (!output)
        return NULL;
    c->outputs[c->count++] = output;
    output->pieces = calloc(pieces, sizeof *output->pieces);
    output->piece_count = pieces;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    output->name = malloc((size_t)length + 1);
    if (!output->pieces || !output->name)
        return NULL;
    va_start(arguments, format);
    vsnprintf(output->name, (size_t)length + 1, format, arguments);
    va_end(arguments);
    output->cols = cols;
    output->element_bytes = gmm_dtype_bits(dtype) / 8;
    output->info = (gmm_converted){.name = output->name, .dtype = dtype, .kind = kind};
    return output;
}

gmm_status gmm_output_shape(gmm_output *output, int32_t ndim, const int64_t *shape)
{
    gmm_converted *info = &output->info;
    int64_t size, rows = 1;

    gmm_status status = gmm_tensor_bytes(output->name, info->dtype, ndim, shape, &size);
    if (status != GMM_OK)
        return status;
    for (int32_t d = 0; d < ndim; d++) {
        output->shape[d] = shape[d];
        rows *= d + 1 < ndim && size > 0 ? shape[d] : 1;
    }
    int64_t piece_row = output->cols * output->element_bytes;
    if (piece_row > 0 && size / rows < piece_row) /* of blocks, which are parts of a row */
        rows = size / piece_row;
    if (rows == 0 || size % rows != 0) /* elements below a byte, in rows that end inside of one */
        rows = 1;
    info->ndim = ndim;
    info->shape = output->shape;
    info->size_bytes = (size_t)size;
    info->rows = rows;
    info->row_bytes = (size_t)(size / rows);
    return GMM_OK;
}

void gmm_conversion_use(gmm_conversion *c, const gmm_tensor *tensor)
{
    const gmm_tensor_set *set = &c->checkpoint->set;

    if (!tensor)
        return;
    const gmm_set_entry *entry = gmm_tensor_set_find(set, tensor->name);
    if (entry)
        c->used[entry - set->entries] = true;
}

void gmm_conversion_use_module(gmm_conversion *c, const gmm_module *module)
{
    gmm_conversion_use(c, module->weight);
    gmm_conversion_use(c, module->scales);
    gmm_conversion_use(c, module->biases);
    gmm_conversion_use(c, module->bias);
}

/* ---- views ---- */

gmm_matrix_view gmm_view_rows(const gmm_tensor *tensor, int64_t offset, int64_t cols)
{
    int64_t element = gmm_dtype_bits(tensor->dtype) / 8;

    return (gmm_matrix_view){.kind = GMM_VIEW_PLAIN,
                             .data = (const char *)tensor->data + offset * element,
                             .row_stride = cols * element,
                             .element_stride = element};
}

static gmm_matrix_view view_fp8(const gmm_source *source, const gmm_module *module, int64_t matrix)
{
    int64_t blocks = (source->cols + source->block[1] - 1) / source->block[1];
    int64_t scale_row = blocks * (gmm_dtype_bits(module->scales->dtype) / 8);
    int64_t scale_rows = (source->rows + source->block[0] - 1) / source->block[0];

    return (gmm_matrix_view){
        .kind = GMM_VIEW_FP8,
        .data = (const char *)module->weight->data + matrix * source->rows * source->cols,
        .row_stride = source->cols,
        .scales = (const char *)module->scales->data + matrix * scale_rows * scale_row,
        .scale_row_stride = scale_row,
        .scales_dtype = module->scales->dtype,
        .block = {source->block[0], source->block[1]},
    };
}

static gmm_matrix_view view_packed(const gmm_source *source, const gmm_module *module, int64_t matrix)
{
    int64_t row = source->cols * module->bits / 8, groups = source->cols / module->group_size;
    gmm_dtype dtype = module->scales->dtype == GMM_F8_E8M0 ? GMM_U8 : module->scales->dtype;
    int64_t scale_row = groups * (gmm_dtype_bits(dtype) / 8);
    gmm_matrix_view view = {
        .kind = GMM_VIEW_PACKED,
        .data = (const char *)module->weight->data + matrix * source->rows * row,
        .row_stride = row,
        .scales = (const char *)module->scales->data + matrix * source->rows * scale_row,
        .scale_row_stride = scale_row,
        .scales_dtype = dtype,
        .weights = {.format = gmm_format_find(module->mode),
                    .scales_dtype = dtype,
                    .group_size = module->group_size,
                    .bits = module->bits,
                    .global = 1.0f,
                    .code_stride = 1,
                    .scale_stride = 1,
                    .bias_stride = 1},
    };

    if (module->biases) {
        view.weights.biases_dtype = module->biases->dtype;
        view.bias_row_stride = groups * (gmm_dtype_bits(module->biases->dtype) / 8);
        view.biases = (const char *)module->biases->data + matrix * source->rows * view.bias_row_stride;
    }
    return view;
}

gmm_matrix_view gmm_view_matrix(const gmm_source *source, const gmm_module *module, int64_t matrix)
{
    if (module->storage == GMM_STORAGE_FP8)
        return view_fp8(source, module, matrix);
    if (module->storage == GMM_STORAGE_QUANTIZED)
        return view_packed(source, module, matrix);
    gmm_matrix_view view = gmm_view_rows(module->weight, matrix * source->rows * source->cols, source->cols);
    if (module->storage == GMM_STORAGE_TRANSPOSED) {
        view.row_stride = view.element_stride;
        view.element_stride *= source->rows;
    }
    return view;
}

gmm_matrix_view gmm_view_part(gmm_matrix_view view, int32_t ways, int32_t parity)
{
    view.data += parity * view.row_stride;
    view.row_stride *= ways;
    if (view.kind == GMM_VIEW_PACKED) {
        view.scales += parity * view.scale_row_stride;
        view.scale_row_stride *= ways;
        if (view.biases)
            view.biases += parity * view.bias_row_stride;
        view.bias_row_stride *= ways;
    }
    return view;
}

gmm_matrix_view gmm_view_from(gmm_matrix_view view, int64_t first)
{
    view.data += first * view.row_stride;
    if (view.kind == GMM_VIEW_FP8) /* blocks are counted from the matrix's first row */
        view.first_row += first;
    if (view.kind == GMM_VIEW_PACKED) {
        view.scales += first * view.scale_row_stride;
        if (view.biases)
            view.biases += first * view.bias_row_stride;
    }
    return view;
}

bool gmm_module_is_coded(const gmm_module *module)
{
    return module->storage == GMM_STORAGE_FP8 || module->storage == GMM_STORAGE_QUANTIZED;
}

gmm_dtype gmm_module_dtype(const gmm_module *module)
{
    if (module->storage == GMM_STORAGE_FP8)
        return GMM_BF16;
    if (module->storage == GMM_STORAGE_QUANTIZED)
        return module->biases ? module->scales->dtype : GMM_BF16;
    return module->weight->dtype;
}
