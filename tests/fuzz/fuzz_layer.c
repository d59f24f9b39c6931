/* fuzz_layer.c - see fuzz_layer.h. */
/* SPDX-License-Identifier: MIT */
#include "fuzz_layer.h"

#include <string.h>

#include "fuzz_file.h"
#include "gathermm/checkpoint.h"
#include "gathermm/conversion.h"

/* The bytes from the first to the last element, read. All strides here are positive. */
static int64_t touch(const gmm_array *array)
{
    int64_t last = 0, count = 1, row_major = 1;

    if (!array)
        return 0;
    for (int32_t d = array->ndim - 1; d >= 0; d--) {
        FUZZ_REQUIRE(array->shape[d] > 0, "shape[%d] is %lld", (int)d, (long long)array->shape[d]);
        last += (array->shape[d] - 1) * (array->strides ? array->strides[d] : row_major);
        row_major *= array->shape[d];
        count *= array->shape[d];
    }
    fuzz_file_touch(array->data, (size_t)((last + 1) * gmm_dtype_bits(array->dtype) / 8));
    return count;
}

/* Of the elements of one description: `count` times (rows, cols). */
static void check_matrix(const gmm_array *rhs, const gmm_quantized *quantized, const gmm_array *bias, int64_t count,
                         int64_t rows, int64_t cols)
{
    gmm_array_spec spec;
    int64_t elements = 1;

    FUZZ_REQUIRE(!rhs != !quantized, "dense and quantized");
    FUZZ_REQUIRE(!rhs || touch(rhs) == count * rows * cols, "dense: not %lld elements", (long long)count);
    FUZZ_REQUIRE(!bias || touch(bias) == count * rows, "bias: not %lld elements", (long long)(count * rows));
    if (!quantized)
        return;
    touch(quantized->w);
    touch(quantized->scales);
    touch(quantized->biases);
    FUZZ_REQUIRE(gmm_dequantize_spec(quantized, &spec) == GMM_OK, "%s", gmm_error_detail());
    for (int32_t d = 0; d < spec.ndim; d++)
        elements *= spec.shape[d];
    FUZZ_REQUIRE(elements == count * rows * cols, "quantized: not %lld elements", (long long)elements);
}

static void check_weights(const gmm_checkpoint_weights *w)
{
    if (w->count == 0) {
        FUZZ_REQUIRE(!w->rhs && !w->quantized && !w->each && !w->bias, "arrays of what is not there");
        return;
    }
    FUZZ_REQUIRE(w->module && w->format && w->rows > 0 && w->cols > 0 && w->file_bytes > 0, "not described");
    if (!w->each) {
        check_matrix(w->rhs, w->quantized, w->bias, w->count, w->rows, w->cols);
        return;
    }
    FUZZ_REQUIRE(!w->rhs && !w->quantized && !w->bias, "single matrices and a stack");
    for (int64_t e = 0; e < w->count; e++)
        check_matrix(w->each[e].rhs, w->each[e].quantized, w->each[e].bias, 1, w->rows, w->cols);
}

static void check_projections(const gmm_checkpoint_projections *p)
{
    check_weights(&p->gate);
    check_weights(&p->up);
    check_weights(&p->gate_up);
    check_weights(&p->down);
}

/* What was loaded is a layer that runs can be planned for. */
static void describe(const gmm_checkpoint_layer *layer)
{
    const gmm_moe_layer *moe = NULL;
    gmm_moe_info info;

    FUZZ_REQUIRE(gmm_moe_layer_from_checkpoint(layer, &moe) == GMM_OK, "%s", gmm_error_detail());
    FUZZ_REQUIRE(gmm_moe_describe(moe, &info) == GMM_OK, "%s", gmm_error_detail());
    FUZZ_REQUIRE(info.experts == layer->experts && info.hidden == layer->hidden, "another layer");
    gmm_moe_layer_free(moe);
}

