/* fuzz_calls.c - fuzz target: random problems, valid and not, for gmm_run, gmm_explain, gmm_quantize, gmm_to_fp8,
 * gmm_from_fp8. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "fuzz_input.h"

static const gmm_dtype floats[] = {GMM_F32, GMM_F16, GMM_BF16};
static const gmm_dtype integers[] = {GMM_U32, GMM_I32, GMM_I64, GMM_U64, GMM_U16, GMM_I16, GMM_U8, GMM_I8};
static const char *const modes[] = {"affine", "mxfp4", "mxfp8", "nvfp4", NULL, "f32", "", "nonsense"};

static int32_t choose_bits(fuzz_input *in, uint32_t mode)
{
    static const int32_t bits[] = {4, 8, 2, 3, 5, 6};

    if (fuzz_chance(in, 40))
        return (int32_t)fuzz_pick(in, 256) - 1;
    return mode == 0 || mode == 4 ? bits[fuzz_pick(in, 6)] : mode == 2 ? 8 : 4;
}

static int32_t choose_group_size(fuzz_input *in, uint32_t mode)
{
    static const int32_t group_sizes[] = {64, 32, 128};

    if (fuzz_chance(in, 40))
        return (int32_t)fuzz_pick(in, 256) - 1;
    return mode == 0 || mode == 4 ? group_sizes[fuzz_pick(in, 3)] : mode == 3 ? 16 : 32;
}

static uint32_t choose_mode(fuzz_input *in)
{
    return fuzz_pick(in, fuzz_chance(in, 40) ? 8 : 5);
}

/* Up to three batch axes before `rows` and `cols`. Returns the rank. */
static int32_t choose_shape(fuzz_input *in, int64_t rows, int64_t cols, int64_t *shape)
{
    static const uint32_t batches[] = {0, 1, 1, 2, 3};
    int32_t batch = (int32_t)batches[fuzz_pick(in, 5)];

    for (int32_t d = 0; d < batch; d++)
        shape[d] = fuzz_chance(in, 16) ? 0 : 1 + fuzz_pick(in, 4);
    shape[batch] = rows;
    shape[batch + 1] = cols;
    return batch + 2;
}

/* ---- products ---- */

typedef struct product_call {
    const gmm_context *context;
    gmm_product product;
    gmm_quantized quantized;
    gmm_array *out;
} product_call;

static gmm_status run(void *arg)
{
    const product_call *call = arg;

    return gmm_run(call->context, &call->product, call->out);
}

enum {
    LHS,
    RHS,
    SCALES,
    BIASES,
    GLOBAL,
    LHS_INDICES,
    RHS_INDICES,
    INPUT_COUNT
};

static int64_t matrices(const fuzz_array *operand)
{
    int64_t count = 1;

    for (int32_t d = 0; d + 2 < operand->array.ndim && operand->array.shape; d++)
        if (__builtin_mul_overflow(count, operand->shape[d], &count))
            return 1;
    return count;
}

static void make_quantized(fuzz_input *in, fuzz_array *arrays, product_call *call, int64_t *k, int64_t *n)
{
    uint32_t mode = choose_mode(in);
    int32_t bits = choose_bits(in, mode), group_size = choose_group_size(in, mode), ndim;
    bool affine = mode == 0 || mode >= 4;
    int64_t rows = fuzz_size(in, 7), groups = fuzz_size(in, 3), cols = groups * group_size, shape[8];
    gmm_dtype scales_dtype = affine ? floats[fuzz_pick(in, 3)] : GMM_U8;
    gmm_dtype biases_dtype = fuzz_chance(in, 8) ? floats[fuzz_pick(in, 3)] : scales_dtype;

    call->product.transpose = !fuzz_chance(in, 2);
    *k = call->product.transpose ? cols : rows;
    *n = call->product.transpose ? rows : cols;
    ndim = choose_shape(in, rows, cols * bits / 32, shape);
    fuzz_array_make(in, &arrays[RHS], FUZZ_INPUT, GMM_U32, ndim, shape);
    shape[ndim - 1] = groups;
    fuzz_array_make(in, &arrays[SCALES], FUZZ_INPUT, scales_dtype, ndim, shape);
    fuzz_array_make(in, &arrays[BIASES], FUZZ_INPUT, biases_dtype, ndim, shape);
    fuzz_array_make(in, &arrays[GLOBAL], FUZZ_INPUT, GMM_F32, (int32_t)fuzz_pick(in, 2), (const int64_t[]){1});
    arrays[BIASES].absent = !affine != fuzz_chance(in, 40);
    arrays[GLOBAL].absent = mode == 3 ? !fuzz_chance(in, 2) : !fuzz_chance(in, 40);
    call->quantized.mode = modes[mode];
    call->quantized.bits = bits;
    call->quantized.group_size = group_size;
}

