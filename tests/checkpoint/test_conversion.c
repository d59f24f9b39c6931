/* test_conversion.c - every model in the other layout: read again, its layers hold the same numbers; rows in any
 * pieces; what is refused. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_reference.h"
#include "cmocka_test.h"
#include "formats/numbers.h"
#include "gathermm/conversion.h"
#include "temp_folder.h"

static const char *const models[] = {"mixtral_hf",    "mixtral_mlx", "qwen3_moe_hf",   "qwen3_moe_mlx",  "gpt_oss_hf",
                                     "gpt_oss_dense", "gpt_oss_mlx", "deepseek_v3_hf", "deepseek_v3_mlx"};

#define MODELS (sizeof models / sizeof models[0])

static gmm_conversion *plan(const gmm_checkpoint *checkpoint, const char *layout, bool decode_fp8)
{
    const gmm_conversion_options options = {sizeof options, layout, decode_fp8};
    gmm_conversion *conversion = NULL;

    if (gmm_conversion_create(checkpoint, &options, &conversion) != GMM_OK)
        fail_msg("%s", gmm_error_detail());
    return conversion;
}

static const char *other_layout(const gmm_checkpoint *checkpoint)
{
    gmm_checkpoint_layer layer;

    assert_true(gmm_checkpoint_layer_at(checkpoint, 0, &layer));
    return strcmp(layer.layout, "hf") == 0 ? "mlx" : "hf";
}

/* A tensor's bytes, read `rows` rows at a time. */
static char *read_tensor(const gmm_conversion *conversion, size_t i, int64_t rows)
{
    gmm_converted t;

    assert_true(gmm_conversion_at(conversion, i, &t));
    assert_int_equal((size_t)t.rows * t.row_bytes, t.size_bytes);
    char *bytes = malloc(t.size_bytes + 1);
    assert_non_null(bytes);
    for (int64_t first = 0; first < t.rows; first += rows) {
        int64_t count = t.rows - first < rows ? t.rows - first : rows;
        assert_int_equal(gmm_conversion_read(conversion, i, first, count, bytes + (size_t)first * t.row_bytes), GMM_OK);
    }
    return bytes;
}

/* ---- written and read again ---- */

static void write_tensors(const gmm_conversion *conversion)
{
    size_t count = gmm_conversion_count(conversion);
    gmm_tensor *tensors = calloc(count, sizeof *tensors);
    gmm_safetensors_writer *writer;
    gmm_converted t;

    assert_non_null(tensors);
    for (size_t i = 0; gmm_conversion_at(conversion, i, &t); i++)
        tensors[i] = (gmm_tensor){t.name, t.dtype, t.ndim, t.shape, NULL, 0};
    assert_int_equal(gmm_safetensors_create(gmm_temp_path("model.safetensors"), tensors, count, NULL, 0, &writer),
                     GMM_OK);
    for (size_t i = 0; gmm_conversion_at(conversion, i, &t); i++) {
        char *bytes = read_tensor(conversion, i, 7);
        assert_int_equal(gmm_safetensors_append(writer, bytes, t.size_bytes), GMM_OK);
        free(bytes);
    }
    assert_int_equal(gmm_safetensors_finish(writer), GMM_OK);
    free(tensors);
}

/* The model's config.json, with the quantization of the packed modules, which are all of one format here. */
static void write_config(const gmm_conversion *conversion, const char *model)
{
    size_t size, packed = 0;
    unsigned char *config = gmm_temp_read(model_file(model, "config.json"), &size);
    char *text = malloc(size + 200);
    gmm_converted t, first = {0};

    assert_non_null(text);
    while (size > 0 && config[size - 1] != '}')
        size--;
    memcpy(text, config, size);
    for (size_t i = 0; gmm_conversion_at(conversion, i, &t); i++)
        if (t.mode && t.dtype == GMM_U32 && packed++ == 0)
            first = t;
    if (packed)
        size = size - 1 +
               (size_t)sprintf(text + size - 1,
                               ", \"quantization\": {\"mode\": \"%s\", \"bits\": %d, \"group_size\": %d}}", first.mode,
                               (int)first.bits, (int)first.group_size);
    gmm_temp_file("config.json", text, size);
    free(text);
    free(config);
}

static double rounded(double value, const char *format)
{
    if (strcmp(format, "bf16") == 0)
        return gmm_bf16_to_f32(gmm_bf16_from_f32((float)value));
    if (strcmp(format, "f16") == 0)
        return gmm_f16_to_f32(gmm_f16_from_f32((float)value));
    return value;
}