static void load(const gmm_checkpoint *checkpoint, size_t i, bool stack, gmm_dtype fp8_dtype)
{
    const gmm_checkpoint_load_options options = {.size = sizeof options, .stack = stack, .fp8_dtype = fp8_dtype};
    const gmm_checkpoint_layer *layer = NULL;

    gmm_status status = gmm_checkpoint_layer_load(checkpoint, i, &options, &layer);
    if (status != GMM_OK) {
        FUZZ_REQUIRE(!layer && stack && status == GMM_ERR_FORMAT, "status %d: %s", (int)status, gmm_error_detail());
        return;
    }
    check_weights(&layer->router);
    check_projections(&layer->projections);
    check_projections(&layer->shared);
    FUZZ_REQUIRE(!layer->correction_bias || touch(layer->correction_bias) == layer->experts, "correction_bias");
    FUZZ_REQUIRE(layer->top_k > 0 && layer->top_k <= layer->experts, "top_k %d", (int)layer->top_k);
    describe(layer);
    gmm_checkpoint_layer_free(layer);
}

static void load_expert(const gmm_checkpoint *checkpoint, size_t i, int64_t expert)
{
    const gmm_checkpoint_layer *layer = NULL;

    gmm_status status = gmm_checkpoint_expert_load(checkpoint, i, expert, NULL, &layer);
    FUZZ_REQUIRE(status == GMM_OK, "status %d: %s", (int)status, gmm_error_detail());
    FUZZ_REQUIRE(layer->projections.down.count == 1 && !layer->projections.down.each, "not one expert");
    check_projections(&layer->projections);
    gmm_checkpoint_layer_free(layer);
}

/* It is refused, or every tensor of the other layout can be read to the last byte. */
static void convert(const gmm_checkpoint *checkpoint, const char *layout)
{
    const gmm_conversion_options options = {.size = sizeof options, .layout = layout};
    gmm_conversion *conversion = NULL;
    gmm_converted tensor;

    gmm_status status = gmm_conversion_create(checkpoint, &options, &conversion);
    if (status != GMM_OK) {
        FUZZ_REQUIRE(!conversion && (status == GMM_ERR_ARGUMENT || status == GMM_ERR_FORMAT ||
                                     status == GMM_ERR_MALFORMED || status == GMM_ERR_SIZE || status == GMM_ERR_MEMORY),
                     "status %d: %s", (int)status, gmm_error_detail());
        return;
    }
    for (size_t i = 0; gmm_conversion_at(conversion, i, &tensor); i++) {
        FUZZ_REQUIRE(tensor.size_bytes == (size_t)tensor.rows * tensor.row_bytes, "%s: rows", tensor.name);
        void *bytes = malloc(tensor.size_bytes + 1);
        FUZZ_REQUIRE(bytes, "no memory for %zu bytes", tensor.size_bytes);
        if (tensor.rows > 0)
            FUZZ_REQUIRE(gmm_conversion_read(conversion, i, 0, tensor.rows, bytes) == GMM_OK, "%s", gmm_error_detail());
        fuzz_file_touch(bytes, tensor.size_bytes);
        free(bytes);
    }
    gmm_conversion_free(conversion);
}

void fuzz_checkpoint_open(const char *path)
{
    gmm_checkpoint *checkpoint = NULL;
    gmm_checkpoint_layer layer;
    int64_t resident;

    gmm_status status = gmm_checkpoint_open(path, &checkpoint);
    if (status != GMM_OK) {
        FUZZ_REQUIRE(!checkpoint && (status == GMM_ERR_MALFORMED || status == GMM_ERR_FILE ||
                                     status == GMM_ERR_ARGUMENT || status == GMM_ERR_MEMORY),
                     "status %d", (int)status);
        FUZZ_REQUIRE(strstr(gmm_error_detail(), path), "the path is not named: %s", gmm_error_detail());
        return;
    }
    for (size_t i = 0; i < gmm_checkpoint_layer_count(checkpoint); i++) {
        FUZZ_REQUIRE(gmm_checkpoint_layer_at(checkpoint, i, &layer), "layer %zu", i);
        load(checkpoint, i, false, GMM_BF16);
        load(checkpoint, i, true, GMM_F32);
        load_expert(checkpoint, i, 0);
        load_expert(checkpoint, i, layer.experts - 1);
        FUZZ_REQUIRE(gmm_checkpoint_advise(checkpoint, i, layer.experts - 1, GMM_CHECKPOINT_DONT_NEED) == GMM_OK, "%s",
                     gmm_error_detail());
        FUZZ_REQUIRE(gmm_checkpoint_resident(checkpoint, i, &resident) == GMM_OK && resident <= layer.file_bytes,
                     "resident");
    }
    convert(checkpoint, "hf");
    convert(checkpoint, "mlx");
    gmm_checkpoint_close(checkpoint);
}
