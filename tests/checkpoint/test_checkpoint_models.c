/* test_checkpoint_models.c - models of every family: what a layer is said to be, and every element of its arrays. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_reference.h"
#include "cmocka_test.h"

/* What make_models.py puts into a model. */
typedef struct expected {
    const char *model, *family, *layout;
    size_t layers;
    int64_t numbers[2]; /* of the layers */
    int64_t experts, hidden, intermediate, shared;
    gmm_checkpoint_routing_kind routing;
    int32_t top_k;
    bool renormalise;
    float scale;
    int32_t n_group, topk_group;
    gmm_checkpoint_activation activation;
    const char *router, *weights; /* formats */
} expected;

static const expected models[] = {
    {"mixtral_hf",
     "mixtral",
     "hf",
     2,
     {0, 1},
     4,
     64,
     128,
     0,
     GMM_CHECKPOINT_TOPK_SOFTMAX,
     2,
     false,
     1,
     1,
     1,
     GMM_CHECKPOINT_SILU,
     "bf16",
     "bf16"},
    {"mixtral_mlx",
     "mixtral",
     "mlx",
     2,
     {0, 1},
     4,
     64,
     128,
     0,
     GMM_CHECKPOINT_TOPK_SOFTMAX,
     2,
     false,
     1,
     1,
     1,
     GMM_CHECKPOINT_SILU,
     "affine",
     "affine"},
    {"qwen3_moe_hf",
     "qwen3_moe",
     "hf",
     2,
     {0, 2},
     6,
     64,
     32,
     0,
     GMM_CHECKPOINT_SOFTMAX_TOPK,
     3,
     true,
     1,
     1,
     1,
     GMM_CHECKPOINT_SILU,
     "f16",
     "f16"},
    {"qwen3_moe_mlx",
     "qwen3_moe",
     "mlx",
     2,
     {0, 2},
     6,
     64,
     32,
     0,
     GMM_CHECKPOINT_SOFTMAX_TOPK,
     3,
     true,
     1,
     1,
     1,
     GMM_CHECKPOINT_SILU,
     "affine",
     "affine"},
    {"gpt_oss_hf",
     "gpt_oss",
     "hf",
     2,
     {0, 1},
     4,
     64,
     96,
     0,
     GMM_CHECKPOINT_TOPK_SOFTMAX,
     2,
     false,
     1,
     1,
     1,
     GMM_CHECKPOINT_SWIGLU_CLAMPED,
     "bf16",
     "mxfp4"},
    {"gpt_oss_dense",
     "gpt_oss",
     "hf",
     2,
     {0, 1},
     4,
     64,
     96,
     0,
     GMM_CHECKPOINT_TOPK_SOFTMAX,
     2,
     false,
     1,
     1,
     1,
     GMM_CHECKPOINT_SWIGLU_CLAMPED,
     "bf16",
     "bf16"},
    {"gpt_oss_mlx",
     "gpt_oss",
     "mlx",
     2,
     {0, 1},
     4,
     64,
     96,
     0,
     GMM_CHECKPOINT_TOPK_SOFTMAX,
     2,
     false,
     1,
     1,
     1,
     GMM_CHECKPOINT_SWIGLU_CLAMPED,
     "affine",
     "mxfp4"},
    {"deepseek_v3_hf",
     "deepseek_v3",
     "hf",
     1,
     {1},
     8,
     160,
     136,
     136,
     GMM_CHECKPOINT_SIGMOID,
     3,
     true,
     2.5f,
     4,
     2,
     GMM_CHECKPOINT_SILU,
     "bf16",
     "fp8"},
    {"deepseek_v3_mlx",
     "deepseek_v3",
     "mlx",
     1,
     {1},
     8,
     128,
     64,
     128,
     GMM_CHECKPOINT_SIGMOID,
     3,
     true,
     2.5f,
     4,
     2,
     GMM_CHECKPOINT_SILU,
     "bf16",
     "affine"},
};