static void make_dense(fuzz_input *in, fuzz_array *arrays, int64_t *k, int64_t *n)
{
    gmm_dtype dtype = fuzz_chance(in, 12) ? (gmm_dtype)(1 + fuzz_pick(in, 14)) : floats[fuzz_pick(in, 3)];
    int64_t shape[8];

    *k = fuzz_size(in, fuzz_chance(in, 4) ? 200 : 20);
    *n = fuzz_size(in, fuzz_chance(in, 4) ? 100 : 20);
    int32_t ndim = choose_shape(in, *k, *n, shape);
    bool vector = *n == 1 && fuzz_chance(in, 2);
    shape[vector ? 0 : ndim - 2] = *k;
    fuzz_array_make(in, &arrays[RHS], FUZZ_INPUT, dtype, vector ? 1 : ndim, shape);
    for (int i = SCALES; i <= GLOBAL; i++) {
        fuzz_array_make(in, &arrays[i], FUZZ_INPUT, GMM_F32, 0, NULL);
        arrays[i].absent = true;
    }
}

/* Two index arrays, either of which may be absent; in broadcast shapes. */
static void make_indices(fuzz_input *in, fuzz_array *arrays)
{
    int64_t shape[4], broadcast[4];
    int32_t ndim = (int32_t)fuzz_pick(in, 4);

    for (int32_t d = 0; d < ndim; d++)
        shape[d] = fuzz_chance(in, 16) ? 0 : 1 + fuzz_pick(in, 5);
    for (int i = LHS_INDICES; i <= RHS_INDICES; i++) {
        int32_t skip = ndim > 0 && fuzz_chance(in, 6) ? 1 : 0;
        for (int32_t d = 0; d < ndim; d++)
            broadcast[d] = fuzz_chance(in, 8) ? 1 : shape[d];
        fuzz_array_make(in, &arrays[i], FUZZ_INPUT, integers[fuzz_pick(in, 8)], ndim - skip, broadcast + skip);
        arrays[i].absent = fuzz_chance(in, 3);
    }
}

static void make_output(fuzz_input *in, const product_call *call, fuzz_array *out)
{
    gmm_array_spec spec = {.dtype = GMM_F32};

    if (gmm_result_spec(&call->product, &spec) != GMM_OK)
        spec = (gmm_array_spec){GMM_F32, 2, {1, 1}};
    if (fuzz_chance(in, 4))
        spec.dtype = floats[fuzz_pick(in, 3)];
    fuzz_array_make(in, out, FUZZ_OUTPUT, spec.dtype, spec.ndim, spec.shape);
    fuzz_array_spoil(in, out);
    fuzz_array_fill(in, out);
}

/* An output in an operand's memory must be refused, and nothing written. */
static void check_overlap(product_call *call, fuzz_array *const *inputs, const fuzz_array *operand, fuzz_array *out)
{
    fuzz_array *const none[] = {NULL};
    gmm_array alias = out->array;

    if (!call->out || out->size_bytes == 0 || out->size_bytes > operand->size_bytes || operand->absent)
        return;
    alias.data = operand->memory;
    call->out = &alias;
    gmm_status status = fuzz_check_call(run, call, inputs, none);
    FUZZ_REQUIRE(status != GMM_OK, "the output lies in an operand");
}

