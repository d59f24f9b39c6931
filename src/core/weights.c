/* weights.c - see weights.h. */
/* SPDX-License-Identifier: MIT */
#include "core/weights.h"

#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "cpu/fp_env.h"
#include "formats/numbers.h"

/* Enough for every batch shape that a message is likely to carry; longer ones are cut. */
#define SHAPE_TEXT 160

static gmm_status check_same_shape(const gmm_view *a, const char *a_name, const gmm_view *b, const char *b_name)
{
    char a_text[SHAPE_TEXT], b_text[SHAPE_TEXT];

    if (a->ndim == b->ndim && memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof a->shape[0]) == 0)
        return GMM_OK;
    return gmm_fail(GMM_ERR_SHAPE, "%s has shape %s, %s has %s; they must be equal", a_name,
                    gmm_shape_text(a->shape, a->ndim, a_text, sizeof a_text), b_name,
                    gmm_shape_text(b->shape, b->ndim, b_text, sizeof b_text));
}

/* All dimensions but the last: batch and rows. MLX compares the batch only, and reads past a scales array with too few
 * rows. */
static gmm_status check_rows(const gmm_view *w, const gmm_view *scales)
{
    char w_text[SHAPE_TEXT], scales_text[SHAPE_TEXT];

    if (w->ndim < 2)
        return gmm_fail(GMM_ERR_SHAPE, "w has rank %" PRId32 "; it must be at least 2", w->ndim);
    if (w->ndim == scales->ndim && memcmp(w->shape, scales->shape, (size_t)(w->ndim - 1) * sizeof w->shape[0]) == 0)
        return GMM_OK;
    return gmm_fail(GMM_ERR_SHAPE, "w has shape %s, scales has %s; all sizes but the last must be equal",
                    gmm_shape_text(w->shape, w->ndim, w_text, sizeof w_text),
                    gmm_shape_text(scales->shape, scales->ndim, scales_text, sizeof scales_text));
}

static gmm_status check_biases(const gmm_quantized *quantized, const gmm_format *format, const gmm_view *scales,
                               gmm_view *biases)
{
    gmm_status status;

    biases->ndim = -1;
    if (!format->has_biases) {
        if (quantized->biases)
            return gmm_fail(GMM_ERR_ARGUMENT, "biases is given; mode %s has none", format->name);
        if (scales->dtype != GMM_U8)
            return gmm_fail(GMM_ERR_DTYPE, "scales has type %s; mode %s has U8", gmm_dtype_name(scales->dtype),
                            format->name);
        return GMM_OK;
    }
    if (!quantized->biases)
        return gmm_fail(GMM_ERR_NULL, "biases is NULL; mode %s needs them", format->name);
    status = gmm_view_make(quantized->biases, "biases", biases);
    if (status != GMM_OK)
        return status;
    if (!gmm_is_float(scales->dtype) || !gmm_is_float(biases->dtype))
        return gmm_fail(GMM_ERR_DTYPE, "scales has type %s and biases %s; mode %s has F32, F16 or BF16",
                        gmm_dtype_name(scales->dtype), gmm_dtype_name(biases->dtype), format->name);
    return GMM_OK;
}

/* cols is what both the words and the groups of a row say. */
static gmm_status check_cols(const gmm_view *w, const gmm_view *scales, int32_t group_size, int32_t bits, int64_t *cols)
{
    int64_t words = w->shape[w->ndim - 1], groups = scales->shape[scales->ndim - 1], bits_in_words, bits_in_groups;

    if (gmm_mul_overflows(words, 32, &bits_in_words) ||
        gmm_mul_overflows(groups, (int64_t)group_size * bits, &bits_in_groups))
        return gmm_fail(GMM_ERR_SIZE,
                        "w has %" PRId64 " words and scales %" PRId64 " groups a row: more than 2^63 bits", words,
                        groups);
    if (bits_in_words != bits_in_groups)
        return gmm_fail(GMM_ERR_SHAPE,
                        "w has %" PRId64 " words a row, which at %" PRId32 " bits hold %" PRId64
                        " values; scales has %" PRId64 " groups of %" PRId32 ", which are %" PRId64,
                        words, bits, bits_in_words / bits, groups, group_size, groups * group_size);
    *cols = groups * group_size;
    return GMM_OK;
}

