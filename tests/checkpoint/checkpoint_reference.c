/* checkpoint_reference.c - see checkpoint_reference.h. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint_reference.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "cmocka_test.h"
#include "formats/numbers.h"

static char *next_path(void)
{
    static char paths[4][512];
    static int next;

    return paths[next++ % 4];
}

const char *model_path(const char *model)
{
    char *path = next_path();

    snprintf(path, 512, "%s/%s", CHECKPOINT_MODELS, model);
    return path;
}

const char *model_file(const char *model, const char *file)
{
    char *path = next_path();

    snprintf(path, 512, "%s/%s/%s", CHECKPOINT_MODELS, model, file);
    return path;
}

gmm_checkpoint *open_model(const char *path)
{
    gmm_checkpoint *checkpoint = NULL;
    gmm_status status = gmm_checkpoint_open(path, &checkpoint);

    if (status != GMM_OK)
        fail_msg("%s: status %d: %s", path, (int)status, gmm_error_detail());
    return checkpoint;
}

static double element(const char *at, gmm_dtype dtype)
{
    uint16_t half;
    float single;

    if (dtype == GMM_F32) {
        memcpy(&single, at, sizeof single);
        return single;
    }
    assert_true(dtype == GMM_BF16 || dtype == GMM_F16);
    memcpy(&half, at, sizeof half);
    return dtype == GMM_BF16 ? gmm_bf16_to_f32(half) : gmm_f16_to_f32(half);
}

double *decode_array(const gmm_array *array, int64_t *count)
{
    gmm_view view;

    assert_int_equal(gmm_view_make(array, "array", &view), GMM_OK);
    double *values = malloc((size_t)view.count * sizeof *values);
    assert_non_null(values);
    for (int64_t i = 0; i < view.count; i++)
        values[i] = element(gmm_view_at(&view, gmm_view_offset(&view, view.ndim, i)), view.dtype);
    *count = view.count;
    return values;
}

static double *decode_quantized(const gmm_quantized *quantized, int64_t *count)
{
    gmm_array_spec spec;

    assert_int_equal(gmm_dequantize_spec(quantized, &spec), GMM_OK);
    *count = 1;
    for (int32_t d = 0; d < spec.ndim; d++)
        *count *= spec.shape[d];
    float *floats = malloc((size_t)*count * sizeof *floats);
    double *values = malloc((size_t)*count * sizeof *values);
    assert_true(floats && values);
    gmm_array out = {.data = floats, .dtype = GMM_F32, .ndim = spec.ndim, .shape = spec.shape};
    gmm_status status = gmm_dequantize(NULL, quantized, &out);
    if (status != GMM_OK)
        fail_msg("status %d: %s", (int)status, gmm_error_detail());
    for (int64_t i = 0; i < *count; i++)
        values[i] = floats[i];
    free(floats);
    return values;
}

double *decode_weights(const gmm_checkpoint_weights *weights)
{
    int64_t size = weights->rows * weights->cols, count;
    double *values;

    assert_int_equal(!!weights->rhs + !!weights->quantized + !!weights->each, 1);
    if (weights->each) {
        values = malloc((size_t)(weights->count * size) * sizeof *values);
        assert_non_null(values);
        for (int64_t e = 0; e < weights->count; e++) {
            const gmm_checkpoint_matrix *m = &weights->each[e];
            assert_int_equal(!!m->rhs + !!m->quantized, 1);
            double *one = m->rhs ? decode_array(m->rhs, &count) : decode_quantized(m->quantized, &count);
            assert_int_equal(count, size);
            memcpy(values + e * size, one, (size_t)size * sizeof *values);
            free(one);
        }
        return values;
    }
    values = weights->rhs ? decode_array(weights->rhs, &count) : decode_quantized(weights->quantized, &count);
    assert_int_equal(count, weights->count * size);
    return values;
}

double *decode_biases(const gmm_checkpoint_weights *weights)
{
    int64_t count;

    if (!weights->bias)
        return NULL;
    double *values = decode_array(weights->bias, &count);
    assert_int_equal(count, weights->count * weights->rows);
    return values;
}

gmm_safetensors *open_reference(const char *model)
{
    char name[64];
    gmm_safetensors *file = NULL;

    snprintf(name, sizeof name, "%s.reference.safetensors", model);
    if (gmm_safetensors_open(model_path(name), &file) != GMM_OK)
        fail_msg("%s", gmm_error_detail());
    return file;
}

void check_part(const gmm_safetensors *reference, int64_t number, const char *part, const double *values, int64_t count)
{
    char name[64];
    gmm_tensor tensor;

    snprintf(name, sizeof name, "%" PRId64 ".%s", number, part);
    bool found = gmm_safetensors_find(reference, name, &tensor);
    if (found != (values != NULL))
        fail_msg("%s: %s", name, found ? "not read" : "nowhere");
    if (!values)
        return;
    assert_int_equal(tensor.dtype, GMM_F64);
    assert_int_equal(tensor.size_bytes, (size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) {
        double wanted;
        memcpy(&wanted, (const char *)tensor.data + i * 8, 8);
        if (memcmp(&wanted, &values[i], 8) != 0 && !(wanted == 0 && values[i] == 0))
            fail_msg("%s[%" PRId64 "] is %.17g, not %.17g", name, i, values[i], wanted);
    }
}

static void check_weights(const gmm_safetensors *reference, int64_t number, const char *part,
                          const gmm_checkpoint_weights *weights)
{
    char bias[64];

    if (weights->count == 0) {
        assert_true(!weights->rhs && !weights->quantized && !weights->each && !weights->bias);
        return;
    }
    double *values = decode_weights(weights), *biases = decode_biases(weights);
    snprintf(bias, sizeof bias, "%s_bias", part);
    check_part(reference, number, part, values, weights->count * weights->rows * weights->cols);
    check_part(reference, number, bias, biases, weights->count * weights->rows);
    free(values);
    free(biases);
}

/* Every other row of `width` numbers from row `first` on; to be freed. */
static double *alternate(const double *values, int64_t rows, int64_t width, int64_t first)
{
    double *half = malloc((size_t)(rows / 2 * width) * sizeof *half);

    assert_non_null(half);
    for (int64_t r = 0; r < rows / 2; r++)
        memcpy(half + r * width, values + (2 * r + first) * width, (size_t)width * sizeof *half);
    return half;
}

