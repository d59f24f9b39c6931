/* fuzz_decode.c - fuzz target: any bits as codes, scales and biases of every format, decoded by gmm_dequantize. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "fuzz_input.h"

typedef struct decode_call {
    const gmm_context *context;
    gmm_quantized quantized;
    gmm_array *out;
} decode_call;

static gmm_status decode(void *arg)
{
    const decode_call *call = arg;

    return gmm_dequantize(call->context, &call->quantized, call->out);
}

/* The next quantized format, counted around the list. */
static gmm_format_info choose_format(fuzz_input *in)
{
    uint32_t skip = fuzz_pick(in, 16);
    gmm_format_info info;

    for (size_t i = 0;; i = gmm_format_at(i + 1, &info) ? i + 1 : 0)
        if (gmm_format_at(i, &info) && info.quantized && skip-- == 0)
            return info;
}

static int32_t choose_from(fuzz_input *in, const int32_t *list)
{
    uint32_t count = 0;

    while (list[count])
        count++;
    return list[fuzz_pick(in, count)];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const gmm_dtype floats[] = {GMM_F32, GMM_F16, GMM_BF16};
    fuzz_input in = fuzz_input_make(data, size);
    gmm_format_info format = choose_format(&in);
    int32_t group_size = choose_from(&in, format.group_sizes), bits = choose_from(&in, format.bits);
    int64_t batch = fuzz_size(&in, 3), rows = fuzz_size(&in, 4), groups = fuzz_size(&in, 3);
    int32_t first = fuzz_chance(&in, 3) ? 0 : 1; /* rank 3 or 2 */
    int64_t w_shape[] = {batch, rows, groups * group_size * bits / 32}, scales_shape[] = {batch, rows, groups};
    int64_t out_shape[] = {batch, rows, groups * group_size};
    gmm_dtype scales_dtype = format.has_biases ? floats[fuzz_pick(&in, 3)] : GMM_U8;
    gmm_dtype biases_dtype = fuzz_chance(&in, 8) ? floats[fuzz_pick(&in, 3)] : scales_dtype;
    fuzz_array w, scales, biases, global, out;
    gmm_array_spec spec;

    fuzz_array_make(&in, &w, FUZZ_INPUT, GMM_U32, 3 - first, w_shape + first);
    fuzz_array_make(&in, &scales, FUZZ_INPUT, scales_dtype, 3 - first, scales_shape + first);
    fuzz_array_make(&in, &biases, FUZZ_INPUT, biases_dtype, 3 - first, scales_shape + first);
    fuzz_array_make(&in, &global, FUZZ_INPUT, GMM_F32, 0, NULL);
    fuzz_array_make(&in, &out, FUZZ_OUTPUT, floats[fuzz_pick(&in, 3)], 3 - first, out_shape + first);
    biases.absent = !format.has_biases != fuzz_chance(&in, 32);
    global.absent = !fuzz_chance(&in, 4);

    fuzz_array *inputs[] = {&w, &scales, &biases, &global, NULL}, *outputs[] = {&out, NULL};
    for (size_t i = 0; inputs[i]; i++) {
        fuzz_array_spoil(&in, inputs[i]);
        fuzz_array_fill(&in, inputs[i]);
    }
    fuzz_array_spoil(&in, &out);
    fuzz_array_fill(&in, &out);

    /* What follows the choices is taken as the bits themselves. */
    for (size_t i = 0; i < 3; i++)
        for (size_t b = 0; b < inputs[i]->size_bytes && in.at < in.size; b++)
            inputs[i]->memory[b] = in.data[in.at++];

    gmm_context *context = fuzz_context_make(&in);
    decode_call call = {
        .context = context,
        .quantized = {fuzz_array_use(&w), fuzz_array_use(&scales), fuzz_array_use(&biases), fuzz_array_use(&global),
                      format.mode, group_size, bits},
        .out = fuzz_array_use(&out),
    };
    gmm_status status = fuzz_check_call(decode, &call, inputs, outputs);
    gmm_status specified = gmm_dequantize_spec(&call.quantized, &spec);
    FUZZ_REQUIRE(status != GMM_OK || specified == GMM_OK, "gmm_dequantize_spec: %d: %s", (int)specified,
                 gmm_error_detail());

    gmm_context_destroy(context);
    fuzz_array_free(&out);
    for (size_t i = 0; inputs[i]; i++)
        fuzz_array_free(inputs[i]);
    return 0;
}
