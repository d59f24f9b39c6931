/* weights.h - checked quantized weights: the format, the views of the three arrays, and their rows. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_WEIGHTS_H
#define GMM_WEIGHTS_H

#include "base/array.h"
#include "formats/format.h"

/* Check everything about quantized weights that needs no other operand, and resolve the mode's defaults. On success
 * `weights` is complete, the views are made (biases->ndim is -1 when the mode has none), and rows x cols is the shape
 * of one decoded matrix; the batch dimensions are all but the last two of w, and scales and biases have the same ones.
 * GMM_ERR_NULL; GMM_ERR_FORMAT (mode, group_size, bits); GMM_ERR_DTYPE; GMM_ERR_SHAPE; GMM_ERR_SIZE (cols beyond 64
 * bits); GMM_ERR_ARGUMENT (biases or global_scale with a mode that has none). */
gmm_status gmm_weights_check(const gmm_quantized *quantized, gmm_weights *weights, gmm_view *w, gmm_view *scales,
                             gmm_view *biases, int64_t *rows, int64_t *cols);

/* GMM_ERR_OVERLAP if `out` shares memory with any array of checked quantized weights. */
gmm_status gmm_weights_check_apart(const gmm_view *out, const gmm_quantized *quantized, const gmm_view *w,
                                   const gmm_view *scales, const gmm_view *biases);

/* Read a global scale, one GMM_F32 element of any rank, for the format; *global_scale stays as it is when `array` is
 * NULL. GMM_ERR_NULL; GMM_ERR_ARGUMENT (the format has none); GMM_ERR_DTYPE; GMM_ERR_SHAPE; GMM_ERR_SIZE. */
gmm_status gmm_weights_global_scale(const gmm_array *array, const gmm_format *format, float *global_scale);

/* Where one matrix begins in each of the arrays, in elements. */
typedef struct gmm_weights_offsets {
    int64_t w, scales, biases;
} gmm_weights_offsets;

/* The offsets of matrix number `flat`, in row-major order over the batch dimensions. */
static inline gmm_weights_offsets gmm_weights_matrix(const gmm_view *w, const gmm_view *scales, const gmm_view *biases,
                                                     int64_t flat)
{
    return (gmm_weights_offsets){
        .w = gmm_view_offset(w, w->ndim - 2, flat),
        .scales = gmm_view_offset(scales, scales->ndim - 2, flat),
        .biases = biases->ndim < 0 ? 0 : gmm_view_offset(biases, biases->ndim - 2, flat),
    };
}

/* Row number `row` of the matrix that begins at these offsets. */
static inline gmm_row gmm_weights_row(const gmm_view *w, const gmm_view *scales, const gmm_view *biases,
                                      gmm_weights_offsets at, int64_t row)
{
    return (gmm_row){
        .codes = gmm_view_at(w, at.w + row * w->strides[w->ndim - 2]),
        .scales = gmm_view_at(scales, at.scales + row * scales->strides[scales->ndim - 2]),
        .biases = biases->ndim < 0 ? NULL : gmm_view_at(biases, at.biases + row * biases->strides[biases->ndim - 2]),
    };
}

#endif
