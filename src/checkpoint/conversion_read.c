/* conversion_read.c - the bytes of a conversion's tensors, from the mapped files. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "checkpoint/conversion_plan.h"
#include "checkpoint/fp8_blocks.h"
#include "cpu/fp_env.h"
#include "formats/convert.h"

/* Rows that are gathered together. */
#define ROWS_AT_A_TIME 32

/* What one call needs to know of its output. */
typedef struct reading {
    gmm_dtype dtype;
    int64_t element_bytes;
    float *values; /* of one row of packed weights */
    char *row;     /* one decoded row, for columns of it */
} reading;

/* A whole row of a coded view, `cols` elements. */
static void decode_row(const reading *r, const gmm_matrix_view *view, int64_t row, int64_t cols, char *out)
{
    if (view->kind == GMM_VIEW_FP8) {
        gmm_fp8_blocks_decode((const unsigned char *)view->data + row * view->row_stride,
                              view->scales + (view->first_row + row) / view->block[0] * view->scale_row_stride,
                              view->scales_dtype, 1, cols, view->block, r->dtype, out);
        return;
    }
    const gmm_row at = {view->data + row * view->row_stride, view->scales + row * view->scale_row_stride,
                        view->biases ? view->biases + row * view->bias_row_stride : NULL};
    view->weights.format->decode(&view->weights, at, 0, cols, r->values);
    gmm_store_run(r->dtype, r->values, cols, out, 1);
}

/* Rows of a view whose elements lie apart: so many at a time that a cache line is used whole. */
static void gather_rows(const reading *r, const gmm_matrix_view *view, int64_t first, int64_t rows, int64_t cols,
                        char *out)
{
    int64_t size = r->element_bytes;

    for (int64_t at = 0; at < rows; at += ROWS_AT_A_TIME)
        for (int64_t c = 0; c < cols; c++) {
            const char *from = view->data + (first + at) * view->row_stride + c * view->element_stride;
            for (int64_t i = at; i < rows && i < at + ROWS_AT_A_TIME; i++, from += view->row_stride)
                memcpy(out + (i * cols + c) * size, from, (size_t)size);
        }
}

/* Rows [first, first + rows) of a piece: rows of its views. */
static void read_rows(const reading *r, const gmm_piece *piece, int64_t first, int64_t rows, int64_t cols, char *out)
{
    if (piece->ways == 1 && piece->views->kind == GMM_VIEW_PLAIN && piece->views->element_stride != r->element_bytes) {
        gather_rows(r, piece->views, first, rows, cols, out);
        return;
    }
    for (int64_t i = first; i < first + rows; i++, out += cols * r->element_bytes) {
        const gmm_matrix_view *view = &piece->views[i % piece->ways];
        if (view->kind == GMM_VIEW_PLAIN)
            memcpy(out, view->data + i / piece->ways * view->row_stride, (size_t)(cols * r->element_bytes));
        else
            decode_row(r, view, i / piece->ways, cols, out);
    }
}

/* The same where the piece's rows are columns of its views, which have `cols` rows of piece->rows elements. */
static void read_columns(const reading *r, const gmm_piece *piece, int64_t first, int64_t rows, int64_t cols, char *out)
{
    for (int64_t c = 0; c < cols; c++) {
        const gmm_matrix_view *view = &piece->views[c % piece->ways];
        int64_t row = c / piece->ways, stride = view->element_stride;
        const char *from = view->data + row * view->row_stride;
        if (view->kind != GMM_VIEW_PLAIN) {
            decode_row(r, view, row, piece->rows, r->row);
            from = r->row;
            stride = r->element_bytes;
        }
        for (int64_t i = 0; i < rows; i++)
            memcpy(out + (i * cols + c) * r->element_bytes, from + (first + i) * stride, (size_t)r->element_bytes);
    }
}

/* Up to the last row, and never past it: every second row may end before the next one of its stride, where the file
 * ends too, and what is mapped behind it is not ours to drop. */
