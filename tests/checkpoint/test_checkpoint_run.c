/* test_checkpoint_run.c - layers of every model, described by the library and run whole. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "checkpoint_moe.h"
#include "checkpoint_reference.h"
#include "cmocka_test.h"

static const char *const models[] = {"mixtral_hf",    "mixtral_mlx", "qwen3_moe_hf",   "qwen3_moe_mlx",  "gpt_oss_hf",
                                     "gpt_oss_dense", "gpt_oss_mlx", "deepseek_v3_hf", "deepseek_v3_mlx"};

enum {
    MODELS = sizeof models / sizeof models[0]
};

static void check_layer(const gmm_checkpoint *checkpoint, const gmm_safetensors *reference, size_t i, bool stack)
{
    const gmm_checkpoint_load_options options = {.size = sizeof options, .stack = stack};
    const gmm_checkpoint_layer *loaded;

    assert_int_equal(gmm_checkpoint_layer_load(checkpoint, i, &options, &loaded), GMM_OK);
    check_output(reference, loaded);
    gmm_checkpoint_layer_free(loaded);
}

static void runs_every_model(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        gmm_checkpoint *checkpoint = open_model(model_path(models[m]));
        gmm_safetensors *reference = open_reference(models[m]);
        for (size_t i = 0; i < gmm_checkpoint_layer_count(checkpoint); i++)
            for (int stack = 0; stack < 2; stack++)
                check_layer(checkpoint, reference, i, stack);
        gmm_safetensors_close(reference);
        gmm_checkpoint_close(checkpoint);
    }
}

static void refuses_what_is_no_layer(void **state)
{
    gmm_checkpoint *checkpoint = open_model(model_path("mixtral_hf"));
    const gmm_moe_layer *moe = (const gmm_moe_layer *)state;
    const gmm_checkpoint_layer *loaded;
    gmm_checkpoint_layer layer;

    assert_true(gmm_checkpoint_layer_at(checkpoint, 1, &layer)); /* described, not loaded */
    assert_int_equal(gmm_moe_layer_from_checkpoint(&layer, &moe), GMM_ERR_ARGUMENT);
    assert_non_null(strstr(gmm_error_detail(), "layer 1: model.layers.1.block_sparse_moe.gate has no arrays"));
    assert_int_equal(gmm_checkpoint_layer_load(checkpoint, 0, NULL, &loaded), GMM_OK);
    layer = *loaded;
    layer.routing = (gmm_checkpoint_routing_kind)3;
    assert_int_equal(gmm_moe_layer_from_checkpoint(&layer, &moe), GMM_ERR_ARGUMENT);
    assert_non_null(strstr(gmm_error_detail(), "routing is 3"));
    layer = *loaded;
    layer.activation = (gmm_checkpoint_activation)-1;
    assert_int_equal(gmm_moe_layer_from_checkpoint(&layer, &moe), GMM_ERR_ARGUMENT);
    assert_non_null(strstr(gmm_error_detail(), "activation is -1"));
    assert_int_equal(gmm_moe_layer_from_checkpoint(NULL, &moe), GMM_ERR_NULL);
    assert_int_equal(gmm_moe_layer_from_checkpoint(loaded, NULL), GMM_ERR_NULL);
    assert_ptr_equal(moe, state);
    gmm_moe_layer_free(NULL);
    gmm_checkpoint_layer_free(loaded);
    gmm_checkpoint_close(checkpoint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_every_model),
        cmocka_unit_test(refuses_what_is_no_layer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
