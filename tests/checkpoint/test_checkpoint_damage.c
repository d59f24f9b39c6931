/* test_checkpoint_damage.c - damaged checkpoints: each is refused, and the message names the file and what is wrong. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_reference.h"
#include "cmocka_test.h"
#include "temp_folder.h"

#define INDEX "model.safetensors.index.json"
#define SHARD(n) "model-0000" #n "-of-00003.safetensors"

static const char *const files[] = {"config.json",
                                    INDEX,
                                    "model.safetensors",
                                    SHARD(1),
                                    SHARD(2),
                                    SHARD(3),
                                    "model-00001-of-00002.safetensors",
                                    "model-00002-of-00002.safetensors"};

/* Replace `from` in `file` by `to`; no `to`: the file is not there; no `from`: `to` is all that it holds. */
typedef struct damage {
    const char *model, *file, *from, *to;
    gmm_status status;
    const char *words[2];
} damage;

static const damage damages[] = {
    /* files */
    {"mixtral_hf", SHARD(2), NULL, NULL, GMM_ERR_FILE, {SHARD(2), "names it, file 2 of 3"}},
    {"mixtral_hf", SHARD(3), NULL, "", GMM_ERR_MALFORMED, {SHARD(3), "0 bytes"}},
    {"mixtral_hf", "config.json", NULL, NULL, GMM_ERR_FILE, {"config.json", "cannot open"}},
    {"mixtral_hf", "config.json", NULL, "", GMM_ERR_MALFORMED, {"config.json", "line 1"}},
    {"mixtral_hf", "config.json", NULL, "[1]", GMM_ERR_MALFORMED, {"config.json", "not a JSON object"}},
    {"mixtral_hf", INDEX, NULL, "{", GMM_ERR_MALFORMED, {INDEX, "line 1"}},
    {"mixtral_hf", INDEX, NULL, "{\"weight_map\":{}}", GMM_ERR_MALFORMED, {INDEX, "no weight_map"}},
    {"mixtral_hf", INDEX, NULL, "{\"weight_map\":{\"a\":\"../b\"}}", GMM_ERR_MALFORMED, {INDEX, "\"../b\""}},
    {"mixtral_hf", INDEX, NULL, "{\"weight_map\":{\"a\":\"\\u001bb\"}}", GMM_ERR_MALFORMED, {INDEX, "may not be"}},
    {"mixtral_hf", INDEX, NULL, "{\"weight_map\":{\"a\":7}}", GMM_ERR_MALFORMED, {INDEX, "no string"}},
    {"mixtral_hf",
     INDEX,
     "\"model.norm.weight\"",
     "\"model.norm.wait\"",
     GMM_ERR_MALFORMED,
     {INDEX, "\"model.norm.wait\" is in no file"}},
    {"mixtral_mlx", "model.safetensors", NULL, NULL, GMM_ERR_FILE, {"case", "no model*.safetensors"}},
    /* tensors: replacements in the header keep its length */
    {"mixtral_mlx",
     "model.safetensors",
     "0.block_sparse_moe.gate.weight",
     "0.block_sparse_moe.gate.wight_",
     GMM_ERR_MALFORMED,
     {"no tensor \"model.layers.0.block_sparse_moe.gate.weight\"", "(4, 8)"}},
    {"mixtral_mlx",
     "model.safetensors",
     "gate.weight\": {\"dtype\": \"U32\"",
     "gate.weight\": {\"dtype\": \"I32\"",
     GMM_ERR_MALFORMED,
     {"model.safetensors", "is I32; it must be U32"}},
    {"mixtral_mlx",
     "model.safetensors",
     "[4, 128, 8]",
     "[128, 4, 8]",
     GMM_ERR_MALFORMED,
     {"has shape (128, 4, 8)", "must have (4, 128, 8)"}},
    {"mixtral_mlx",
     "model.safetensors",
     "[4, 128, 8]",
     "[4,9e99, 8]",
     GMM_ERR_MALFORMED,
     {"model.safetensors", "shape"}},
    {"mixtral_mlx",
     "model.safetensors",
     "gate.scales\": {\"dtype\": \"BF16\"",
     "gate.scales\": {\"dtype\": \"I16\" ",
     GMM_ERR_MALFORMED,
     {"is I16; it must be F32, F16 or BF16", "gate.scales"}},
    {"mixtral_mlx",
     "model.safetensors",
     "switch_mlp.up_proj.biases",
     "switch_mlp.up_proj.bias__",
     GMM_ERR_MALFORMED,
     {"no tensor", "up_proj.biases"}},
    {"qwen3_moe_hf",
     "model.safetensors",
     "experts.5.down_proj",
     "experts.6.down_proj",
     GMM_ERR_MALFORMED,
     {"no tensor \"model.layers.0.mlp.experts.5.down_proj.weight\"", "(64, 32)"}},
    {"deepseek_v3_hf",
     "model-00001-of-00002.safetensors",
     "experts.0.gate_proj.weight_scale_inv\": {\"dtype\": \"F32\"",
     "experts.0.gate_proj.weight_scale_inv\": {\"dtype\": \"I32\"",
     GMM_ERR_MALFORMED,
     {"weight_scale_inv", "is I32; it must be"}},
    {"gpt_oss_dense",
     "model.safetensors",
     "[4, 64, 192]",
     "[4, 192, 64]",
     GMM_ERR_MALFORMED,
     {"gate_up_proj\" has shape (4, 192, 64)", "must have (4, 64, 192)"}},
    {"gpt_oss_dense",
     "model.safetensors",
     "down_proj_bias\": {\"dtype\": \"BF16\"",
     "down_proj_bias\": {\"dtype\": \"U16\" ",
     GMM_ERR_MALFORMED,
     {"down_proj_bias", "is U16"}},
    /* config.json */
    {"mixtral_hf", "config.json", "\"mixtral\"", "\"mistral\"", GMM_ERR_ARGUMENT, {"\"mistral\"", "gpt_oss, mixtral"}},
    {"mixtral_hf", "config.json", "\"mixtral\"", "7", GMM_ERR_MALFORMED, {"model_type", "not a string"}},
    {"mixtral_hf", "config.json", "\"mixtral\"", "null", GMM_ERR_MALFORMED, {"config.json", "no model_type"}},
    {"mixtral_hf",
     "config.json",
     "\"hidden_size\": 64",
     "\"hidden_size\": -64",
     GMM_ERR_MALFORMED,
     {"hidden_size is -64", "an integer from 1 to"}},
    {"mixtral_hf",
     "config.json",
     "\"hidden_size\": 64",
     "\"hidden_size\": 64.5",
     GMM_ERR_MALFORMED,
     {"hidden_size is 64.5", "an integer"}},
    {"mixtral_hf",
     "config.json",
     "\"hidden_size\": 64",
     "\"hidden_size\": \"64\"",
     GMM_ERR_MALFORMED,
     {"hidden_size is a string", "an integer"}},
    {"mixtral_hf",
     "config.json",
     "\"hidden_size\": 64",
     "\"hidden_size\": 2147483647",
     GMM_ERR_MALFORMED,
     {"gate.weight\" has shape (4, 64)", "(4, 2147483647)"}},
    {"mixtral_hf",
     "config.json",
     "\"hidden_size\": 64",
     "\"hidden_size\": 9223372036854775807",
     GMM_ERR_MALFORMED,
     {"hidden_size is 9223372036854775807", "to 2147483647"}},
    {"mixtral_hf",
     "config.json",
     "\"hidden_size\": 64",
     "\"hidden_size\": 99999999999999999999",
     GMM_ERR_MALFORMED,
     {"config.json", "too big"}},
    {"mixtral_hf",
     "config.json",
     "\"num_local_experts\"",
     "\"num_local_expert\"",
     GMM_ERR_MALFORMED,
     {"config.json", "no num_local_experts"}},
    {"mixtral_hf",
     "config.json",
     "\"num_local_experts\": 4",
     "\"num_local_experts\": 5",
     GMM_ERR_MALFORMED,
     {"has shape (4, 64)", "must have (5, 64)"}},
    {"mixtral_hf",
     "config.json",
     "\"num_experts_per_tok\": 2",
     "\"num_experts_per_tok\": 5",
     GMM_ERR_MALFORMED,
     {"num_experts_per_tok is 5", "from 1 to 4"}},
    {"mixtral_hf",
     "config.json",
     "\"num_hidden_layers\": 2",
     "\"num_hidden_layers\": 3",
     GMM_ERR_MALFORMED,
     {"no tensor \"model.layers.2.", "in 3 files"}},
    {"mixtral_hf",
     "config.json",
     "\"num_hidden_layers\": 2",
     "\"num_hidden_layers\": 5000",
     GMM_ERR_MALFORMED,
     {"num_hidden_layers is 5000", "4096"}},
    {"mixtral_hf", "config.json", "\"silu\"", "\"tanh\"", GMM_ERR_ARGUMENT, {"config.json", "hidden_act"}},
    {"mixtral_mlx", "config.json", "\"bits\": 4", "\"bits\": 7", GMM_ERR_MALFORMED, {"gate\": bits is 7", "affine"}},
    {"mixtral_mlx",
     "config.json",
     "\"bits\": 4",
     "\"bits\": 8",
     GMM_ERR_MALFORMED,
     {"has shape (4, 8)", "must have (4, 16)"}},
    {"mixtral_mlx", "config.json", "\"bits\": 4", "\"bits\": true", GMM_ERR_MALFORMED, {"bits is true", "an integer"}},
    {"mixtral_mlx",
     "config.json",
     "\"group_size\": 64",
     "\"group_size\": 128",
     GMM_ERR_MALFORMED,
     {"64 columns", "group_size 128"}},
    {"mixtral_mlx",
     "config.json",
     "\"bits\": 4",
     "\"bits\": 4, \"mode\": \"int4\"",
     GMM_ERR_MALFORMED,
     {"config.json", "mode is \"int4\""}},
    {"qwen3_moe_hf", "config.json", "[1]", "[-1]", GMM_ERR_MALFORMED, {"mlp_only_layers is -1", "an integer"}},
    {"qwen3_moe_hf", "config.json", "[1]", "{}", GMM_ERR_MALFORMED, {"mlp_only_layers", "not a list"}},
    {"qwen3_moe_hf",
     "config.json",
     "\"norm_topk_prob\": true",
     "\"norm_topk_prob\": 1",
     GMM_ERR_MALFORMED,
     {"norm_topk_prob", "neither true nor false"}},
    {"qwen3_moe_hf",
     "config.json",
     "\"decoder_sparse_step\": 1",
     "\"decoder_sparse_step\": 0",
     GMM_ERR_MALFORMED,
     {"decoder_sparse_step is 0", "from 1"}},
    {"deepseek_v3_hf",
     "config.json",
     "\"n_group\": 4",
     "\"n_group\": 3",
     GMM_ERR_MALFORMED,
     {"n_group 3", "n_routed_experts 8"}},
    {"deepseek_v3_hf",
     "config.json",
     "\"topk_group\": 2",
     "\"topk_group\": 5",
     GMM_ERR_MALFORMED,
     {"topk_group is 5", "from 1 to 4"}},
    {"deepseek_v3_hf", "config.json", "2.5", "-2.5", GMM_ERR_MALFORMED, {"routed_scaling_factor is -2.5", "above 0"}},
    {"deepseek_v3_hf", "config.json", "\"sigmoid\"", "\"softmax\"", GMM_ERR_ARGUMENT, {"scoring_func", "sigmoid"}},
    {"deepseek_v3_hf",
     "config.json",
     "[128, 128]",
     "[64, 128]",
     GMM_ERR_MALFORMED,
     {"weight_scale_inv\" has shape (2, 2)", "must have (3, 2)"}},
    {"deepseek_v3_hf",
     "config.json",
     "[128, 128]",
     "[0, 128]",
     GMM_ERR_MALFORMED,
     {"weight_block_size is 0", "from 1"}},
    {"deepseek_v3_hf", "config.json", "[128, 128]", "[128]", GMM_ERR_MALFORMED, {"weight_block_size", "two integers"}},
    {"deepseek_v3_hf",
     "config.json",
     "\"n_shared_experts\": 1",
     "\"n_shared_experts\": 2",
     GMM_ERR_MALFORMED,
     {"shared_experts.gate_proj", "must have (272, 160)"}},
    {"gpt_oss_hf",
     "config.json",
     "\"hidden_size\": 64",
     "\"hidden_size\": 63",
     GMM_ERR_MALFORMED,
     {"router.weight", "must have (4, 63)"}},
};