/* Row r of `part` (0: gate, 1: up) in the numbers of a projection, whether or not both are in one. */
static const double *row_of(const double *values, const gmm_checkpoint_weights *weights, int64_t row, bool fused,
                            int part)
{
    return values + (fused ? 2 * row + part : row) * weights->cols;
}

static const gmm_checkpoint_weights *part_of(const gmm_checkpoint_projections *p, int part, bool *fused)
{
    *fused = part < 2 && p->gate_up.count > 0;
    return *fused ? &p->gate_up : part == 0 ? &p->gate : part == 1 ? &p->up : &p->down;
}

static void compare_biases(const gmm_checkpoint_weights *a, const gmm_checkpoint_weights *b, bool fused_a, bool fused_b,
                           int part)
{
    double *before = decode_biases(a), *after = decode_biases(b);
    int64_t rows = a->count * (fused_a ? a->rows / 2 : a->rows);

    assert_true(!before == !after);
    for (int64_t r = 0; before && r < rows; r++)
        assert_true(before[fused_a ? 2 * r + part : r] == after[fused_b ? 2 * r + part : r]);
    free(before);
    free(after);
}

static void compare_part(const char *model, const gmm_checkpoint_projections *p, const gmm_checkpoint_projections *q,
                         int part)
{
    bool fused_a, fused_b;
    const gmm_checkpoint_weights *a = part_of(p, part, &fused_a), *b = part_of(q, part, &fused_b);

    assert_int_equal(a->count, b->count);
    if (a->count == 0)
        return;
    double *before = decode_weights(a), *after = decode_weights(b);
    int64_t rows = a->count * (fused_a ? a->rows / 2 : a->rows);
    assert_int_equal(a->cols, b->cols);
    assert_int_equal(rows, b->count * (fused_b ? b->rows / 2 : b->rows));
    for (int64_t r = 0; r < rows; r++) {
        const double *x = row_of(before, a, r, fused_a, part), *y = row_of(after, b, r, fused_b, part);
        for (int64_t c = 0; c < a->cols; c++)
            if (rounded(x[c], b->format) != y[c])
                fail_msg("%s: part %d, row %d, column %d: %.9g, then %.9g", model, part, (int)r, (int)c, x[c], y[c]);
    }
    free(before);
    free(after);
    if (!a->each && !b->each)
        compare_biases(a, b, fused_a, fused_b, part);
}

static void compare_layer(const char *model, const gmm_checkpoint *source, const gmm_checkpoint *written, size_t i)
{
    const gmm_checkpoint_layer *a, *b;

    assert_int_equal(gmm_checkpoint_layer_load(source, i, NULL, &a), GMM_OK);
    assert_int_equal(gmm_checkpoint_layer_load(written, i, NULL, &b), GMM_OK);
    assert_string_not_equal(a->layout, b->layout);
    assert_int_equal(a->number, b->number);
    for (int part = 0; part < 3; part++) {
        compare_part(model, &a->projections, &b->projections, part);
        compare_part(model, &a->shared, &b->shared, part);
    }
    const gmm_checkpoint_projections routers[] = {{.down = a->router}, {.down = b->router}};
    compare_part(model, &routers[0], &routers[1], 2);
    assert_true(!a->correction_bias == !b->correction_bias);
    if (a->correction_bias)
        assert_memory_equal(a->correction_bias->data, b->correction_bias->data, (size_t)a->experts * sizeof(float));
    gmm_checkpoint_layer_free(a);
    gmm_checkpoint_layer_free(b);
}

static void layers_hold_the_same(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        gmm_checkpoint *source = open_model(model_path(models[m]));
        gmm_conversion *conversion = plan(source, other_layout(source), false);
        write_tensors(conversion);
        write_config(conversion, models[m]);
        gmm_checkpoint *written = open_model(gmm_temp_path(""));
        assert_int_equal(gmm_checkpoint_layer_count(written), gmm_checkpoint_layer_count(source));
        for (size_t i = 0; i < gmm_checkpoint_layer_count(source); i++)
            compare_layer(models[m], source, written, i);
        gmm_checkpoint_close(written);
        gmm_conversion_free(conversion);
        gmm_checkpoint_close(source);
    }
}

/* ---- rows ---- */

