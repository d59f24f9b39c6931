/* prepared.c - making prepared weights: checks, sizes, memory. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* madvise, MAP_ANONYMOUS */
#include "core/prepared_weights.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "formats/convert.h"

enum {
    ALIGNMENT = 64,
};

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static int64_t ceiling(int64_t a, int64_t b)
{
    return a / b + (a % b > 0);
}

/* Add a part to the end of the weights. True when sizes overflow. */
static bool add_part(gmm_prepared *prepared, gmm_dtype dtype, int64_t rows, int64_t columns)
{
    gmm_prepared_part *part = &prepared->parts[prepared->part_count++];
    int64_t matrix_bytes, all_bytes;

    *part = (gmm_prepared_part){.dtype = dtype, .rows = rows, .columns = columns, .offset = prepared->bytes};
    if (gmm_mul_overflows(rows, columns, &matrix_bytes) ||
        gmm_mul_overflows(matrix_bytes, gmm_dtype_bits(dtype) / 8, &matrix_bytes) ||
        gmm_add_overflows(matrix_bytes, ALIGNMENT - 1, &matrix_bytes))
        return true;
    part->matrix_bytes = matrix_bytes / ALIGNMENT * ALIGNMENT;
    return gmm_mul_overflows(part->matrix_bytes, prepared->matrices, &all_bytes) ||
           gmm_add_overflows(prepared->bytes, all_bytes, &prepared->bytes);
}

/* A product that is known to fit unless one of them is 0, and then another may be huge. */
static int64_t product(int64_t a, int64_t b, int64_t c)
{
    return a && b && c ? a * b * c : 0;
}

static bool lay_out_dense(gmm_prepared *prepared)
{
    gmm_dtype dtype = prepared->weights.dtype;

    if (prepared->k > INT64_MAX / GMM_PANEL - GMM_CLASSES ||
        add_part(prepared, dtype, ceiling(prepared->n, GMM_PANEL), gmm_panel_elements(prepared->dot, prepared->k)))
        return true;
    prepared->raw_bytes = product(prepared->k, prepared->n, prepared->matrices) * (gmm_dtype_bits(dtype) / 8);
    return false;
}

static bool lay_out_quantized(gmm_prepared *prepared)
{
    const gmm_weights *weights = &prepared->weights;
    int64_t rows = prepared->dot ? prepared->n : prepared->k, groups = prepared->dot ? prepared->k : prepared->n, words;

    groups /= weights->group_size;
    if (gmm_mul_overflows(groups, weights->group_size * weights->bits / 32, &words) ||
        add_part(prepared, GMM_U32, rows, words) || add_part(prepared, weights->scales_dtype, rows, groups) ||
        (weights->format->has_biases && add_part(prepared, weights->biases_dtype, rows, groups)))
        return true;
    for (int i = 0; i < prepared->part_count; i++)
        prepared->raw_bytes += product(rows, prepared->parts[i].columns, prepared->matrices) *
                               (gmm_dtype_bits(prepared->parts[i].dtype) / 8);
    return false;
}

gmm_status gmm_prepared_lay_out(gmm_prepared *prepared)
{
    bool overflow = false, empty = false;

    prepared->matrices = 1;
    for (int32_t d = 0; d < prepared->batch_ndim; d++)
        empty |= prepared->batch_shape[d] == 0;
    for (int32_t d = 0; d < prepared->batch_ndim && !overflow && !empty; d++)
        overflow = gmm_mul_overflows(prepared->matrices, prepared->batch_shape[d], &prepared->matrices);
    if (empty)
        prepared->matrices = 0;
    if (overflow || (prepared->quantized ? lay_out_quantized(prepared) : lay_out_dense(prepared)) ||
        (uint64_t)prepared->bytes > SIZE_MAX / 2)
        return gmm_fail(GMM_ERR_SIZE, "%" PRId64 " matrices of %" PRId64 " x %" PRId64 " would exceed 2^63 bytes",
                        prepared->matrices, prepared->k, prepared->n);
    return GMM_OK;
}

/* ---- views ------------------------------------------------------------------------------------------------------- */

/* A part as an array of batch + (rows, columns). */
static gmm_view view_of(const gmm_prepared *prepared, int i)
{
    const gmm_prepared_part *part = &prepared->parts[i];
    gmm_view view = {
        .data = (char *)(uintptr_t)prepared->data + part->offset, /* views serve outputs too; this is never written */
        .dtype = part->dtype,
        .ndim = prepared->batch_ndim + 2,
        .element_bytes = gmm_dtype_bits(part->dtype) / 8,
        .begin = prepared->whole.begin,
        .end = prepared->whole.end,
    };
    int64_t stride = part->matrix_bytes / view.element_bytes;

    view.count = product(part->rows, part->columns, prepared->matrices);
    view.shape[view.ndim - 1] = part->columns;
    view.strides[view.ndim - 1] = 1;
    view.shape[view.ndim - 2] = part->rows;
    view.strides[view.ndim - 2] = part->columns;
    for (int32_t d = prepared->batch_ndim - 1; d >= 0; d--) {
        view.shape[d] = prepared->batch_shape[d];
        view.strides[d] = stride;
        stride *= prepared->matrices > 0 ? view.shape[d] : 0;
    }
    return view;
}

void gmm_prepared_place(gmm_prepared *prepared, const char *data)
{
    prepared->data = data;
    prepared->whole = (gmm_view){.begin = (uintptr_t)data, .end = (uintptr_t)data + (uintptr_t)prepared->bytes};
}