/* The bytes of a file with `from` replaced; everything for a NULL `from`. */
static unsigned char *damaged(const unsigned char *bytes, size_t *size, const damage *d)
{
    size_t cut = d->from ? strlen(d->from) : *size, added = strlen(d->to), at = 0;
    unsigned char *out = malloc(*size + added + 1);

    assert_non_null(out);
    while (d->from && at + cut <= *size && memcmp(bytes + at, d->from, cut) != 0)
        at++;
    if (at + cut > *size)
        fail_msg("%s/%s has no %s", d->model, d->file, d->from);
    memcpy(out, bytes, at);
    memcpy(out + at, d->to, added);
    memcpy(out + at + added, bytes + at + cut, *size - at - cut);
    *size += added - cut;
    return out;
}

/* A copy of the model, less `d`'s damage, in case/ of the test's folder. */
static const char *copy_model(const char *model, const damage *d)
{
    char name[128];

    for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
        size_t size;
        bool broken = d && strcmp(files[f], d->file) == 0;
        snprintf(name, sizeof name, "%s", files[f]);
        unlink(gmm_temp_path(name));
        if (access(model_file(model, files[f]), F_OK) != 0 || (broken && !d->to))
            continue;
        unsigned char *bytes = gmm_temp_read(model_file(model, files[f]), &size);
        if (broken) {
            unsigned char *other = damaged(bytes, &size, d);
            free(bytes);
            bytes = other;
        }
        gmm_temp_file(name, bytes, size);
        free(bytes);
    }
    return gmm_temp_path("");
}