#define MODELS (sizeof models / sizeof models[0])

static void check_description(const expected *e, const gmm_checkpoint_layer *l, size_t i)
{
    const gmm_checkpoint_weights *first = l->projections.gate_up.count ? &l->projections.gate_up : &l->projections.gate;

    assert_int_equal(l->number, e->numbers[i]);
    assert_string_equal(l->family, e->family);
    assert_string_equal(l->layout, e->layout);
    assert_int_equal(l->experts, e->experts);
    assert_int_equal(l->hidden, e->hidden);
    assert_int_equal(l->intermediate, e->intermediate);
    assert_int_equal(l->shared_intermediate, e->shared);
    assert_int_equal(l->routing, e->routing);
    assert_int_equal(l->top_k, e->top_k);
    assert_int_equal(l->renormalise, e->renormalise);
    assert_true(l->scale == e->scale);
    assert_int_equal(l->n_group, e->n_group);
    assert_int_equal(l->topk_group, e->topk_group);
    assert_int_equal(l->activation, e->activation);
    bool clamped = e->activation == GMM_CHECKPOINT_SWIGLU_CLAMPED;
    assert_true(l->alpha == (clamped ? 1.702f : 0.0f) && l->limit == (clamped ? 7.0f : 0.0f));
    assert_string_equal(l->router.format, e->router);
    assert_string_equal(first->format, e->weights);
    assert_string_equal(l->projections.down.format, e->weights);
    assert_int_equal(l->projections.down.count, e->experts);
    assert_int_equal(l->projections.down.rows, e->hidden);
    assert_int_equal(l->projections.down.cols, e->intermediate);
    assert_int_equal(l->shared.down.count, e->shared > 0);
    assert_int_equal(l->correction_bias != NULL, e->routing == GMM_CHECKPOINT_SIGMOID);
}

static bool is_mapped_only(const gmm_checkpoint_layer *l)
{
    return l->owned_bytes == 0;
}

static void reads_every_model(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        const expected *e = &models[m];
        gmm_checkpoint *checkpoint = open_model(model_path(e->model));
        gmm_safetensors *reference = open_reference(e->model);
        gmm_checkpoint_layer layer;
        assert_int_equal(gmm_checkpoint_layer_count(checkpoint), e->layers);
        assert_false(gmm_checkpoint_layer_at(checkpoint, e->layers, &layer));
        for (size_t i = 0; i < e->layers; i++)
            for (int stack = 0; stack < 2; stack++) {
                const gmm_checkpoint_load_options options = {.size = sizeof options, .stack = stack};
                const gmm_checkpoint_layer *loaded;
                assert_true(gmm_checkpoint_layer_at(checkpoint, i, &layer));
                check_description(e, &layer, i);
                assert_int_equal(gmm_checkpoint_layer_load(checkpoint, i, stack ? &options : NULL, &loaded), GMM_OK);
                check_description(e, loaded, i);
                check_loaded(reference, loaded);
                bool fp8 = strcmp(e->weights, "fp8") == 0, each = loaded->projections.down.each != NULL;
                assert_int_equal(each,
                                 !stack && !fp8 && strcmp(e->layout, "hf") == 0 && strcmp(e->family, "gpt_oss") != 0);
                if (!stack)
                    check_experts(checkpoint, i, loaded);
                if (!stack)
                    assert_int_equal(is_mapped_only(loaded), !fp8);
                gmm_checkpoint_layer_free(loaded);
            }
        gmm_safetensors_close(reference);
        gmm_checkpoint_close(checkpoint);
    }
}