static void fuzz_product(fuzz_input *in)
{
    fuzz_array arrays[INPUT_COUNT], out, *inputs[INPUT_COUNT + 1] = {NULL}, *outputs[] = {&out, NULL};
    product_call call = {.product.size = sizeof call.product};
    int64_t k, n, shape[8];
    char text[512];
    bool quantized = fuzz_chance(in, 2);

    if (quantized)
        make_quantized(in, arrays, &call, &k, &n);
    else
        make_dense(in, arrays, &k, &n);
    int32_t ndim = choose_shape(in, fuzz_size(in, 10), k, shape);
    bool vector = fuzz_chance(in, 8);
    gmm_dtype dtype = fuzz_chance(in, 12) ? (gmm_dtype)(1 + fuzz_pick(in, 14)) : floats[fuzz_pick(in, 3)];
    fuzz_array_make(in, &arrays[LHS], FUZZ_INPUT, dtype, vector ? 1 : ndim, vector ? &k : shape);
    make_indices(in, arrays);
    for (int i = 0; i < INPUT_COUNT; i++) {
        inputs[i] = &arrays[i];
        if (!arrays[i].absent)
            fuzz_array_spoil(in, &arrays[i]);
        if (i < LHS_INDICES)
            fuzz_array_fill(in, &arrays[i]);
        else
            fuzz_array_fill_indices(in, &arrays[i], matrices(&arrays[i == LHS_INDICES ? LHS : RHS]));
    }

    gmm_context *context = fuzz_context_make(in);
    call.context = context;
    call.quantized.w = fuzz_array_use(&arrays[RHS]);
    call.quantized.scales = fuzz_array_use(&arrays[SCALES]);
    call.quantized.biases = fuzz_array_use(&arrays[BIASES]);
    call.quantized.global_scale = fuzz_array_use(&arrays[GLOBAL]);
    call.product.lhs = fuzz_array_use(&arrays[LHS]);
    call.product.rhs = quantized ? NULL : fuzz_array_use(&arrays[RHS]);
    call.product.quantized = quantized ? &call.quantized : NULL;
    call.product.lhs_indices = fuzz_array_use(&arrays[LHS_INDICES]);
    call.product.rhs_indices = fuzz_array_use(&arrays[RHS_INDICES]);
    call.product.sorted_indices = fuzz_chance(in, 2);
    make_output(in, &call, &out);
    call.out = fuzz_array_use(&out);

    gmm_status status = fuzz_check_call(run, &call, inputs, outputs);
    memset(text, 'x', sizeof text);
    size_t text_size = fuzz_chance(in, 4) ? 1 + fuzz_pick(in, 100) : sizeof text - 1;
    gmm_status explained = gmm_explain(context, &call.product, text, text_size);
    FUZZ_REQUIRE(status != GMM_OK || explained == GMM_OK, "gmm_explain: %d: %s", (int)explained, gmm_error_detail());
    FUZZ_REQUIRE(text[text_size] == 'x', "gmm_explain wrote past %zu", text_size);
    FUZZ_REQUIRE(explained != GMM_OK || memchr(text, 0, text_size), "gmm_explain: no final 0");
    check_overlap(&call, inputs, inputs[fuzz_pick(in, INPUT_COUNT)], &out);

    gmm_context_destroy(context);
    fuzz_array_free(&out);
    for (int i = 0; i < INPUT_COUNT; i++)
        fuzz_array_free(&arrays[i]);
}

/* ---- quantize, fp8 ---- */

typedef struct quantize_call {
    const gmm_context *context;
    gmm_quantize_options options;
    gmm_array *w, *w_q, *scales, *biases;
} quantize_call;

static gmm_status quantize(void *arg)
{
    const quantize_call *call = arg;

    return gmm_quantize(call->context, call->w, &call->options, call->w_q, call->scales, call->biases);
}

