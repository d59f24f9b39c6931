/* quantize.c - gmm_quantize and gmm_dequantize: check the arguments, then share groups and rows between threads. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "core/call.h"
#include "core/weights.h"
#include "cpu/cpu.h"
#include "formats/convert.h"
#include "formats/format.h"
#include "threads/parallel.h"

#define SHAPE_TEXT 160

/* Elements that a task handles: large enough to forget the cost of handing it out, small enough for every thread to get
 * some. */
#define TASK_ELEMENTS 32768

/* Elements decoded at a time, on the stack; a multiple of every group size. */
#define PIECE 512

/* ---- outputs ---------------------------------------------------------------------------------------------------- */

/* An output must have the type and shape of its spec, and memory of its own. */
static gmm_status check_output(const gmm_array *array, const char *name, const gmm_array_spec *spec, gmm_view *view)
{
    char have[SHAPE_TEXT], want[SHAPE_TEXT];
    gmm_status status = gmm_view_make(array, name, view);

    if (status != GMM_OK)
        return status;
    if (view->dtype != spec->dtype)
        return gmm_fail(GMM_ERR_DTYPE, "%s has type %s; it must be %s", name, gmm_dtype_name(view->dtype),
                        gmm_dtype_name(spec->dtype));
    if (view->ndim != spec->ndim || memcmp(view->shape, spec->shape, (size_t)spec->ndim * sizeof spec->shape[0]) != 0)
        return gmm_fail(GMM_ERR_SHAPE, "%s has shape %s; it must be %s", name,
                        gmm_shape_text(view->shape, view->ndim, have, sizeof have),
                        gmm_shape_text(spec->shape, spec->ndim, want, sizeof want));
    return gmm_view_check_writable(view, name);
}

static void spec_like(const gmm_view *view, gmm_dtype dtype, int64_t last, gmm_array_spec *spec)
{
    spec->dtype = dtype;
    spec->ndim = view->ndim;
    memcpy(spec->shape, view->shape, (size_t)view->ndim * sizeof view->shape[0]);
    spec->shape[view->ndim - 1] = last;
}

/* ---- quantize ---------------------------------------------------------------------------------------------------- */

typedef struct {
    const gmm_format *format;
    gmm_quantizer quantizer;
    gmm_view w, w_q, scales, biases; /* biases.ndim is -1 without biases */
    int64_t row_groups, groups;      /* of a row, of the whole */
    int64_t task_groups;
} quantize_call;

static gmm_status check_rules(const gmm_quantize_options *options, gmm_quantizer *quantizer)
{
    switch (options->exponent_rule) {
    case GMM_EXPONENT_DEFAULT:
    case GMM_EXPONENT_UP:
        quantizer->exponent_rule = GMM_EXPONENT_UP;
        break;
    case GMM_EXPONENT_NEAREST:
        quantizer->exponent_rule = GMM_EXPONENT_NEAREST;
        break;
    default:
        return gmm_fail(GMM_ERR_ARGUMENT, "exponent_rule is %d; it may be 0 to %d", (int)options->exponent_rule,
                        GMM_EXPONENT_UP);
    }
    switch (options->tie_rule) {
    case GMM_TIES_DEFAULT:
    case GMM_TIES_SMALLER:
        quantizer->tie_rule = GMM_TIES_SMALLER;
        break;
    case GMM_TIES_EVEN:
        quantizer->tie_rule = GMM_TIES_EVEN;
        break;
    default:
        return gmm_fail(GMM_ERR_ARGUMENT, "tie_rule is %d; it may be 0 to %d", (int)options->tie_rule, GMM_TIES_EVEN);
    }
    return GMM_OK;
}

static gmm_status check_options(const gmm_quantize_options *options, quantize_call *call)
{
    static const gmm_quantize_options defaults = {.size = sizeof defaults};
    gmm_quantizer *quantizer = &call->quantizer;
    gmm_status status;

    if (!options)
        options = &defaults;
    if (options->size != sizeof *options)
        return gmm_fail(GMM_ERR_ARGUMENT, "options->size is %zu; it must be %zu", options->size, sizeof *options);
    if ((status = gmm_format_resolve(options->mode, options->group_size, options->bits, &call->format,
                                     &quantizer->group_size, &quantizer->bits)) != GMM_OK ||
        (status = check_rules(options, quantizer)) != GMM_OK)
        return status;
    quantizer->has_global = options->global_scale != NULL;
    return gmm_weights_global_scale(options->global_scale, call->format, &quantizer->global_scale);
}

