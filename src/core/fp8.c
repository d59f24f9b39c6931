/* fp8.c - gmm_to_fp8 and gmm_from_fp8: E4M3 codes of whole arrays. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "cpu/fp_env.h"
#include "formats/convert.h"
#include "formats/numbers.h"

#define PIECE 256

/* A run of at most PIECE elements: `count` elements from x to out. */
typedef void convert(const gmm_view *x, const gmm_view *out, int64_t x_offset, int64_t out_offset, int64_t count);

/* The stride along the last axis, 0 for arrays without axes. */
static int64_t last_stride(const gmm_view *view)
{
    return view->ndim ? view->strides[view->ndim - 1] : 0;
}

static void encode(const gmm_view *x, const gmm_view *out, int64_t x_offset, int64_t out_offset, int64_t count)
{
    float values[PIECE];
    uint8_t *to = (uint8_t *)gmm_view_at(out, out_offset);

    gmm_load_run(x->dtype, GMM_F32, gmm_view_at(x, x_offset), last_stride(x), count, values);
    for (int64_t i = 0; i < count; i++)
        to[i * last_stride(out)] = gmm_e4m3_from_f32(values[i]);
}

static void decode(const gmm_view *x, const gmm_view *out, int64_t x_offset, int64_t out_offset, int64_t count)
{
    float values[PIECE];
    const uint8_t *from = (const uint8_t *)gmm_view_at(x, x_offset);

    for (int64_t i = 0; i < count; i++)
        values[i] = gmm_e4m3_to_f32(from[i * last_stride(x)]);
    gmm_store_run(out->dtype, values, count, gmm_view_at(out, out_offset), last_stride(out));
}

static void convert_all(const gmm_view *x, const gmm_view *out, convert *run)
{
    gmm_fp_env env = gmm_fp_enter();
    int32_t row_ndim = x->ndim ? x->ndim - 1 : 0;
    int64_t cols = x->ndim ? x->shape[x->ndim - 1] : 1;

    for (int64_t done = 0; done < x->count; done += cols) {
        int64_t x_offset = gmm_view_offset(x, row_ndim, done / cols);
        int64_t out_offset = gmm_view_offset(out, row_ndim, done / cols);
        for (int64_t col = 0; col < cols; col += PIECE)
            run(x, out, x_offset + col * last_stride(x), out_offset + col * last_stride(out),
                cols - col < PIECE ? cols - col : PIECE);
    }
    gmm_fp_leave(env);
}

static gmm_status check(const gmm_array *x_array, const gmm_array *out_array, gmm_view *x, gmm_view *out)
{
    char x_text[160], out_text[160];
    gmm_status status;

    if ((status = gmm_view_make(x_array, "x", x)) != GMM_OK ||
        (status = gmm_view_make(out_array, "out", out)) != GMM_OK)
        return status;
    if (x->ndim != out->ndim || memcmp(x->shape, out->shape, (size_t)x->ndim * sizeof x->shape[0]) != 0)
        return gmm_fail(GMM_ERR_SHAPE, "x has shape %s, out has %s; they must be equal",
                        gmm_shape_text(x->shape, x->ndim, x_text, sizeof x_text),
                        gmm_shape_text(out->shape, out->ndim, out_text, sizeof out_text));
    if ((status = gmm_view_check_writable(out, "out")) != GMM_OK)
        return status;
    return gmm_views_check_apart(out, "out", x, "x");
}

/* One side holds codes, the other f32, f16 or bf16. */
static gmm_status check_dtypes(const gmm_view *codes, const char *codes_name, const gmm_view *values,
                               const char *values_name)
{
    if (codes->dtype != GMM_U8)
        return gmm_fail(GMM_ERR_DTYPE, "%s has type %s; E4M3 codes are U8", codes_name, gmm_dtype_name(codes->dtype));
    if (!gmm_is_float(values->dtype))
        return gmm_fail(GMM_ERR_DTYPE, "%s has type %s; it must be F32, F16 or BF16", values_name,
                        gmm_dtype_name(values->dtype));
    return GMM_OK;
}

gmm_status gmm_to_fp8(const gmm_array *x, gmm_array *out)
{
    gmm_view from, to;
    gmm_status status;

    if ((status = check(x, out, &from, &to)) != GMM_OK || (status = check_dtypes(&to, "out", &from, "x")) != GMM_OK)
        return status;
    convert_all(&from, &to, encode);
    return GMM_OK;
}

gmm_status gmm_from_fp8(const gmm_array *x, gmm_array *out)
{
    gmm_view from, to;
    gmm_status status;

    if ((status = check(x, out, &from, &to)) != GMM_OK || (status = check_dtypes(&from, "x", &to, "out")) != GMM_OK)
        return status;
    convert_all(&from, &to, decode);
    return GMM_OK;
}
