/* check.c - the first stage: everything that can be wrong with a product is found here; later stages trust it. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "core/call.h"
#include "core/prepared_weights.h"
#include "formats/convert.h"

enum {
    SHAPE_TEXT = 128
};

/* Give a view two axes, as matrices have: a 1-D lhs becomes one row, a 1-D rhs one column. */
static bool expand(gmm_view *view, bool is_lhs)
{
    int32_t added = is_lhs ? 0 : 1;

    if (view->ndim != 1)
        return false;
    view->shape[1 - added] = view->shape[0];
    view->strides[1 - added] = view->strides[0];
    view->shape[added] = 1;
    view->strides[added] = 0;
    view->ndim = 2;
    return true;
}

bool gmm_dense_is_dot(const gmm_view *rhs)
{
    /* The layout is the operand's own: along which axis do its elements lie closer? With one column only K's stride
     * means anything. */
    int64_t stride_k = imaxabs(rhs->strides[rhs->ndim - 2]), stride_n = imaxabs(rhs->strides[rhs->ndim - 1]);

    return rhs->shape[rhs->ndim - 1] == 1 ? stride_k == 1 : stride_k < stride_n;
}

gmm_status gmm_dense_view(const gmm_array *array, gmm_view *rhs, bool *vector)
{
    gmm_status status = gmm_view_make(array, "rhs", rhs);

    if (status)
        return status;
    if (rhs->ndim == 0)
        return gmm_fail(GMM_ERR_SHAPE, "rhs has no axes; it needs at least 1");
    *vector = expand(rhs, false);
    return GMM_OK;
}

/* The dense weights of a product and how they lie. */
static gmm_status take_dense(const gmm_product *product, gmm_call *call)
{
    gmm_status status = GMM_OK;

    if (product->prepared) {
        gmm_prepared_take(product->prepared, call);
        return GMM_OK;
    }
    status = gmm_dense_view(product->rhs, &call->rhs, &call->drop_n);
    call->dot = !status && gmm_dense_is_dot(&call->rhs);
    return status;
}

static gmm_status check_dense(const gmm_product *product, gmm_call *call)
{
    gmm_status status;
    gmm_view *lhs = &call->lhs, *rhs = &call->rhs;

    if ((status = gmm_view_make(product->lhs, "lhs", lhs)) || (status = take_dense(product, call)))
        return status;
    if (lhs->ndim == 0)
        return gmm_fail(GMM_ERR_SHAPE, "lhs has no axes; it needs at least 1");
    call->drop_m = expand(lhs, true);
    call->m = lhs->shape[lhs->ndim - 2];
    call->k = lhs->shape[lhs->ndim - 1];
    call->n = rhs->shape[rhs->ndim - 1];
    if (rhs->shape[rhs->ndim - 2] != call->k)
        return gmm_fail(GMM_ERR_SHAPE, "lhs has %" PRId64 " columns and rhs has %" PRId64 " rows; they must be equal",
                        call->k, rhs->shape[rhs->ndim - 2]);
    if (!(call->dtype = gmm_promote(lhs->dtype, rhs->dtype)))
        return gmm_fail(GMM_ERR_DTYPE, "lhs %s with rhs %s do not promote to f32, f16 or bf16",
                        gmm_dtype_name(lhs->dtype), gmm_dtype_name(rhs->dtype));
    call->scales.ndim = call->biases.ndim = -1;
    call->weights = (gmm_weights){
        .format = gmm_format_dense(gmm_is_float(rhs->dtype) ? rhs->dtype : call->dtype),
        .dtype = rhs->dtype,
        .cast = call->dtype,
        .code_stride = call->panel_block ? 1 : rhs->strides[rhs->ndim - (call->dot ? 2 : 1)],
    };
    return GMM_OK;
}

/* The quantized weights of a product, and the size of a matrix as it lies. */
static gmm_status take_quantized(const gmm_product *product, gmm_call *call, int64_t *rows, int64_t *cols)
{
    if (product->prepared) {
        gmm_prepared_take(product->prepared, call);
        *rows = call->dot ? product->prepared->n : product->prepared->k;
        *cols = call->dot ? product->prepared->k : product->prepared->n;
        return GMM_OK;
    }
    call->dot = product->transpose;
    return gmm_weights_check(product->quantized, &call->weights, &call->rhs, &call->scales, &call->biases, rows, cols);
}