static gmm_status check_input(const gmm_array *w, quantize_call *call)
{
    int32_t group_size = call->quantizer.group_size;
    gmm_status status = gmm_view_make(w, "w", &call->w);
    int64_t cols;

    if (status != GMM_OK)
        return status;
    if (!gmm_is_float(call->w.dtype))
        return gmm_fail(GMM_ERR_DTYPE, "w has type %s; it must be F32, F16 or BF16", gmm_dtype_name(call->w.dtype));
    if (call->w.ndim < 2)
        return gmm_fail(GMM_ERR_SHAPE, "w has rank %" PRId32 "; it must be at least 2", call->w.ndim);
    cols = call->w.shape[call->w.ndim - 1];
    if (cols % group_size)
        return gmm_fail(GMM_ERR_SHAPE,
                        "the last axis of w has %" PRId64 " elements, no multiple of group_size %" PRId32, cols,
                        group_size);
    call->quantizer.dtype = call->w.dtype;
    call->row_groups = cols / group_size;
    call->groups = call->w.count / group_size;
    return GMM_OK;
}

static gmm_status quantize_specs(const gmm_array *w, const gmm_quantize_options *options, quantize_call *call,
                                 gmm_array_spec *w_q, gmm_array_spec *scales, gmm_array_spec *biases)
{
    gmm_status status;
    int64_t group_words;

    if ((status = check_options(options, call)) != GMM_OK || (status = check_input(w, call)) != GMM_OK)
        return status;
    group_words = call->quantizer.group_size * call->quantizer.bits / 32;
    spec_like(&call->w, GMM_U32, call->row_groups * group_words, w_q);
    spec_like(&call->w, call->format->has_biases ? call->w.dtype : GMM_U8, call->row_groups, scales);
    if (call->format->has_biases)
        *biases = *scales;
    else
        biases->ndim = -1;
    return GMM_OK;
}

/* Outputs and inputs must lie apart, each from each. */
static gmm_status check_apart(const gmm_quantize_options *options, const quantize_call *call)
{
    const gmm_view *views[] = {&call->w_q, &call->scales, &call->biases, &call->w, NULL};
    const char *const names[] = {"w_q", "scales", "biases", "w", "global_scale"};
    gmm_view global;
    gmm_status status;

    if (call->quantizer.has_global) {
        if ((status = gmm_view_make(options->global_scale, "global_scale", &global)) != GMM_OK)
            return status;
        views[4] = &global;
    }
    for (int out = 0; out < 3; out++)
        for (int other = out + 1; other < 5; other++) {
            if (!views[other] || views[out]->ndim < 0 || views[other]->ndim < 0)
                continue;
            status = gmm_views_check_apart(views[out], names[out], views[other], names[other]);
            if (status != GMM_OK)
                return status;
        }
    return GMM_OK;
}

/* Codes, one a byte, into words of `bits` bits each, the first code lowest. */
static void pack(const uint8_t *codes, int32_t count, int32_t bits, uint32_t *words)
{
    uint64_t stream = 0;
    int32_t held = 0;

    for (int32_t i = 0; i < count; i++) {
        stream |= (uint64_t)codes[i] << held;
        held += bits;
        if (held >= 32) {
            *words++ = (uint32_t)stream;
            stream >>= 32;
            held -= 32;
        }
    }
}

/* Element `at` of the last axis of row `row`. */
static char *element(const gmm_view *view, int64_t row, int64_t at)
{
    int64_t offset = gmm_view_offset(view, view->ndim - 1, row);

    return gmm_view_at(view, offset + at * view->strides[view->ndim - 1]);
}