static void check_interleaved(const gmm_safetensors *reference, int64_t number, const gmm_checkpoint_weights *weights)
{
    static const char *const parts[] = {"gate", "up"}, *const biases[] = {"gate_bias", "up_bias"};
    int64_t rows = weights->count * weights->rows;

    if (weights->count == 0)
        return;
    double *all = decode_weights(weights), *bias = decode_biases(weights);
    assert_non_null(bias);
    for (int i = 0; i < 2; i++) {
        double *half = alternate(all, rows, weights->cols, i), *half_bias = alternate(bias, rows, 1, i);
        check_part(reference, number, parts[i], half, rows / 2 * weights->cols);
        check_part(reference, number, biases[i], half_bias, rows / 2);
        free(half);
        free(half_bias);
    }
    free(all);
    free(bias);
}

void check_loaded(const gmm_safetensors *reference, const gmm_checkpoint_layer *l)
{
    int64_t n = l->number, count;

    check_weights(reference, n, "router", &l->router);
    check_weights(reference, n, "gate", &l->projections.gate);
    check_weights(reference, n, "up", &l->projections.up);
    check_interleaved(reference, n, &l->projections.gate_up);
    check_weights(reference, n, "down", &l->projections.down);
    check_weights(reference, n, "shared_gate", &l->shared.gate);
    check_weights(reference, n, "shared_up", &l->shared.up);
    check_weights(reference, n, "shared_down", &l->shared.down);
    if (l->correction_bias) {
        double *values = decode_array(l->correction_bias, &count);
        check_part(reference, n, "correction", values, count);
        free(values);
    }
}

/* The biases of expert e, of a stack or of single matrices; to be freed. */
static double *bias_of(const gmm_checkpoint_weights *weights, int64_t e)
{
    const gmm_array *bias = weights->each ? weights->each[e].bias : weights->bias;
    int64_t count;

    if (!bias)
        return NULL;
    double *values = decode_array(bias, &count);
    int64_t skip = weights->each ? 0 : e * weights->rows;
    memmove(values, values + skip, (size_t)weights->rows * sizeof *values);
    return values;
}

static void check_expert(const gmm_checkpoint_weights *one, const gmm_checkpoint_weights *all, int64_t e)
{
    size_t size = (size_t)(all->rows * all->cols) * sizeof(double);

    assert_int_equal(one->count, all->count > 0);
    if (all->count == 0)
        return;
    assert_true(one->rows == all->rows && one->cols == all->cols && !one->each);
    assert_int_equal(one->file_bytes * all->count, all->file_bytes);
    assert_int_equal(one->rhs ? one->rhs->ndim : one->quantized->w->ndim, 2);
    double *values = decode_weights(one), *wanted = decode_weights(all);
    assert_memory_equal(values, wanted + e * all->rows * all->cols, size);
    double *bias = bias_of(one, 0), *bias_wanted = bias_of(all, e);
    assert_int_equal(!bias, !bias_wanted);
    if (bias)
        assert_memory_equal(bias, bias_wanted, (size_t)all->rows * sizeof *bias);
    free(values);
    free(wanted);
    free(bias);
    free(bias_wanted);
}

void check_experts(const gmm_checkpoint *checkpoint, size_t i, const gmm_checkpoint_layer *whole)
{
    for (int64_t e = 0; e < whole->experts; e++) {
        const gmm_checkpoint_layer *one;
        if (gmm_checkpoint_expert_load(checkpoint, i, e, NULL, &one) != GMM_OK)
            fail_msg("%s", gmm_error_detail());
        assert_true(one->number == whole->number && one->experts == whole->experts);
        assert_true(one->router.count == 0 && one->shared.down.count == 0 && !one->correction_bias);
        check_expert(&one->projections.gate, &whole->projections.gate, e);
        check_expert(&one->projections.up, &whole->projections.up, e);
        check_expert(&one->projections.gate_up, &whole->projections.gate_up, e);
        check_expert(&one->projections.down, &whole->projections.down, e);
        assert_true(one->owned_bytes * whole->experts <= whole->owned_bytes);
        assert_int_equal(one->owned_bytes > 0, whole->owned_bytes > 0);
        gmm_checkpoint_layer_free(one);
    }
}