gmm_status gmm_weights_global_scale(const gmm_array *array, const gmm_format *format, float *global_scale)
{
    gmm_view view;
    gmm_status status;

    if (!array)
        return GMM_OK;
    if (!format->has_global_scale)
        return gmm_fail(GMM_ERR_ARGUMENT, "global_scale is given; mode %s has none", format->name);
    status = gmm_view_make(array, "global_scale", &view);
    if (status != GMM_OK)
        return status;
    if (view.dtype != GMM_F32)
        return gmm_fail(GMM_ERR_DTYPE, "global_scale has type %s; it must be F32", gmm_dtype_name(view.dtype));
    if (view.count != 1)
        return gmm_fail(GMM_ERR_SHAPE, "global_scale has %" PRId64 " elements; it must have 1", view.count);
    memcpy(global_scale, view.data, sizeof *global_scale);
    return GMM_OK;
}

static void fill(const gmm_view *w, const gmm_view *scales, const gmm_view *biases, gmm_weights *weights)
{
    weights->scales_dtype = scales->dtype;
    weights->code_stride = w->strides[w->ndim - 1];
    weights->scale_stride = scales->strides[scales->ndim - 1];
    if (biases->ndim >= 0) {
        weights->biases_dtype = biases->dtype;
        weights->bias_stride = biases->strides[biases->ndim - 1];
    }
}

/* a / b, whatever the caller's floating-point environment. To compilers an operation does not depend on the
 * environment: volatile keeps it between the calls. */
static float quotient(float a, float b)
{
    volatile float result = a;
    gmm_fp_env env = gmm_fp_enter();

    result = result / b;
    gmm_fp_leave(env);
    return result;
}

gmm_status gmm_weights_check(const gmm_quantized *quantized, gmm_weights *weights, gmm_view *w, gmm_view *scales,
                             gmm_view *biases, int64_t *rows, int64_t *cols)
{
    gmm_status status;
    const gmm_format *format;
    float global_scale = GMM_NVFP4_MAX; /* quotient 1 */

    if (!quantized)
        return gmm_fail(GMM_ERR_NULL, "the quantized weights are NULL");
    *weights = (gmm_weights){0};
    if ((status = gmm_format_resolve(quantized->mode, quantized->group_size, quantized->bits, &weights->format,
                                     &weights->group_size, &weights->bits)) != GMM_OK)
        return status;
    format = weights->format;
    if ((status = gmm_view_make(quantized->w, "w", w)) != GMM_OK ||
        (status = gmm_view_make(quantized->scales, "scales", scales)) != GMM_OK ||
        (status = check_biases(quantized, format, scales, biases)) != GMM_OK)
        return status;
    if (w->dtype != GMM_U32)
        return gmm_fail(GMM_ERR_DTYPE, "w has type %s; packed codes are U32", gmm_dtype_name(w->dtype));
    if ((biases->ndim >= 0 && (status = check_same_shape(biases, "biases", scales, "scales")) != GMM_OK) ||
        (status = check_rows(w, scales)) != GMM_OK ||
        (status = check_cols(w, scales, weights->group_size, weights->bits, cols)) != GMM_OK ||
        (status = gmm_weights_global_scale(quantized->global_scale, format, &global_scale)) != GMM_OK)
        return status;
    weights->global = quotient(global_scale, GMM_NVFP4_MAX);
    *rows = w->shape[w->ndim - 2];
    fill(w, scales, biases, weights);
    return GMM_OK;
}

gmm_status gmm_weights_check_apart(const gmm_view *out, const gmm_quantized *quantized, const gmm_view *w,
                                   const gmm_view *scales, const gmm_view *biases)
{
    gmm_view global;
    gmm_status status;

    if ((status = gmm_views_check_apart(out, "out", w, "w")) != GMM_OK ||
        (status = gmm_views_check_apart(out, "out", scales, "scales")) != GMM_OK ||
        (biases->ndim >= 0 && (status = gmm_views_check_apart(out, "out", biases, "biases")) != GMM_OK))
        return status;
    if (!quantized->global_scale)
        return GMM_OK;
    if ((status = gmm_view_make(quantized->global_scale, "global_scale", &global)) != GMM_OK)
        return status;
    return gmm_views_check_apart(out, "out", &global, "global_scale");
}