static void store_scale(const gmm_view *view, int64_t row, int64_t group, uint32_t bits)
{
    char *to = element(view, row, group);
    uint16_t half = (uint16_t)bits;

    if (view->element_bytes == 4)
        memcpy(to, &bits, 4);
    else if (view->element_bytes == 2)
        memcpy(to, &half, 2);
    else
        *(uint8_t *)to = (uint8_t)bits;
}

static void quantize_group(const quantize_call *call, int64_t row, int64_t number)
{
    const gmm_quantizer *quantizer = &call->quantizer;
    int64_t group_words = quantizer->group_size * quantizer->bits / 32;
    int64_t word_stride = call->w_q.strides[call->w_q.ndim - 1];
    const gmm_view *w = &call->w;
    float values[128];
    uint32_t words[32];
    gmm_group group;
    char *to = element(&call->w_q, row, number * group_words);

    gmm_load_run(w->dtype, GMM_F32, element(w, row, number * quantizer->group_size), w->strides[w->ndim - 1],
                 quantizer->group_size, values);
    call->format->quantize(quantizer, values, &group);
    pack(group.codes, quantizer->group_size, quantizer->bits, words);
    for (int64_t i = 0; i < group_words; i++)
        memcpy(to + i * word_stride * 4, &words[i], 4);
    store_scale(&call->scales, row, number, group.scale);
    if (call->biases.ndim >= 0)
        store_scale(&call->biases, row, number, group.bias);
}

static void quantize_task(void *arg, int64_t task)
{
    const quantize_call *call = arg;
    int64_t begin = task * call->task_groups, end = begin + call->task_groups;

    if (end > call->groups)
        end = call->groups;
    for (int64_t i = begin; i < end; i++)
        quantize_group(call, i / call->row_groups, i % call->row_groups);
}

gmm_status gmm_quantize(const gmm_context *context, const gmm_array *w, const gmm_quantize_options *options,
                        gmm_array *w_q, gmm_array *scales, gmm_array *biases)
{
    quantize_call call = {0};
    gmm_array_spec w_q_spec, scales_spec, biases_spec;
    gmm_status status;

    if ((status = quantize_specs(w, options, &call, &w_q_spec, &scales_spec, &biases_spec)) != GMM_OK ||
        (status = check_output(w_q, "w_q", &w_q_spec, &call.w_q)) != GMM_OK ||
        (status = check_output(scales, "scales", &scales_spec, &call.scales)) != GMM_OK)
        return status;
    call.biases.ndim = -1;
    if (call.format->has_biases)
        status = check_output(biases, "biases", &biases_spec, &call.biases);
    else if (biases)
        status = gmm_fail(GMM_ERR_ARGUMENT, "biases is given; mode %s has none", call.format->name);
    if (status != GMM_OK || (status = check_apart(options, &call)) != GMM_OK)
        return status;
    call.task_groups = TASK_ELEMENTS / call.quantizer.group_size;
    gmm_parallel(context, (call.groups + call.task_groups - 1) / call.task_groups, quantize_task, &call);
    return GMM_OK;
}

gmm_status gmm_quantize_spec(const gmm_array *w, const gmm_quantize_options *options, gmm_array_spec *w_q,
                             gmm_array_spec *scales, gmm_array_spec *biases)
{
    quantize_call call = {0};
    gmm_array_spec specs[3];
    gmm_status status;

    if (!w_q || !scales || !biases)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", !w_q ? "w_q" : !scales ? "scales" : "biases");
    if ((status = quantize_specs(w, options, &call, &specs[0], &specs[1], &specs[2])) != GMM_OK)
        return status;
    *w_q = specs[0];
    *scales = specs[1];
    *biases = specs[2];
    return GMM_OK;
}

/* ---- dequantize -------------------------------------------------------------------------------------------------- */

typedef struct {
    gmm_weights weights;
    gmm_view w, scales, biases, out;
    int64_t rows, cols; /* of one matrix */
    int64_t all_rows;   /* of all matrices */
    int64_t task_cols;  /* columns of a task, a multiple of PIECE */
    int64_t task_rows;  /* rows of a task */
    int64_t row_tasks;  /* tasks along a row */
    gmm_decode *decode;
} dequantize_call;

