/* checkpoint_reference.c - see checkpoint_reference.h. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint_reference.h"

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