static gmm_status check_quantized(const gmm_product *product, gmm_call *call)
{
    gmm_status status;
    gmm_view *lhs = &call->lhs, *rhs = &call->rhs;
    int64_t rows, cols;
    bool no_indices = !product->lhs_indices && !product->rhs_indices;

    if ((status = take_quantized(product, call, &rows, &cols)) || (status = gmm_view_make(product->lhs, "x", lhs)))
        return status;
    if (lhs->ndim == 0)
        return gmm_fail(GMM_ERR_SHAPE, "x has no axes; it needs at least %d", no_indices ? 1 : 2);
    call->k = call->dot ? cols : rows;
    call->n = call->dot ? rows : cols;
    if (lhs->shape[lhs->ndim - 1] != call->k)
        return gmm_fail(GMM_ERR_SHAPE,
                        "x has %" PRId64 " columns; the weights, %" PRId64 " x %" PRId64
                        " and %stransposed, need %" PRId64,
                        lhs->shape[lhs->ndim - 1], rows, cols, call->dot ? "" : "not ", call->k);
    call->dtype = lhs->dtype;
    if (call->weights.format->has_biases)
        call->dtype = gmm_promote(call->dtype, gmm_promote(call->weights.scales_dtype, call->weights.biases_dtype));
    if (!call->dtype || !gmm_is_float(call->dtype))
        return gmm_fail(GMM_ERR_DTYPE, "x is %s; %s needs f32, f16 or bf16", gmm_dtype_name(lhs->dtype),
                        call->weights.format->name);
    if (!no_indices && lhs->ndim < 2)
        return gmm_fail(GMM_ERR_SHAPE, "x has 1 axis; with indices it needs at least 2");
    if (no_indices && lhs->ndim <= 2 && rhs->ndim > 2)
        return gmm_fail(GMM_ERR_SHAPE,
                        "x has %" PRId32 " axes and w has %" PRId32
                        "; without indices a batch of weights needs a batch of x",
                        lhs->ndim, rhs->ndim);
    call->drop_m = expand(lhs, true);
    call->m = lhs->shape[lhs->ndim - 2];
    return GMM_OK;
}

/* The index array, or the numbers of the operand's matrices; `shape` and `ndim` become what it spans. */
static gmm_status check_indices(const gmm_array *array, const char *name, const gmm_view *operand, gmm_indices *indices,
                                const int64_t **shape, int32_t *ndim)
{
    indices->name = name;
    indices->matrices = 1;
    for (int32_t d = operand->ndim - 3; d >= 0; d--) {
        indices->strides[d] = indices->matrices;
        if (gmm_mul_overflows(indices->matrices, operand->shape[d], &indices->matrices))
            return gmm_fail(GMM_ERR_SIZE, "the operand of %s has more than 2^63 matrices", name);
    }
    indices->view.data = NULL;
    *shape = operand->shape;
    *ndim = operand->ndim - 2;
    if (!array)
        return GMM_OK;

    gmm_status status = gmm_view_make(array, name, &indices->view);
    if (status)
        return status;
    if (!gmm_is_integer(indices->view.dtype))
        return gmm_fail(GMM_ERR_DTYPE, "%s is %s; indices are integers", name, gmm_dtype_name(indices->view.dtype));
    memcpy(indices->strides, indices->view.strides, sizeof indices->strides);
    *shape = indices->view.shape;
    *ndim = indices->view.ndim;
    return GMM_OK;
}

/* Shift an index source's axes to the end of the batch shape, with stride 0 where it is broadcast. */
static void broadcast(gmm_indices *indices, const int64_t *shape, int32_t ndim, const gmm_call *call)
{
    int32_t shift = call->batch_ndim - ndim;

    for (int32_t d = call->batch_ndim - 1; d >= 0; d--)
        indices->strides[d] = d < shift || shape[d - shift] == 1 ? 0 : indices->strides[d - shift];
}

static gmm_status check_batch(const gmm_product *product, gmm_call *call)
{
    gmm_status status;
    const int64_t *lhs = NULL, *rhs = NULL;
    int32_t lhs_ndim = 0, rhs_ndim = 0;
    bool empty = false;

    if ((status =
             check_indices(product->lhs_indices, "lhs_indices", &call->lhs, &call->lhs_indices, &lhs, &lhs_ndim)) ||
        (status = check_indices(product->rhs_indices, "rhs_indices", &call->rhs, &call->rhs_indices, &rhs, &rhs_ndim)))
        return status;

    call->batch_ndim = lhs_ndim > rhs_ndim ? lhs_ndim : rhs_ndim;
    if (call->batch_ndim + 2 - call->drop_m - call->drop_n > GMM_MAX_NDIM || call->batch_ndim > GMM_MAX_NDIM - 2)
        return gmm_fail(GMM_ERR_SHAPE, "the result would have %" PRId32 " axes; at most %d", call->batch_ndim + 2,
                        GMM_MAX_NDIM);
    for (int32_t d = 0; d < call->batch_ndim; d++) {
        int32_t left = d - (call->batch_ndim - lhs_ndim), right = d - (call->batch_ndim - rhs_ndim);
        int64_t a = left < 0 ? 1 : lhs[left], b = right < 0 ? 1 : rhs[right];
        if (a != b && a != 1 && b != 1) {
            char a_text[SHAPE_TEXT], b_text[SHAPE_TEXT];
            return gmm_fail(GMM_ERR_SHAPE, "lhs_indices %s and rhs_indices %s do not broadcast",
                            gmm_shape_text(lhs, lhs_ndim, a_text, sizeof a_text),
                            gmm_shape_text(rhs, rhs_ndim, b_text, sizeof b_text));
        }
        call->batch_shape[d] = a == 1 ? b : a;
        empty |= call->batch_shape[d] == 0;
    }
    broadcast(&call->lhs_indices, lhs, lhs_ndim, call);
    broadcast(&call->rhs_indices, rhs, rhs_ndim, call);

    int64_t elements;
    call->products = empty ? 0 : 1;
    for (int32_t d = 0; d < call->batch_ndim && !empty; d++)
        if (gmm_mul_overflows(call->products, call->batch_shape[d], &call->products))
            return gmm_fail(GMM_ERR_SIZE, "the result would have more than 2^63 matrices");
    if (gmm_mul_overflows(call->products, call->m, &elements) || gmm_mul_overflows(elements, call->n, &elements) ||
        gmm_mul_overflows(elements, 4, &elements))
        return gmm_fail(GMM_ERR_SIZE,
                        "the result, %" PRId64 " matrices of %" PRId64 " x %" PRId64 ", would exceed 2^63 bytes",
                        call->products, call->m, call->n);
    return GMM_OK;
}

