/* indices.c - reading and checking gather indices of any integer type. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "core/call.h"

int64_t gmm_index_load(const gmm_view *view, int64_t offset)
{
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
    } value;

    memcpy(&value, gmm_view_at(view, offset), (size_t)view->element_bytes);
    switch (view->dtype) {
    case GMM_U8:
        return value.u8;
    case GMM_I8:
        return value.i8;
    case GMM_U16:
        return value.u16;
    case GMM_I16:
        return value.i16;
    case GMM_U32:
        return value.u32;
    case GMM_I32:
        return value.i32;
    case GMM_U64:
        return value.u64 > INT64_MAX ? -1 : (int64_t)value.u64;
    default:
        return value.i64;
    }
}

int64_t gmm_indices_at(const gmm_indices *indices, const gmm_call *call, int64_t product)
{
    int64_t offset = 0;

    for (int32_t d = call->batch_ndim - 1; d >= 0 && product > 0; d--) {
        offset += product % call->batch_shape[d] * indices->strides[d];
        product /= call->batch_shape[d];
    }
    return indices->view.data ? gmm_index_load(&indices->view, offset) : offset;
}

/* The flat number, over the whole shape, of the element whose number over the axes with a stride is `distinct`. */
static int64_t flat_number(const gmm_view *whole, const gmm_view *distinct, int64_t number)
{
    int64_t flat = 0, step = 1;

    for (int32_t d = whole->ndim - 1; d >= 0; d--) {
        flat += number % distinct->shape[d] * step;
        number /= distinct->shape[d];
        step *= whole->shape[d];
    }
    return flat;
}

gmm_status gmm_indices_check(const gmm_indices *indices)
{
    const gmm_view *view = &indices->view;
    gmm_view distinct = *view; /* without the axes along which the array repeats itself, however long they are */

    if (!view->data)
        return GMM_OK;
    for (int32_t d = 0; d < view->ndim; d++)
        if (view->strides[d] == 0) {
            distinct.count /= view->shape[d];
            distinct.shape[d] = 1;
        }
    for (int64_t i = 0; i < distinct.count; i++) {
        int64_t offset = gmm_view_offset(&distinct, view->ndim, i), value = gmm_index_load(view, offset);
        uint64_t big;
        if (value >= 0 && value < indices->matrices)
            continue;
        int64_t flat = flat_number(view, &distinct, i);
        if (view->dtype == GMM_U64) {
            memcpy(&big, gmm_view_at(view, offset), sizeof big);
            return gmm_fail(GMM_ERR_INDEX, "%s[%" PRId64 "] is %" PRIu64 "; there are %" PRId64 " matrices",
                            indices->name, flat, big, indices->matrices);
        }
        return gmm_fail(GMM_ERR_INDEX, "%s[%" PRId64 "] is %" PRId64 "; there are %" PRId64 " matrices", indices->name,
                        flat, value, indices->matrices);
    }
    return GMM_OK;
}