static void pieces_make_the_whole(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        gmm_checkpoint *source = open_model(model_path(models[m]));
        const char *const layouts[] = {"hf", "mlx"};
        for (size_t l = 0; l < 2; l++) {
            gmm_conversion *conversion = plan(source, layouts[l], true);
            gmm_converted t;
            for (size_t i = 0; gmm_conversion_at(conversion, i, &t); i++) {
                char *whole = read_tensor(conversion, i, INT64_MAX / 2);
                for (int64_t rows = 1; rows < t.rows && rows < 100; rows = 3 * rows + 2) {
                    char *pieces = read_tensor(conversion, i, rows);
                    assert_memory_equal(whole, pieces, t.size_bytes);
                    free(pieces);
                }
                free(whole);
            }
            gmm_conversion_free(conversion);
        }
        gmm_checkpoint_close(source);
    }
}

/* ---- lists ---- */

/* Its own layout changes no byte. */
static void own_layout_is_carried(void **state)
{
    (void)state;
    gmm_checkpoint *source = open_model(model_path("gpt_oss_mlx"));
    gmm_conversion *conversion = plan(source, "mlx", false);
    gmm_converted t;
    for (size_t i = 0; gmm_conversion_at(conversion, i, &t); i++) {
        assert_int_equal(t.kind, GMM_CONVERSION_CARRIED);
        assert_false(t.stays_dense);
    }
    assert_null(gmm_conversion_left_out_at(conversion, 0));
    gmm_conversion_free(conversion);
    gmm_checkpoint_close(source);

    source = open_model(model_path("deepseek_v3_hf"));
    conversion = plan(source, "hf", false); /* fp8 too */
    for (size_t i = 0; gmm_conversion_at(conversion, i, &t); i++)
        assert_int_equal(t.kind, GMM_CONVERSION_CARRIED);
    gmm_conversion_free(conversion);
    conversion = plan(source, "mlx", false);
    assert_string_equal(gmm_conversion_left_out_at(conversion, 0), "model.layers.2.mlp.gate.weight");
    assert_null(gmm_conversion_left_out_at(conversion, 1));
    size_t dense = 0;
    for (size_t i = 0; gmm_conversion_at(conversion, i, &t); i++)
        dense += t.stays_dense;
    assert_int_equal(dense, 1); /* the router */
    gmm_conversion_free(conversion);
    gmm_checkpoint_close(source);
}

static void refuses_bad_arguments(void **state)
{
    gmm_checkpoint *source = open_model(model_path("mixtral_hf"));
    gmm_conversion_options options = {sizeof options, "mlx", false};
    gmm_conversion *conversion = NULL, *other = NULL;
    gmm_converted t;
    char bytes[1 << 14];

    (void)state;
    assert_int_equal(gmm_conversion_create(NULL, &options, &other), GMM_ERR_NULL);
    assert_int_equal(gmm_conversion_create(source, NULL, &other), GMM_ERR_NULL);
    assert_int_equal(gmm_conversion_create(source, &options, NULL), GMM_ERR_NULL);
    options.layout = NULL;
    assert_int_equal(gmm_conversion_create(source, &options, &other), GMM_ERR_NULL);
    options.layout = "gguf";
    assert_int_equal(gmm_conversion_create(source, &options, &other), GMM_ERR_ARGUMENT);
    options.layout = "mlx";
    options.size = 1;
    assert_int_equal(gmm_conversion_create(source, &options, &other), GMM_ERR_ARGUMENT);
    assert_null(other);

    conversion = plan(source, "mlx", false);
    size_t count = gmm_conversion_count(conversion);
    assert_false(gmm_conversion_at(conversion, count, &t));
    assert_true(gmm_conversion_at(conversion, count - 1, &t));
    assert_true(t.size_bytes <= sizeof bytes);
    memset(bytes, 0x5A, sizeof bytes);
    assert_int_equal(gmm_conversion_read(conversion, count, 0, 1, bytes), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_conversion_read(conversion, count - 1, -1, 1, bytes), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_conversion_read(conversion, count - 1, 0, -1, bytes), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_conversion_read(conversion, count - 1, 1, t.rows, bytes), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_conversion_read(conversion, count - 1, INT64_MAX, INT64_MAX, bytes), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_conversion_read(conversion, count - 1, 0, t.rows, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_conversion_read(NULL, 0, 0, 0, bytes), GMM_ERR_NULL);
    for (size_t i = 0; i < sizeof bytes; i++)
        assert_int_equal(bytes[i], 0x5A);
    assert_int_equal(gmm_conversion_count(NULL), 0);
    gmm_conversion_free(NULL);
    gmm_conversion_free(conversion);
    gmm_checkpoint_close(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_hold_the_same),
        cmocka_unit_test(pieces_make_the_whole),
        cmocka_unit_test(own_layout_is_carried),
        cmocka_unit_test(refuses_bad_arguments),
    };

    return cmocka_run_group_tests(tests, gmm_temp_folder_make, gmm_temp_folder_remove);
}
