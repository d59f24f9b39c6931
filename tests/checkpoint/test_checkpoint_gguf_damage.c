/* test_checkpoint_gguf_damage.c - damaged GGUF files: each is refused, with a message that says what is wrong. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_reference.h"
#include "cmocka_test.h"
#include "temp_folder.h"

/* The `size` low bytes of `value` in place of those at `offset` after the first `key`, or after the file's beginning.
 */
typedef struct damage {
    const char *model, *key;
    size_t offset;
    uint64_t value;
    size_t size;
    gmm_status status;
    const char *words[2];
} damage;

/* After a key come its type (4 bytes) and its value; after a tensor's name its rank (4), sizes (8 each), type (4) and
 * offset (8). */
static const damage damages[] = {
    /* the file */
    {"llama_q4", NULL, 0, 'g', 1, GMM_ERR_MALFORMED, {"model.gguf", "does not begin with"}},
    {"llama_q4", NULL, 4, 1, 4, GMM_ERR_MALFORMED, {"version 1", "2 and 3"}},
    {"llama_q4", NULL, 4, 0x03000000, 4, GMM_ERR_MALFORMED, {"version 3", "big-endian"}},
    {"llama_q4", NULL, 8, (uint64_t)1 << 40, 8, GMM_ERR_MALFORMED, {"name of tensor 10", "0 bytes"}},
    {"llama_q4", NULL, 8, 7, 8, GMM_ERR_MALFORMED, {"no tensor", "in 1 file"}},
    {"llama_q4", NULL, 16, UINT64_MAX, 8, GMM_ERR_MALFORMED, {"model.gguf", "metadata"}},
    {"llama_q4", NULL, 16, 0, 8, GMM_ERR_MALFORMED, {"model.gguf", "tensor"}},
    /* metadata */
    {"llama_q4", "general.architecture", 12, 'x', 1, GMM_ERR_ARGUMENT, {"\"xlama\"", "deepseek2, gpt-oss, llama"}},
    {"llama_q4", "general.architecture", 12, 0xFF, 1, GMM_ERR_MALFORMED, {"general.architecture", "not UTF-8"}},
    {"llama_q4", "general.architectur", 0, 'x', 1, GMM_ERR_MALFORMED, {"general.architecture", "missing"}},
    {"llama_q4", "general.architecture", 4, INT64_MAX, 8, GMM_ERR_MALFORMED, {"general.architecture", "past the end"}},
    {"llama_q4", "llama.block_count", 0, 99, 4, GMM_ERR_MALFORMED, {"llama.block_count", "type 99"}},
    {"llama_q4",
     "llama.block_count",
     4,
     3,
     4,
     GMM_ERR_MALFORMED,
     {"no tensor \"blk.2.ffn_gate_inp.weight\"", "(4, 64)"}},
    {"llama_q4", "llama.block_count", 4, 5000, 4, GMM_ERR_MALFORMED, {"block_count is 5000", "4096"}},
    {"llama_q4", "llama.expert_coun", 0, 'x', 1, GMM_ERR_MALFORMED, {"no expert_count", "an integer from 1"}},
    {"llama_q4", "llama.expert_count", 4, 5, 4, GMM_ERR_MALFORMED, {"has shape (4, 64)", "must have (5, 64)"}},
    {"llama_q4", "llama.expert_count", 4, 0, 4, GMM_ERR_MALFORMED, {"expert_count is 0", "an integer from 1"}},
    {"llama_q4",
     "llama.expert_count",
     4,
     UINT32_MAX,
     4,
     GMM_ERR_MALFORMED,
     {"expert_count is 4294967295", "2147483647"}},
    {"llama_q4", "llama.expert_count", 0, 6, 4, GMM_ERR_MALFORMED, {"expert_count is ", "an integer from 1"}},
    {"llama_q4", "llama.expert_used_count", 4, 5, 4, GMM_ERR_MALFORMED, {"expert_used_count is 5", "from 1 to 4"}},
    {"llama_q4", "llama.embedding_length", 4, 96, 4, GMM_ERR_MALFORMED, {"has shape (4, 64)", "must have (4, 96)"}},
    {"llama_q4", "tokenizer.ggml.tokens", 4, 77, 4, GMM_ERR_MALFORMED, {"tokenizer.ggml.tokens", "type 77"}},
    {"llama_q4",
     "tokenizer.ggml.tokens",
     8,
     INT64_MAX,
     8,
     GMM_ERR_MALFORMED,
     {"tokenizer.ggml.tokens", "past the end"}},
    {"llama_q4",
     "tokenizer.ggml.scores",
     8,
     UINT64_MAX / 4 + 1,
     8,
     GMM_ERR_MALFORMED,
     {"tokenizer.ggml.scores", "past"}},
    {"qwen3moe_q5", "general.alignment", 4, 48, 4, GMM_ERR_MALFORMED, {"general.alignment is 48", "power of two"}},
    {"qwen3moe_q5", "general.alignment", 4, 0, 4, GMM_ERR_MALFORMED, {"general.alignment is 0", "power of two"}},
    {"qwen3moe_q5",
     "general.alignment",
     4,
     4096,
     4,
     GMM_ERR_MALFORMED,
     {"its data begin at", "before it that is 4096"}},
    {"qwen3moe_scaled", NULL, 4, 3, 4, GMM_ERR_ARGUMENT, {"\"blk.0.ffn_up_exps.scale\"", "not supported"}},
    {"deepseek2_q8", "deepseek2.expert_gating_func", 4, 1, 4, GMM_ERR_ARGUMENT, {"expert_gating_func is 1", "with 2"}},
    {"deepseek2_q8", "deepseek2.expert_group_count", 4, 3, 4, GMM_ERR_MALFORMED, {"group_count 3", "expert_count 8"}},
    {"deepseek2_q8", "deepseek2.expert_weights_scale", 4, 0x7FC00000, 4, GMM_ERR_MALFORMED, {"scale", "no finite"}},
    {"deepseek2_q8", "deepseek2.expert_weights_scale", 4, 0xC0000000, 4, GMM_ERR_MALFORMED, {"scale is -2", "above 0"}},
    {"deepseek2_q8", "deepseek2.expert_weights_norm", 4, 2, 1, GMM_ERR_MALFORMED, {"weights_norm", "neither true"}},
    {"deepseek2_q8", "deepseek2.nextn_predict_layers", 4, 4, 4, GMM_ERR_MALFORMED, {"predict_layers is 4", "to 3"}},
    {"deepseek2_q8", "deepseek2.expert_shared_count", 4, 1, 4, GMM_ERR_MALFORMED, {"shexp", "must have (32, 64)"}},
    {"deepseek2_q8", "blk.1.exp_probs_b.bias", 4, 4, 8, GMM_ERR_MALFORMED, {"has shape (4)", "must have (8)"}},
    /* tensors */
    {"llama_q4",
     "blk.0.ffn_up_exps.weigh",
     0,
     'x',
     1,
     GMM_ERR_MALFORMED,
     {"no tensor \"blk.0.ffn_up_exps.weight", "4, 96"}},
    {"llama_q4", "blk.0.ffn_up_exps.weigh", 0, 0, 1, GMM_ERR_MALFORMED, {"the name of tensor 2", "a 0 among them"}},
    {"llama_q4", "blk.0.ffn_up_exps.weight", 0, 5, 4, GMM_ERR_MALFORMED, {"ffn_up_exps", "rank 5"}},
    {"llama_q4", "blk.0.ffn_up_exps.weight", 4, 0, 8, GMM_ERR_MALFORMED, {"ffn_up_exps", "size 0 is 0"}},
    {"llama_q4", "blk.0.ffn_up_exps.weight", 4, 48, 8, GMM_ERR_MALFORMED, {"48 elements", "blocks of 32 (Q4_0)"}},
    {"llama_q4", "blk.0.ffn_up_exps.weight", 12, (uint64_t)1 << 62, 8, GMM_ERR_MALFORMED, {"ffn_up_exps", "2^63"}},
    {"llama_q4",
     "blk.0.ffn_up_exps.weight",
     12,
     UINT64_MAX,
     8,
     GMM_ERR_MALFORMED,
     {"size 1 is 18446744073709551615", "up"}},
    {"llama_q4",
     "blk.0.ffn_up_exps.weight",
     12,
     1 << 20,
     8,
     GMM_ERR_MALFORMED,
     {"ffn_up_exps", "its data end at byte"}},
    {"llama_q4", "blk.0.ffn_up_exps.weight", 28, 99, 4, GMM_ERR_MALFORMED, {"ffn_up_exps", "type 99 is not known"}},
    {"llama_q4", "blk.0.ffn_up_exps.weight", 28, 12, 4, GMM_ERR_MALFORMED, {"64 elements", "blocks of 256 (Q4_K)"}},
    {"llama_q4",
     "blk.0.ffn_up_exps.weight",
     28,
     20,
     4,
     GMM_ERR_ARGUMENT,
     {"is IQ4_NL, which is not supported", "Q4_0, Q4_1"}},
    {"llama_q4", "blk.0.ffn_up_exps.weight", 28, 8, 4, GMM_ERR_MALFORMED, {"ffn_down_exps", "its data begin at"}},
    {"llama_q4", "blk.0.ffn_up_exps.weight", 32, 0, 8, GMM_ERR_MALFORMED, {"its data begin at 0", "before it that is"}},
    {"llama_q4", "blk.0.ffn_up_exps", 0, '_', 1, GMM_ERR_MALFORMED, {"no tensor", "blk.0.ffn_up_exps.weight"}},
    {"gpt_oss_mxfp4", "blk.0.ffn_up_exps.bias", 4, 48, 8, GMM_ERR_MALFORMED, {"its data begin at", "after the tensor"}},
};