static void decodes_fp8_to_f32(void **state)
{
    const gmm_checkpoint_load_options options = {.size = sizeof options, .fp8_dtype = GMM_F32};
    gmm_checkpoint *checkpoint = open_model(model_path("deepseek_v3_hf"));
    gmm_safetensors *reference = open_reference("deepseek_v3_hf");
    const gmm_checkpoint_layer *layer;

    (void)state;
    assert_int_equal(gmm_checkpoint_layer_load(checkpoint, 0, &options, &layer), GMM_OK);
    assert_int_equal(layer->projections.gate.rhs->dtype, GMM_F32);
    assert_int_equal(layer->owned_bytes, (8 + 1) * 3 * 160 * 136 * 4);
    double *values = decode_weights(&layer->projections.gate);
    check_part(reference, 1, "gate_f32", values, 8 * 136 * 160);
    free(values);
    gmm_checkpoint_layer_free(layer);
    gmm_safetensors_close(reference);
    gmm_checkpoint_close(checkpoint);
}

static void names_formats(void **state)
{
    gmm_checkpoint *checkpoint = open_model(model_path("mixtral_mlx"));
    gmm_checkpoint_layer layer;

    (void)state;
    assert_true(gmm_checkpoint_layer_at(checkpoint, 1, &layer));
    assert_string_equal(layer.projections.down.module, "model.layers.1.block_sparse_moe.switch_mlp.down_proj");
    assert_int_equal(layer.projections.down.bits, 6); /* config.json's override of this module */
    assert_int_equal(layer.projections.down.group_size, 32);
    assert_int_equal(layer.projections.down.file_bytes, 4 * 64 * (128 * 6 / 8 + 2 * 2 * 4));
    assert_int_equal(layer.projections.gate.bits, 4);
    assert_int_equal(layer.projections.gate.group_size, 64);
    int64_t bytes = layer.router.file_bytes + layer.projections.gate.file_bytes + layer.projections.up.file_bytes +
                    layer.projections.down.file_bytes;
    assert_int_equal(layer.file_bytes, bytes);
    gmm_checkpoint_close(checkpoint);

    checkpoint = open_model(model_path("qwen3_moe_mlx"));
    assert_true(gmm_checkpoint_layer_at(checkpoint, 0, &layer));
    assert_int_equal(layer.router.bits, 8);
    assert_int_equal(layer.router.group_size, 64);
    gmm_checkpoint_close(checkpoint);
}

static void lists_families(void **state)
{
    size_t count = 0;

    (void)state;
    for (const char *name; (name = gmm_checkpoint_family_at(count)) != NULL; count++) {
        size_t m = 0;
        while (m < MODELS && strcmp(models[m].family, name) != 0)
            m++;
        if (m == MODELS)
            fail_msg("no test has a model of family %s", name);
    }
    assert_true(count > 0);
    assert_null(gmm_checkpoint_family_at(SIZE_MAX));
}

static void opens_all_kinds_of_paths(void **state)
{
    const char *const paths[] = {"mixtral_hf/", "mixtral_hf/model.safetensors.index.json",
                                 "mixtral_mlx/model.safetensors"};

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        gmm_checkpoint *checkpoint = open_model(model_path(paths[i]));
        assert_int_equal(gmm_checkpoint_layer_count(checkpoint), 2);
        gmm_checkpoint_close(checkpoint);
    }
    char here[1024];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(model_path("mixtral_mlx")), 0);
    gmm_checkpoint_close(open_model("model.safetensors"));
    gmm_checkpoint_close(open_model("."));
    assert_int_equal(chdir(here), 0);
}