static void drop(const char *data, int64_t stride, int64_t first, int64_t rows)
{
    if (data && stride > 0 && rows > 1)
        gmm_memory_drop(data + first * stride, (size_t)((rows - 1) * stride));
}

/* What was just read lies in runs of rows, or is the matrix from end to end. */
static void drop_piece(const gmm_piece *piece, int64_t first, int64_t rows, int64_t cols)
{
    for (int32_t w = 0; w < piece->ways; w++) {
        const gmm_matrix_view *view = &piece->views[w];
        int64_t begin = piece->transposed ? 0 : first / piece->ways;
        if (view->element_stride > view->row_stride) { /* not of packed ones */
            drop(view->data, view->element_stride, 0, cols);
            continue;
        }
        int64_t count = piece->transposed ? cols / piece->ways : (first + rows) / piece->ways - begin;
        drop(view->data, view->row_stride, begin, count);
        if (view->kind == GMM_VIEW_PACKED) {
            drop(view->scales, view->scale_row_stride, begin, count);
            drop(view->biases, view->bias_row_stride, begin, count);
        }
    }
}

static gmm_status begin(reading *r, const gmm_output *out)
{
    int64_t longest = 0;
    bool packed = false, columns = false;

    for (size_t p = 0; p < out->piece_count; p++) {
        const gmm_piece *piece = &out->pieces[p];
        int64_t length = piece->transposed ? piece->rows : out->cols;
        for (int32_t w = 0; w < piece->ways; w++)
            if (piece->views[w].kind != GMM_VIEW_PLAIN) {
                longest = length > longest ? length : longest;
                packed |= piece->views[w].kind == GMM_VIEW_PACKED;
                columns |= piece->transposed;
            }
    }
    r->values = packed ? malloc((size_t)longest * sizeof(float)) : NULL;
    r->row = columns ? malloc((size_t)(longest * out->element_bytes)) : NULL;
    if ((packed && !r->values) || (columns && !r->row))
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for a row of %" PRId64 " elements", out->name, longest);
    return GMM_OK;
}

gmm_status gmm_conversion_read(const gmm_conversion *conversion, size_t i, int64_t first, int64_t rows, void *out)
{
    if (!conversion || (!out && rows > 0))
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", conversion ? "out" : "conversion");
    if (i >= conversion->count)
        return gmm_fail(GMM_ERR_ARGUMENT, "tensor %zu of %zu", i, conversion->count);
    const gmm_output *output = conversion->outputs[i];
    if (first < 0 || rows < 0 || first > output->info.rows || rows > output->info.rows - first)
        return gmm_fail(GMM_ERR_ARGUMENT, "%s: rows %" PRId64 " and %" PRId64 " more of %" PRId64, output->name, first,
                        rows, output->info.rows);
    int64_t piece_row = output->cols * output->element_bytes;
    if (piece_row == 0 || output->info.size_bytes == 0)
        return GMM_OK;
    reading r = {.dtype = output->info.dtype, .element_bytes = output->element_bytes};
    gmm_status status = begin(&r, output);
    /* From rows of the tensor to rows of its pieces. */
    int64_t each = (int64_t)output->info.row_bytes / piece_row, at = 0, begin_row = first * each,
            end_row = (first + rows) * each;
    char *to = out;
    gmm_fp_env env = gmm_fp_enter();
    for (size_t p = 0; status == GMM_OK && p < output->piece_count; p++) {
        const gmm_piece *piece = &output->pieces[p];
        int64_t from = begin_row > at ? begin_row - at : 0;
        int64_t last = end_row - at < piece->rows ? end_row - at : piece->rows;
        if (last > from) {
            (piece->transposed ? read_columns : read_rows)(&r, piece, from, last - from, output->cols, to);
            drop_piece(piece, from, last - from, output->cols);
            to += (last - from) * piece_row;
        }
        at += piece->rows;
    }
    gmm_fp_leave(env);
    free(r.values);
    free(r.row);
    return status;
}