static unsigned char *read_model(const char *file, size_t *size)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", GGUF_MODELS, file);
    return gmm_temp_read(path, size);
}

static size_t find(const unsigned char *bytes, size_t size, const char *key)
{
    size_t length = strlen(key);

    for (size_t at = 0; at + length <= size; at++)
        if (memcmp(bytes + at, key, length) == 0)
            return at + length;
    fail_msg("no %s", key);
    return 0;
}

static void expect(const char *name, size_t number, gmm_status wanted, const char *const words[2])
{
    static char none;
    gmm_checkpoint *checkpoint = (gmm_checkpoint *)&none;
    gmm_status status = gmm_checkpoint_open(gmm_temp_path(name), &checkpoint);
    const char *detail = gmm_error_detail();

    if (status != wanted || !strstr(detail, words[0]) || !strstr(detail, words[1]))
        fail_msg("damage %zu (%s): status %d, not %d with \"%s\" and \"%s\": %s", number, name, (int)status,
                 (int)wanted, words[0], words[1], status == GMM_OK ? "" : detail);
    assert_non_null(strstr(detail, gmm_temp_path("")));
    assert_ptr_equal(checkpoint, &none);
}

static void refuses_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        const damage *d = &damages[i];
        char file[64];
        size_t size;
        snprintf(file, sizeof file, "%s.gguf", d->model);
        unsigned char *bytes = read_model(file, &size);
        size_t at = (d->key ? find(bytes, size, d->key) : 0) + d->offset;
        memcpy(bytes + at, &d->value, d->size);
        gmm_temp_file("model.gguf", bytes, size);
        free(bytes);
        expect("model.gguf", i, d->status, d->words);
    }
}