static void advises_and_counts(void **state)
{
    gmm_checkpoint *checkpoint = open_model(model_path("deepseek_v3_hf"));
    const gmm_checkpoint_layer *layer;
    gmm_checkpoint_layer described;
    int64_t resident = -1;

    (void)state;
    assert_int_equal(gmm_checkpoint_layer_load(checkpoint, 0, NULL, &layer), GMM_OK); /* reads it all */
    assert_true(gmm_checkpoint_layer_at(checkpoint, 0, &described));
    assert_int_equal(gmm_checkpoint_resident(checkpoint, 0, &resident), GMM_OK);
    /* The router and the correction bias have not been read, but the system was asked to. */
    assert_true(resident > described.file_bytes / 2 && resident <= described.file_bytes);
    for (int64_t expert = -1; expert < described.experts; expert++) {
        assert_int_equal(gmm_checkpoint_advise(checkpoint, 0, expert, GMM_CHECKPOINT_DONT_NEED), GMM_OK);
        assert_int_equal(gmm_checkpoint_advise(checkpoint, 0, expert, GMM_CHECKPOINT_WILL_NEED), GMM_OK);
    }
    gmm_safetensors *reference = open_reference("deepseek_v3_hf");
    check_loaded(reference, layer); /* as it was */
    gmm_safetensors_close(reference);
    gmm_checkpoint_layer_free(layer);
    gmm_checkpoint_close(checkpoint);
}

static void refuses_arguments(void **state)
{
    gmm_checkpoint *checkpoint = open_model(model_path("mixtral_hf")), *none = checkpoint;
    const gmm_checkpoint_load_options small = {.size = 8};
    const gmm_checkpoint_load_options f16 = {.size = sizeof f16, .fp8_dtype = GMM_F16};
    const gmm_checkpoint_layer *layer = (const gmm_checkpoint_layer *)state;
    int64_t resident = -1;

    assert_int_equal(gmm_checkpoint_open(NULL, &none), GMM_ERR_NULL);
    assert_int_equal(gmm_checkpoint_open("x", NULL), GMM_ERR_NULL);
    assert_ptr_equal(none, checkpoint);
    assert_int_equal(gmm_checkpoint_layer_load(NULL, 0, NULL, &layer), GMM_ERR_NULL);
    assert_int_equal(gmm_checkpoint_layer_load(checkpoint, 0, NULL, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_checkpoint_layer_load(checkpoint, 2, NULL, &layer), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_checkpoint_layer_load(checkpoint, 0, &small, &layer), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_checkpoint_layer_load(checkpoint, 0, &f16, &layer), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_checkpoint_expert_load(NULL, 0, 0, NULL, &layer), GMM_ERR_NULL);
    assert_int_equal(gmm_checkpoint_expert_load(checkpoint, 0, 0, NULL, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_checkpoint_expert_load(checkpoint, 2, 0, NULL, &layer), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_checkpoint_expert_load(checkpoint, 0, 4, NULL, &layer), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_checkpoint_expert_load(checkpoint, 0, -1, NULL, &layer), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_checkpoint_expert_load(checkpoint, 0, 0, &f16, &layer), GMM_ERR_ARGUMENT);
    assert_ptr_equal(layer, state);
    assert_int_equal(gmm_checkpoint_advise(checkpoint, 0, 4, GMM_CHECKPOINT_WILL_NEED), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_checkpoint_advise(checkpoint, 0, -2, GMM_CHECKPOINT_WILL_NEED), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_checkpoint_advise(checkpoint, 0, 0, (gmm_checkpoint_advice)7), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_checkpoint_advise(checkpoint, 9, 0, GMM_CHECKPOINT_WILL_NEED), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_checkpoint_resident(checkpoint, 9, &resident), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_checkpoint_resident(checkpoint, 0, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_checkpoint_resident(NULL, 0, &resident), GMM_ERR_NULL);
    assert_int_equal(resident, -1);
    assert_int_equal(gmm_checkpoint_layer_count(NULL), 0);
    gmm_checkpoint_layer_free(NULL);
    gmm_checkpoint_close(NULL);
    gmm_checkpoint_close(checkpoint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_model),
        cmocka_unit_test(decodes_fp8_to_f32),
        cmocka_unit_test(names_formats),
        cmocka_unit_test(lists_families),
        cmocka_unit_test(opens_all_kinds_of_paths),
        cmocka_unit_test(advises_and_counts),
        cmocka_unit_test(refuses_arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