static void refuses_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        const damage *d = &damages[i];
        const char *path = copy_model(d->model, d);
        gmm_checkpoint *checkpoint = (gmm_checkpoint *)(uintptr_t)d; /* to see that it is not written */
        gmm_status status = gmm_checkpoint_open(path, &checkpoint);
        const char *detail = gmm_error_detail();
        bool named = strcmp(d->words[0], "case") == 0 || strstr(detail, d->words[0]);
        if (status != d->status || !named || !strstr(detail, d->words[1]))
            fail_msg("damage %zu (%s/%s): status %d, not %d with \"%s\" and \"%s\": %s", i, d->model, d->file,
                     (int)status, (int)d->status, d->words[0], d->words[1], detail);
        assert_ptr_equal(checkpoint, d);
        assert_non_null(strstr(detail, gmm_temp_path("")));
    }
}

/* Cut anywhere, a file is refused: never read past its end. */
static void refuses_truncation(void **state)
{
    static const char *const cut[] = {"config.json", INDEX, SHARD(2)};

    (void)state;
    for (size_t f = 0; f < sizeof cut / sizeof cut[0]; f++) {
        size_t size;
        const char *path = copy_model("mixtral_hf", NULL);
        unsigned char *bytes = gmm_temp_read(model_file("mixtral_hf", cut[f]), &size);
        for (size_t left = 0; left < size; left += size / 40 + 1) {
            gmm_checkpoint *checkpoint = NULL;
            gmm_temp_file(cut[f], bytes, left);
            assert_int_equal(gmm_checkpoint_open(path, &checkpoint), GMM_ERR_MALFORMED);
            assert_non_null(strstr(gmm_error_detail(), cut[f]));
            assert_null(checkpoint);
        }
        free(bytes);
    }
    gmm_checkpoint_close(open_model(copy_model("mixtral_hf", NULL))); /* whole, it opens */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_damage),
        cmocka_unit_test(refuses_truncation),
    };

    return cmocka_run_group_tests(tests, gmm_temp_folder_make, gmm_temp_folder_remove);
}
