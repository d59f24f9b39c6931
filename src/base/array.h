/* array.h - checked views of memory: sizes, strides, address ranges, the element types. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_ARRAY_H
#define GMM_ARRAY_H

#include <stdint.h>

#include "gathermm/gathermm.h"

/* An array after gmm_view_make: strides filled in, byte_offset applied, every offset known to fit in 64 bits. */
typedef struct gmm_view {
    char *data;
    gmm_dtype dtype;
    int32_t ndim;
    int64_t element_bytes;
    int64_t count; /* product of shape */
    int64_t shape[GMM_MAX_NDIM];
    int64_t strides[GMM_MAX_NDIM]; /* in elements */
    uintptr_t begin, end;          /* addresses that elements may touch: [begin, end); equal when count is 0 */
} gmm_view;

/* Check an array that a caller gave and make its view. `name` is the argument's name, for the message.
 * GMM_OK; GMM_ERR_NULL (array, shape, or data of a non-empty array); GMM_ERR_DTYPE (no such type, or less than a byte);
 * GMM_ERR_SHAPE (rank, negative size); GMM_ERR_SIZE (count or an offset beyond 64 bits). */
gmm_status gmm_view_make(const gmm_array *array, const char *name, gmm_view *view);

/* GMM_ERR_OVERLAP if two elements of the view may share an address. Exact for views that come from slicing and
 * permuting a row-major array; refuses some exotic interleavings that happen not to collide. */
gmm_status gmm_view_check_writable(const gmm_view *view, const char *name);

/* GMM_ERR_OVERLAP if the two address ranges meet. */
gmm_status gmm_views_check_apart(const gmm_view *out, const char *out_name, const gmm_view *in, const char *in_name);

/* Offset in elements of the element with row-major number `flat` over the first `ndim` dimensions. */
int64_t gmm_view_offset(const gmm_view *view, int32_t ndim, int64_t flat);

/* The address of the element at an offset in elements. */
static inline char *gmm_view_at(const gmm_view *view, int64_t offset)
{
    return view->data + offset * view->element_bytes;
}

/* "(2, 3, 4)" into text, cut to its size; returns text. For messages. */
char *gmm_shape_text(const int64_t *shape, int32_t ndim, char *text, size_t text_size);

/* Is it a type of floating-point numbers that products and quantize take: f32, f16, bf16? */
static inline bool gmm_is_float(gmm_dtype dtype)
{
    return dtype == GMM_F32 || dtype == GMM_F16 || dtype == GMM_BF16;
}

/* Is it a signed or unsigned integer (bool is not)? */
static inline bool gmm_is_integer(gmm_dtype dtype)
{
    return dtype >= GMM_U8 && dtype <= GMM_I64;
}

/* a * b into *product; true when it overflows 64 bits. */
static inline bool gmm_mul_overflows(int64_t a, int64_t b, int64_t *product)
{
    return __builtin_mul_overflow(a, b, product);
}

static inline bool gmm_add_overflows(int64_t a, int64_t b, int64_t *sum)
{
    return __builtin_add_overflow(a, b, sum);
}

#endif