static gmm_status check_weights(const gmm_quantized *w, dequantize_call *call, gmm_array_spec *spec)
{
    gmm_status status =
        gmm_weights_check(w, &call->weights, &call->w, &call->scales, &call->biases, &call->rows, &call->cols);
    gmm_dtype dtype = GMM_BF16;

    if (status != GMM_OK)
        return status;
    if (call->weights.format->has_biases)
        dtype = gmm_promote(call->weights.scales_dtype, call->weights.biases_dtype);
    spec_like(&call->w, dtype, call->cols, spec);
    return GMM_OK;
}

/* The output's type is the caller's choice, and its memory apart from every operand's. */
static gmm_status check_dequantized(const gmm_quantized *w, const gmm_array *out, gmm_array_spec *spec,
                                    dequantize_call *call)
{
    gmm_status status;

    if (!out)
        return gmm_fail(GMM_ERR_NULL, "out is NULL");
    if (gmm_is_float(out->dtype))
        spec->dtype = out->dtype;
    if ((status = check_output(out, "out", spec, &call->out)) != GMM_OK)
        return status;
    return gmm_weights_check_apart(&call->out, w, &call->w, &call->scales, &call->biases);
}

static void dequantize_row(const dequantize_call *call, int64_t number, int64_t begin, int64_t end)
{
    gmm_weights_offsets at = gmm_weights_matrix(&call->w, &call->scales, &call->biases, number / call->rows);
    gmm_row row = gmm_weights_row(&call->w, &call->scales, &call->biases, at, number % call->rows);
    float values[PIECE];

    for (int64_t col = begin; col < end; col += PIECE) {
        int64_t count = end - col < PIECE ? end - col : PIECE;
        call->decode(&call->weights, row, col, count, values);
        gmm_store_run(call->out.dtype, values, count, element(&call->out, number, col),
                      call->out.strides[call->out.ndim - 1]);
    }
}

static void dequantize_task(void *arg, int64_t task)
{
    const dequantize_call *call = arg;
    int64_t first = task / call->row_tasks * call->task_rows, begin = task % call->row_tasks * call->task_cols;
    int64_t last = call->all_rows - first < call->task_rows ? call->all_rows : first + call->task_rows;
    int64_t end = call->cols - begin < call->task_cols ? call->cols : begin + call->task_cols;

    for (int64_t row = first; row < last; row++)
        dequantize_row(call, row, begin, end);
}

/* Short rows are taken several to a task, long ones are cut. */
static int64_t cut_dequantize(dequantize_call *call)
{
    call->all_rows = call->out.count / call->cols;
    call->task_cols = TASK_ELEMENTS;
    call->task_rows = call->cols < TASK_ELEMENTS ? TASK_ELEMENTS / call->cols : 1;
    call->row_tasks = (call->cols + call->task_cols - 1) / call->task_cols;
    return (call->all_rows + call->task_rows - 1) / call->task_rows * call->row_tasks;
}

gmm_status gmm_dequantize(const gmm_context *context, const gmm_quantized *w, gmm_array *out)
{
    dequantize_call call = {0};
    gmm_array_spec spec;
    gmm_status status;
    uint32_t features;

    if ((status = check_weights(w, &call, &spec)) != GMM_OK ||
        (status = check_dequantized(w, out, &spec, &call)) != GMM_OK ||
        (status = gmm_cpu_usable(context, &features)) != GMM_OK)
        return status;
    call.decode = gmm_decode_choose(&call.weights, features);
    if (call.out.count > 0)
        gmm_parallel(context, cut_dequantize(&call), dequantize_task, &call);
    return GMM_OK;
}

gmm_status gmm_dequantize_spec(const gmm_quantized *w, gmm_array_spec *out)
{
    dequantize_call call = {0};
    gmm_array_spec spec;
    gmm_status status;

    if (!out)
        return gmm_fail(GMM_ERR_NULL, "out is NULL");
    if ((status = check_weights(w, &call, &spec)) != GMM_OK)
        return status;
    *out = spec;
    return GMM_OK;
}
