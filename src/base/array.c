/* array.c - see array.h. */
/* SPDX-License-Identifier: MIT */
#include "base/array.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"

/* Names as safetensors files write them. */
static const struct {
    const char *name;
    int bits;
} dtypes[] = {
    [GMM_BOOL] = {"BOOL", 8},
    [GMM_U8] = {"U8", 8},
    [GMM_I8] = {"I8", 8},
    [GMM_U16] = {"U16", 16},
    [GMM_I16] = {"I16", 16},
    [GMM_U32] = {"U32", 32},
    [GMM_I32] = {"I32", 32},
    [GMM_U64] = {"U64", 64},
    [GMM_I64] = {"I64", 64},
    [GMM_F16] = {"F16", 16},
    [GMM_BF16] = {"BF16", 16},
    [GMM_F32] = {"F32", 32},
    [GMM_F64] = {"F64", 64},
    [GMM_C64] = {"C64", 64},
    [GMM_F8_E4M3] = {"F8_E4M3", 8},
    [GMM_F8_E5M2] = {"F8_E5M2", 8},
    [GMM_F8_E8M0] = {"F8_E8M0", 8},
    [GMM_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
    [GMM_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
    [GMM_F6_E2M3] = {"F6_E2M3", 6},
    [GMM_F6_E3M2] = {"F6_E3M2", 6},
    [GMM_F4] = {"F4", 4},
};

static bool known(gmm_dtype dtype)
{
    return (size_t)dtype < sizeof dtypes / sizeof dtypes[0] && dtypes[dtype].name != NULL;
}

const char *gmm_dtype_name(gmm_dtype dtype)
{
    return known(dtype) ? dtypes[dtype].name : NULL;
}

int gmm_dtype_bits(gmm_dtype dtype)
{
    return known(dtype) ? dtypes[dtype].bits : 0;
}

char *gmm_shape_text(const int64_t *shape, int32_t ndim, char *text, size_t text_size)
{
    size_t used = 0;

    text[0] = '\0';
    for (int32_t d = 0; d < ndim && used < text_size; d++)
        used += (size_t)snprintf(text + used, text_size - used, "%s%" PRId64, d ? ", " : "(", shape[d]);
    if (used < text_size)
        snprintf(text + used, text_size - used, "%s", ndim ? ")" : "()");
    return text;
}

/* Strides, and the lowest and highest offset that an element has, in bytes. */
static gmm_status measure(const gmm_array *array, const char *name, gmm_view *view)
{
    int64_t lowest = 0, highest = 0, row_major = 1;

    for (int32_t d = view->ndim - 1; d >= 0; d--) {
        int64_t reach;
        view->strides[d] = array->strides ? array->strides[d] : row_major;
        if (gmm_mul_overflows(view->shape[d] - 1, view->strides[d], &reach) ||
            gmm_mul_overflows(reach, view->element_bytes, &reach) ||
            (reach < 0 ? gmm_add_overflows(lowest, reach, &lowest) : gmm_add_overflows(highest, reach, &highest)))
            return gmm_fail(GMM_ERR_SIZE, "%s: size %" PRId64 " with stride %" PRId64 " in axis %d exceeds 64 bits",
                            name, view->shape[d], view->strides[d], d);
        row_major *= view->shape[d]; /* cannot overflow: count, which it divides, did not */
    }
    if (!array->data)
        return gmm_fail(GMM_ERR_NULL, "%s: data is NULL, and %" PRId64 " elements are needed", name, view->count);
    if (array->byte_offset > INT64_MAX)
        return gmm_fail(GMM_ERR_SIZE, "%s: byte_offset %" PRIu64 " exceeds 63 bits", name, array->byte_offset);

    uintptr_t base = (uintptr_t)array->data, begin, end;
    if (__builtin_add_overflow(base, array->byte_offset, &base) || __builtin_add_overflow(base, lowest, &begin) ||
        __builtin_add_overflow(base, highest, &end) || __builtin_add_overflow(end, view->element_bytes, &end))
        return gmm_fail(GMM_ERR_SIZE, "%s: its elements would lie outside the address space", name);
    view->data = (char *)array->data + array->byte_offset;
    view->begin = begin;
    view->end = end;
    return GMM_OK;
}

gmm_status gmm_view_make(const gmm_array *array, const char *name, gmm_view *view)
{
    bool empty = false;

    if (!array)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", name);
    if (!known(array->dtype) || gmm_dtype_bits(array->dtype) % 8)
        return gmm_fail(GMM_ERR_DTYPE, "%s: %d is not an element type of arrays", name, (int)array->dtype);
    if (array->ndim < 0 || array->ndim > GMM_MAX_NDIM)
        return gmm_fail(GMM_ERR_SHAPE, "%s: ndim is %" PRId32 "; it may be 0 to %d", name, array->ndim, GMM_MAX_NDIM);
    if (array->ndim > 0 && !array->shape)
        return gmm_fail(GMM_ERR_NULL, "%s: shape is NULL", name);

    view->data = NULL;
    view->dtype = array->dtype;
    view->ndim = array->ndim;
    view->element_bytes = gmm_dtype_bits(array->dtype) / 8;
    view->begin = view->end = 0;
    for (int32_t d = 0; d < array->ndim; d++) {
        if (array->shape[d] < 0)
            return gmm_fail(GMM_ERR_SHAPE, "%s: shape[%" PRId32 "] is %" PRId64, name, d, array->shape[d]);
        view->shape[d] = array->shape[d];
        view->strides[d] = 0;
        empty |= array->shape[d] == 0;
    }
    view->count = empty ? 0 : 1;
    if (empty)
        return GMM_OK;
    for (int32_t d = 0; d < array->ndim; d++) {
        int64_t bytes;
        if (gmm_mul_overflows(view->count, view->shape[d], &view->count) ||
            gmm_mul_overflows(view->count, view->element_bytes, &bytes))
            return gmm_fail(GMM_ERR_SIZE, "%s: more than 2^63 bytes of elements", name);
    }
    return measure(array, name, view);
}

gmm_status gmm_view_check_writable(const gmm_view *view, const char *name)
{
    int32_t order[GMM_MAX_NDIM], used = 0;
    int64_t reach = 0; /* the furthest offset that the axes so far, by rising stride, can add up to */

    if (view->count == 0)
        return GMM_OK;
    for (int32_t d = 0; d < view->ndim; d++) {
        int32_t at = used;
        if (view->shape[d] == 1)
            continue;
        for (; at > 0 && imaxabs(view->strides[order[at - 1]]) > imaxabs(view->strides[d]); at--)
            order[at] = order[at - 1];
        order[at] = d;
        used++;
    }
    for (int32_t i = 0; i < used; i++) {
        int64_t stride = imaxabs(view->strides[order[i]]);
        if (stride <= reach)
            return gmm_fail(GMM_ERR_OVERLAP, "%s: stride %" PRId64 " of axis %" PRId32 " makes elements share memory",
                            name, view->strides[order[i]], order[i]);
        reach += stride * (view->shape[order[i]] - 1);
    }
    return GMM_OK;
}

gmm_status gmm_views_check_apart(const gmm_view *out, const char *out_name, const gmm_view *in, const char *in_name)
{
    if (out->begin < in->end && in->begin < out->end)
        return gmm_fail(GMM_ERR_OVERLAP,
                        "%s and %s share memory: [%#" PRIxPTR ", %#" PRIxPTR ") and [%#" PRIxPTR ", %#" PRIxPTR ")",
                        out_name, in_name, out->begin, out->end, in->begin, in->end);
    return GMM_OK;
}

int64_t gmm_view_offset(const gmm_view *view, int32_t ndim, int64_t flat)
{
    int64_t offset = 0;

    for (int32_t d = ndim - 1; d >= 0 && flat > 0; d--) {
        offset += flat % view->shape[d] * view->strides[d];
        flat /= view->shape[d];
    }
    return offset;
}
