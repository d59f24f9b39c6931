/* test_checkpoint_gguf.c - GGUF files: what their layers are, every element of their arrays, and what they give. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_moe.h"
#include "checkpoint_reference.h"
#include "cmocka_test.h"
#include "gathermm/conversion.h"

/* What make_gguf_models.py puts into a model. */
typedef struct expected {
    const char *model, *file, *family;
    size_t layers;
    int64_t first; /* the number of the first */
    int64_t experts, hidden, inner, shared;
    gmm_checkpoint_routing_kind routing;
    gmm_checkpoint_activation activation;
    const char *formats[4]; /* router, gate, up, down */
    int32_t bits[4];
    int64_t owned; /* of the last layer */
} expected;

static const expected models[] = {
    /* Q4_0 is 4 bits and two f16 for 32 elements; with a scale of -9000, whose bias f16 has not, two f32. */
    {"llama_q4",
     "llama_q4.gguf",
     "mixtral",
     2,
     0,
     4,
     64,
     96,
     0,
     GMM_CHECKPOINT_TOPK_SOFTMAX,
     GMM_CHECKPOINT_SILU,
     {"f32", "affine", "affine", "affine"},
     {0, 4, 4, 4},
     4 * 64 * 96 / 32 * (20 + 24 + 20)},
    {"llama_dense",
     "llama_dense.gguf",
     "mixtral",
     2,
     0,
     4,
     64,
     96,
     0,
     GMM_CHECKPOINT_TOPK_SOFTMAX,
     GMM_CHECKPOINT_SILU,
     {"f32", "f16", "bf16", "f32"},
     {0, 0, 0, 0},
     0},
    {"llama_split",
     "llama_split-00001-of-00003.gguf",
     "mixtral",
     2,
     0,
     4,
     64,
     96,
     0,
     GMM_CHECKPOINT_TOPK_SOFTMAX,
     GMM_CHECKPOINT_SILU,
     {"f16", "affine", "affine", "affine"},
     {0, 8, 4, 8},
     4 * 64 * 96 / 32 * (36 + 20 + 36)},
    {"qwen3moe_q5",
     "qwen3moe_q5.gguf",
     "qwen3_moe",
     1,
     0,
     6,
     64,
     64,
     0,
     GMM_CHECKPOINT_SOFTMAX_TOPK,
     GMM_CHECKPOINT_SILU,
     {"f32", "affine", "affine", "affine"},
     {0, 5, 5, 8},
     6 * 64 * 64 / 32 * (24 + 24 + 36)},
    {"qwen3moe_nvfp4",
     "qwen3moe_nvfp4.gguf",
     "qwen3_moe",
     1,
     0,
     6,
     64,
     64,
     0,
     GMM_CHECKPOINT_SOFTMAX_TOPK,
     GMM_CHECKPOINT_SILU,
     {"bf16", "nvfp4", "nvfp4", "nvfp4"},
     {0, 4, 4, 4},
     6 * 64 * 64 / 16 * 3 * 9},
    {"gpt_oss_mxfp4",
     "gpt_oss_mxfp4.gguf",
     "gpt_oss",
     2,
     0,
     4,
     64,
     96,
     0,
     GMM_CHECKPOINT_TOPK_SOFTMAX,
     GMM_CHECKPOINT_SWIGLU_CLAMPED,
     {"f32", "mxfp4", "mxfp4", "mxfp4"},
     {0, 4, 4, 4},
     4 * 64 * 96 / 32 * 3 * 17},
    {"deepseek2_q8",
     "deepseek2_q8.gguf",
     "deepseek_v3",
     1,
     1,
     8,
     64,
     32,
     64,
     GMM_CHECKPOINT_SIGMOID,
     GMM_CHECKPOINT_SILU,
     {"f32", "affine", "affine", "affine"},
     {0, 8, 8, 4},
     8 * 64 * 32 / 32 * (36 + 36 + 20)},
};

#define MODELS (sizeof models / sizeof models[0])