void gmm_prepared_take(const gmm_prepared *prepared, gmm_call *call)
{
    call->prepared = true;
    call->dot = prepared->dot;
    call->rhs = view_of(prepared, 0);
    if (prepared->quantized) {
        call->weights = prepared->weights;
        call->scales = view_of(prepared, 1);
        call->biases.ndim = -1;
        if (prepared->part_count > 2)
            call->biases = view_of(prepared, 2);
        return;
    }
    call->drop_n = prepared->vector;
    call->panel_block = prepared->block;
    call->rhs.shape[call->rhs.ndim - 2] = prepared->k;
    call->rhs.shape[call->rhs.ndim - 1] = prepared->n;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Whole pages, huge ones where the system gives them: streams from small pages are up to a quarter slower on Zen 4. */
static gmm_status allocate(gmm_prepared *prepared)
{
    size_t size = prepared->bytes > 0 ? (size_t)prepared->bytes : 1;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for %" PRId64 " bytes of prepared weights", prepared->bytes);
#ifdef MADV_HUGEPAGE
    madvise(memory, size, MADV_HUGEPAGE);
#endif
    prepared->memory = memory;
    prepared->memory_bytes = size;
    gmm_prepared_place(prepared, memory);
    return GMM_OK;
}

void gmm_prepared_free(gmm_prepared *prepared)
{
    if (!prepared)
        return;
    if (prepared->memory)
        munmap(prepared->memory, prepared->memory_bytes);
    gmm_mapping_close(&prepared->file);
    free(prepared->path);
    free(prepared);
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static gmm_status check_dense(const gmm_array *array, gmm_prepared *prepared, gmm_view *rhs)
{
    gmm_status status = gmm_dense_view(array, rhs, &prepared->vector);

    if (status)
        return status;
    if (!gmm_promote(rhs->dtype, GMM_F32))
        return gmm_fail(GMM_ERR_DTYPE, "rhs is %s; dense weights are f32, f16, bf16, integers or bool",
                        gmm_dtype_name(rhs->dtype));
    prepared->k = rhs->shape[rhs->ndim - 2];
    prepared->n = rhs->shape[rhs->ndim - 1];
    prepared->dot = gmm_dense_is_dot(rhs);
    prepared->weights.dtype = rhs->dtype;
    return GMM_OK;
}

static gmm_status check_quantized(const gmm_quantized *quantized, bool transpose, gmm_prepared *prepared,
                                  gmm_view views[3])
{
    int64_t rows, cols;
    gmm_status status = gmm_weights_check(quantized, &prepared->weights, &views[0], &views[1], &views[2], &rows, &cols);

    if (status)
        return status;
    prepared->weights.code_stride = prepared->weights.scale_stride = 1;
    prepared->weights.bias_stride = prepared->weights.format->has_biases;
    prepared->quantized = true;
    prepared->dot = transpose;
    prepared->k = transpose ? cols : rows;
    prepared->n = transpose ? rows : cols;
    return GMM_OK;
}

/* Everything but the copy. */
static gmm_status begin(const gmm_array *rhs, const gmm_quantized *quantized, bool transpose, gmm_prepared *prepared,
                        gmm_view views[3])
{
    gmm_status status =
        rhs ? check_dense(rhs, prepared, &views[0]) : check_quantized(quantized, transpose, prepared, views);

    if (status)
        return status;
    prepared->batch_ndim = views[0].ndim - 2;
    memcpy(prepared->batch_shape, views[0].shape, (size_t)prepared->batch_ndim * sizeof views[0].shape[0]);
    if ((status = gmm_prepared_lay_out(prepared)))
        return status;
    if (rhs) /* now that K is known to be no number without sense */
        prepared->block = gmm_block_of(prepared->k, prepared->dot);
    return allocate(prepared);
}

gmm_status gmm_prepare(const gmm_context *context, const gmm_array *rhs, const gmm_quantized *quantized, bool transpose,
                       gmm_prepared **prepared)
{
    gmm_view views[3];

    if (!prepared)
        return gmm_fail(GMM_ERR_NULL, "prepared is NULL");
    if (!rhs == !quantized)
        return gmm_fail(GMM_ERR_ARGUMENT, "exactly one of rhs and quantized must be set; %s is",
                        rhs ? "both" : "neither");
    if (rhs && transpose)
        return gmm_fail(GMM_ERR_ARGUMENT, "transpose is for quantized weights; a dense rhs says it by its strides");
    gmm_prepared *made = calloc(1, sizeof *made);
    if (!made)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for prepared weights");
    gmm_status status = begin(rhs, quantized, transpose, made, views);
    if (status) {
        gmm_prepared_free(made);
        return status;
    }
    if (rhs)
        gmm_prepared_fill_dense(context, made, &views[0], made->memory);
    else
        gmm_prepared_fill_quantized(context, made, views, made->memory);
    *prepared = made;
    return GMM_OK;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

int64_t gmm_prepared_bytes(const gmm_prepared *prepared)
{
    return prepared->bytes;
}

void gmm_prepared_describe(const gmm_prepared *prepared, gmm_prepared_info *info)
{
    const gmm_weights *weights = &prepared->weights;

    *info = (gmm_prepared_info){
        .mode = prepared->quantized ? weights->format->name : NULL,
        .dtype = prepared->quantized ? weights->scales_dtype : weights->dtype,
        .bits = prepared->quantized ? weights->bits : gmm_dtype_bits(weights->dtype),
        .group_size = prepared->quantized ? weights->group_size : 0,
        .transpose = prepared->dot,
        .k = prepared->k,
        .n = prepared->n,
        .batch_ndim = prepared->batch_ndim,
        .batch_shape = prepared->batch_shape,
        .raw_bytes = prepared->raw_bytes,
        .mapped = prepared->memory == NULL,
    };
}