gmm_status gmm_call_check(const gmm_product *product, gmm_call *call)
{
    gmm_status status;

    if (!product)
        return gmm_fail(GMM_ERR_NULL, "product is NULL");
    if (product->size != sizeof *product)
        return gmm_fail(GMM_ERR_ARGUMENT, "product->size is %zu; this library knows %zu", product->size,
                        sizeof *product);
    int kinds = (product->rhs != NULL) + (product->quantized != NULL) + (product->prepared != NULL);
    if (kinds != 1)
        return gmm_fail(GMM_ERR_ARGUMENT, "exactly one of rhs, quantized and prepared must be set; %d are", kinds);
    if (product->rhs && product->transpose)
        return gmm_fail(GMM_ERR_ARGUMENT, "transpose is for quantized weights; a dense rhs says it by its strides");
    if (product->prepared && product->transpose)
        return gmm_fail(GMM_ERR_ARGUMENT, "transpose is for quantized weights; prepared ones were made with it");
    *call = (gmm_call){.quantized = product->prepared ? product->prepared->quantized : product->quantized != NULL};
    status = call->quantized ? check_quantized(product, call) : check_dense(product, call);
    return status ? status : check_batch(product, call);
}

void gmm_call_spec(const gmm_call *call, gmm_array_spec *spec)
{
    spec->dtype = call->dtype;
    spec->ndim = call->batch_ndim;
    memcpy(spec->shape, call->batch_shape, sizeof spec->shape);
    if (!call->drop_m)
        spec->shape[spec->ndim++] = call->m;
    if (!call->drop_n)
        spec->shape[spec->ndim++] = call->n;
}

static gmm_status check_indices_apart(const gmm_view *out, const gmm_indices *indices)
{
    return indices->view.data ? gmm_views_check_apart(out, "out", &indices->view, indices->name) : GMM_OK;
}

gmm_status gmm_call_check_output(const gmm_product *product, const gmm_call *call, const gmm_array *out, gmm_view *view)
{
    gmm_status status;
    gmm_array_spec spec;

    if ((status = gmm_view_make(out, "out", view)))
        return status;
    if (!gmm_is_float(view->dtype))
        return gmm_fail(GMM_ERR_DTYPE, "out is %s; it may be f32, f16 or bf16", gmm_dtype_name(view->dtype));
    gmm_call_spec(call, &spec);
    bool same = view->ndim == spec.ndim;
    for (int32_t d = 0; d < spec.ndim && same; d++)
        same = view->shape[d] == spec.shape[d];
    if (!same) {
        char got[SHAPE_TEXT], wanted[SHAPE_TEXT];
        return gmm_fail(GMM_ERR_SHAPE, "out is %s; the result is %s",
                        gmm_shape_text(view->shape, view->ndim, got, sizeof got),
                        gmm_shape_text(spec.shape, spec.ndim, wanted, sizeof wanted));
    }
    if ((status = gmm_view_check_writable(view, "out")))
        return status;
    if (product->prepared)
        status = gmm_views_check_apart(view, "out", &product->prepared->whole, "prepared");
    else if (call->quantized)
        status = gmm_weights_check_apart(view, product->quantized, &call->rhs, &call->scales, &call->biases);
    else
        status = gmm_views_check_apart(view, "out", &call->rhs, "rhs");
    if (status || (status = gmm_views_check_apart(view, "out", &call->lhs, call->quantized ? "x" : "lhs")) ||
        (status = check_indices_apart(view, &call->lhs_indices)) ||
        (status = check_indices_apart(view, &call->rhs_indices)))
        return status;

    /* Put back the axes that 1-D operands took away. */
    int32_t row = call->batch_ndim, column = row + 1;
    if (!call->drop_n) {
        view->strides[column] = view->strides[view->ndim - 1];
        view->shape[column] = call->n;
    } else {
        view->strides[column] = 0;
        view->shape[column] = 1;
    }
    if (call->drop_m) {
        view->strides[row] = 0;
        view->shape[row] = 1;
    }
    view->ndim = column + 1;
    return GMM_OK;
}