static void check_described(const expected *e, const gmm_checkpoint_layer *l, size_t i)
{
    const gmm_checkpoint_weights *weights[] = {&l->router, &l->projections.gate, &l->projections.up,
                                               &l->projections.down};

    assert_string_equal(l->family, e->family);
    assert_string_equal(l->layout, "gguf");
    assert_int_equal(l->number, e->first + (int64_t)i);
    assert_int_equal(l->experts, e->experts);
    assert_int_equal(l->hidden, e->hidden);
    assert_int_equal(l->intermediate, e->inner);
    assert_int_equal(l->shared_intermediate, e->shared);
    assert_int_equal(l->routing, e->routing);
    assert_int_equal(l->activation, e->activation);
    for (int w = 0; w < 4; w++) {
        assert_string_equal(weights[w]->format, e->formats[w]);
        assert_int_equal(weights[w]->bits, e->bits[w]);
    }
    if (e->routing == GMM_CHECKPOINT_SIGMOID) {
        assert_int_equal(l->n_group, 4);
        assert_int_equal(l->topk_group, 2);
        assert_true(l->renormalise && l->scale == 2.5f && l->correction_bias);
    } else {
        assert_true(l->n_group == 1 && l->scale == 1 && !l->correction_bias);
        assert_int_equal(l->renormalise, e->routing == GMM_CHECKPOINT_SOFTMAX_TOPK);
    }
}

static void reads_every_model(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        const expected *e = &models[m];
        char path[512];
        gmm_checkpoint_layer layer;
        const gmm_checkpoint_layer *loaded;
        snprintf(path, sizeof path, "%s/%s", GGUF_MODELS, e->file);
        gmm_checkpoint *checkpoint = open_model(path);
        snprintf(path, sizeof path, "%s/%s.reference.safetensors", GGUF_MODELS, e->model);
        gmm_safetensors *reference = NULL;
        if (gmm_safetensors_open(path, &reference) != GMM_OK)
            fail_msg("%s", gmm_error_detail());
        assert_int_equal(gmm_checkpoint_layer_count(checkpoint), e->layers);
        for (size_t i = 0; i < e->layers; i++) {
            assert_true(gmm_checkpoint_layer_at(checkpoint, i, &layer));
            check_described(e, &layer, i);
            if (gmm_checkpoint_layer_load(checkpoint, i, NULL, &loaded) != GMM_OK)
                fail_msg("%s", gmm_error_detail());
            check_described(e, loaded, i);
            check_loaded(reference, loaded);
            check_output(reference, loaded);
            check_experts(checkpoint, i, loaded);
            if (i == e->layers - 1)
                assert_int_equal(loaded->owned_bytes, e->owned);
            gmm_checkpoint_layer_free(loaded);
        }
        gmm_safetensors_close(reference);
        gmm_checkpoint_close(checkpoint);
    }
}

static void describes_files(void **state)
{
    gmm_checkpoint *checkpoint = open_model(GGUF_MODELS "/llama_q4.gguf");
    gmm_checkpoint_layer layer;
    int64_t resident;

    (void)state;
    assert_true(gmm_checkpoint_layer_at(checkpoint, 1, &layer));
    assert_string_equal(layer.projections.down.module, "blk.1.ffn_down_exps");
    assert_int_equal(layer.projections.down.group_size, 32);
    assert_int_equal(layer.projections.gate.file_bytes, 4 * 64 * 96 / 32 * 18);
    assert_int_equal(layer.projections.down.file_bytes, 4 * 64 * 96 / 32 * 20);
    assert_int_equal(layer.file_bytes, 4 * 64 * 96 / 32 * (18 + 18 + 20) + 4 * 64 * 4);
    assert_int_equal(gmm_checkpoint_advise(checkpoint, 1, 3, GMM_CHECKPOINT_WILL_NEED), GMM_OK);
    assert_int_equal(gmm_checkpoint_advise(checkpoint, 1, 4, GMM_CHECKPOINT_WILL_NEED), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_checkpoint_resident(checkpoint, 1, &resident), GMM_OK);
    assert_true(resident >= 0 && resident <= layer.file_bytes);
    gmm_checkpoint_close(checkpoint);
}

static void converts_none(void **state)
{
    const gmm_conversion_options options = {.size = sizeof options, .layout = "mlx"};
    gmm_checkpoint *checkpoint = open_model(GGUF_MODELS "/llama_q4.gguf");
    gmm_conversion *conversion = NULL;

    (void)state;
    assert_int_equal(gmm_conversion_create(checkpoint, &options, &conversion), GMM_ERR_ARGUMENT);
    assert_string_equal(gmm_error_detail(), GGUF_MODELS "/llama_q4.gguf: GGUF files are not converted");
    assert_null(conversion);
    gmm_checkpoint_close(checkpoint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_model),
        cmocka_unit_test(describes_files),
        cmocka_unit_test(converts_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