/* Cut anywhere, a file is refused: never read past its end. */
static void refuses_truncation(void **state)
{
    static const char *const words[] = {"model.gguf", ""};
    size_t size;
    unsigned char *bytes = read_model("llama_q4.gguf", &size);

    (void)state;
    for (size_t left = 0; left < size; left += left < 2048 ? 5 : 997) {
        gmm_temp_file("model.gguf", bytes, left);
        expect("model.gguf", left, GMM_ERR_MALFORMED, words);
    }
    gmm_temp_file("model.gguf", bytes, size);
    gmm_checkpoint_close(open_model(gmm_temp_path("model.gguf")));
    free(bytes);
}

/* ---- several files ---- */

#define PART(n) "model-0000" #n "-of-00003.gguf"

static const char *const parts[] = {PART(1), PART(2), PART(3)};

static void copy_parts(void)
{
    for (size_t p = 0; p < 3; p++) {
        char file[64];
        size_t size;
        snprintf(file, sizeof file, "llama_split%s", parts[p] + strlen("model"));
        unsigned char *bytes = read_model(file, &size);
        gmm_temp_file(parts[p], bytes, size);
        free(bytes);
    }
}

/* Overwrite a value of a part that has been copied. */
static void change(const char *part, const char *key, uint64_t value, size_t size)
{
    size_t all;
    unsigned char *bytes = gmm_temp_read(gmm_temp_path(part), &all);

    memcpy(bytes + find(bytes, all, key) + 4, &value, size);
    gmm_temp_file(part, bytes, all);
    free(bytes);
}

static void refuses_parts_that_do_not_fit(void **state)
{
    static const char *const first[] = {PART(2), "the first one is to be opened"};
    static const char *const missing[] = {PART(2), "cannot open"};
    static const char *const name[] = {"other.gguf", "-00001-of-00003.gguf"};
    static const char *const number[] = {PART(3), "opened as file 2 of 3"};
    static const char *const tensors[] = {"split.tensors.count is 11", "3 files have 10"};
    size_t size;

    (void)state;
    copy_parts();
    gmm_checkpoint_close(open_model(gmm_temp_path(PART(1))));
    expect(PART(2), 0, GMM_ERR_MALFORMED, first);
    change(PART(1), "split.tensors.count", 11, 4);
    expect(PART(1), 1, GMM_ERR_MALFORMED, tensors);
    copy_parts();
    change(PART(3), "split.no", 1, 2);
    expect(PART(1), 2, GMM_ERR_MALFORMED, number);
    unlink(gmm_temp_path(PART(2)));
    expect(PART(1), 3, GMM_ERR_FILE, missing);
    unsigned char *bytes = gmm_temp_read(gmm_temp_path(PART(1)), &size);
    gmm_temp_file("other.gguf", bytes, size);
    free(bytes);
    expect("other.gguf", 4, GMM_ERR_MALFORMED, name);
}

/* The same tensor in two of them. */
static void refuses_duplicates(void **state)
{
    static const char *const words[] = {"is also in", "blk."};
    size_t size;

    (void)state;
    copy_parts();
    unsigned char *bytes = gmm_temp_read(gmm_temp_path(PART(2)), &size);
    size_t at = find(bytes, size, "blk.1.ffn_gate_exps.weight") - strlen("1.ffn_gate_exps.weight");
    bytes[at] = '0';
    gmm_temp_file(PART(2), bytes, size);
    free(bytes);
    expect(PART(1), 0, GMM_ERR_MALFORMED, words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_damage),
        cmocka_unit_test(refuses_truncation),
        cmocka_unit_test(refuses_parts_that_do_not_fit),
        cmocka_unit_test(refuses_duplicates),
    };

    return cmocka_run_group_tests(tests, gmm_temp_folder_make, gmm_temp_folder_remove);
}