static void fuzz_quantize(fuzz_input *in)
{
    uint32_t mode = choose_mode(in);
    quantize_call call = {.options = {.size = sizeof call.options}};
    fuzz_array w, global, results[3], *inputs[] = {&w, &global, NULL};
    fuzz_array *outputs[] = {&results[0], &results[1], &results[2], NULL};
    gmm_array_spec specs[3] = {{GMM_U32, 2, {1, 1}}, {GMM_F32, 2, {1, 1}}, {GMM_F32, 2, {1, 1}}};
    int64_t shape[8];

    call.options.mode = modes[mode];
    call.options.bits = choose_bits(in, mode);
    call.options.group_size = choose_group_size(in, mode);
    call.options.exponent_rule = (gmm_exponent_rule)fuzz_pick(in, fuzz_chance(in, 40) ? 9 : 3);
    call.options.tie_rule = (gmm_tie_rule)fuzz_pick(in, fuzz_chance(in, 40) ? 9 : 3);
    int32_t ndim = choose_shape(in, fuzz_size(in, 5), fuzz_size(in, 3) * call.options.group_size, shape);
    fuzz_array_make(in, &w, FUZZ_INPUT, floats[fuzz_pick(in, 3)], ndim, shape);
    fuzz_array_make(in, &global, FUZZ_INPUT, GMM_F32, 0, NULL);
    global.absent = mode == 3 ? !fuzz_chance(in, 2) : !fuzz_chance(in, 40);
    for (size_t i = 0; inputs[i]; i++) {
        fuzz_array_spoil(in, inputs[i]);
        fuzz_array_fill(in, inputs[i]);
    }
    call.w = fuzz_array_use(&w);
    call.options.global_scale = fuzz_array_use(&global);
    gmm_status specified = gmm_quantize_spec(call.w, &call.options, &specs[0], &specs[1], &specs[2]);
    for (size_t i = 0; i < 3; i++) {
        bool none = specified == GMM_OK && specs[i].ndim < 0;
        fuzz_array_make(in, &results[i], FUZZ_OUTPUT, specs[i].dtype, none ? 0 : specs[i].ndim, specs[i].shape);
        results[i].absent = none != fuzz_chance(in, 40);
        if (!none)
            fuzz_array_spoil(in, &results[i]);
        fuzz_array_fill(in, &results[i]);
    }
    call.w_q = fuzz_array_use(&results[0]);
    call.scales = fuzz_array_use(&results[1]);
    call.biases = fuzz_array_use(&results[2]);
    gmm_context *context = fuzz_context_make(in);
    call.context = context;
    gmm_status status = fuzz_check_call(quantize, &call, inputs, outputs);
    FUZZ_REQUIRE(status != GMM_OK || specified == GMM_OK, "quantized without a spec");

    gmm_context_destroy(context);
    fuzz_array_free(&w);
    fuzz_array_free(&global);
    for (size_t i = 0; i < 3; i++)
        fuzz_array_free(&results[i]);
}

typedef struct fp8_call {
    gmm_status (*convert)(const gmm_array *x, gmm_array *out);
    gmm_array *x, *out;
} fp8_call;

static gmm_status convert(void *arg)
{
    const fp8_call *call = arg;

    return call->convert(call->x, call->out);
}

static void fuzz_fp8(fuzz_input *in)
{
    bool to = fuzz_chance(in, 2);
    gmm_dtype dtype = floats[fuzz_pick(in, 3)];
    fuzz_array x, out, *inputs[] = {&x, NULL}, *outputs[] = {&out, NULL};
    int64_t shape[8];
    int32_t ndim = choose_shape(in, fuzz_size(in, 20), fuzz_size(in, 20), shape);

    fuzz_array_make(in, &x, FUZZ_INPUT, to ? dtype : GMM_U8, ndim, shape);
    fuzz_array_make(in, &out, FUZZ_OUTPUT, to ? GMM_U8 : dtype, ndim, shape);
    fuzz_array_spoil(in, &x);
    fuzz_array_spoil(in, &out);
    fuzz_array_fill(in, &x);
    fuzz_array_fill(in, &out);
    fp8_call call = {to ? gmm_to_fp8 : gmm_from_fp8, fuzz_array_use(&x), fuzz_array_use(&out)};
    fuzz_check_call(convert, &call, inputs, outputs);
    fuzz_array_free(&x);
    fuzz_array_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = fuzz_input_make(data, size);

    switch (fuzz_pick(&in, 6)) {
    case 4:
        fuzz_quantize(&in);
        break;
    case 5:
        fuzz_fp8(&in);
        break;
    default:
        fuzz_product(&in);
        break;
    }
    return 0;
}
