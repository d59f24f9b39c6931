/* test_checkpoint_hostile.c - checkpoints that are hostile, or merely huge: sizes that lie, values that are no numbers,
 * stacks of more than 2^31 elements. */
/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_reference.h"
#include "cmocka_test.h"
#include "formats/numbers.h"
#include "oracle.h"
#include "random.h"
#include "temp_folder.h"

#define FILE_NAME "model.safetensors"
#define MODULE "model.layers.0.block_sparse_moe."

/* ---- writing one file ---- */

/* A header in the making: tensors one after another. */
typedef struct file_header {
    char text[8192];
    size_t used;
    int64_t end; /* of the data so far */
} file_header;

__attribute__((format(printf, 2, 3))) static void add_text(file_header *h, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    h->used += (size_t)vsnprintf(h->text + h->used, sizeof h->text - h->used, format, arguments);
    va_end(arguments);
    assert_true(h->used < sizeof h->text);
}

/* Returns where its data begin. */
static int64_t add_tensor(file_header *h, const char *name, const char *dtype, const char *shape, int64_t size_bytes)
{
    int64_t begin = h->end;

    h->end += size_bytes;
    add_text(h, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%" PRId64 ",%" PRId64 "]}",
             h->used ? "," : "{", name, dtype, shape, begin, h->end);
    return begin;
}

/* The file with all data zero, as a hole; returns its descriptor and where the data begin. */
static int write_file(const char *name, file_header *h, int64_t *data_at)
{
    uint64_t size;

    add_text(h, "}%*s", (int)(7 - h->used % 8), ""); /* with its size, a multiple of 8 */
    size = h->used;
    int file = open(gmm_temp_path(name), O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, &size, 8, 0), 8);
    assert_int_equal(pwrite(file, h->text, h->used, 8), (ssize_t)h->used);
    *data_at = 8 + (int64_t)h->used;
    assert_int_equal(ftruncate(file, *data_at + h->end), 0);
    return file;
}

static void put(int file, int64_t at, const void *bytes, size_t size)
{
    assert_int_equal(pwrite(file, bytes, size, at), (ssize_t)size);
}

static void write_config(const char *text)
{
    gmm_temp_file("config.json", text, strlen(text));
}

static void remove_files(void)
{
    static const char *const names[] = {"config.json", FILE_NAME, "model-2.safetensors"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(gmm_temp_path(names[i]));
}

static void expect_refusal(gmm_status wanted, const char *word, const char *other)
{
    static char none;
    gmm_checkpoint *checkpoint = (gmm_checkpoint *)&none;
    gmm_status status = gmm_checkpoint_open(gmm_temp_path(""), &checkpoint);

    if (status != wanted || !strstr(gmm_error_detail(), word) || !strstr(gmm_error_detail(), other))
        fail_msg("status %d, not %d with \"%s\" and \"%s\": %s", (int)status, (int)wanted, word, other,
                 gmm_error_detail());
    assert_ptr_equal(checkpoint, &none);
    remove_files();
}

/* ---- refused when opened ---- */

#define CONFIG(experts, hidden, inner)                                                                                 \
    "{\"model_type\":\"mixtral\",\"num_hidden_layers\":1,\"num_experts_per_tok\":1,\"num_local_experts\":" experts     \
    ",\"hidden_size\":" hidden ",\"intermediate_size\":" inner "}"

/* One tensor of this shape, where the data are `size_bytes` long. */
static void write_router(const char *shape, int64_t size_bytes)
{
    file_header h = {.used = 0};
    int64_t data_at;

    add_tensor(&h, MODULE "gate.weight", "BF16", shape, size_bytes);
    close(write_file(FILE_NAME, &h, &data_at));
}

static void refuses_shapes_that_overflow(void **state)
{
    (void)state;
    write_config(CONFIG("4", "64", "64"));
    write_router("[4294967296,4294967296]", 512);
    expect_refusal(GMM_ERR_MALFORMED, FILE_NAME, "2^63");
    write_config(CONFIG("4", "64", "64"));
    write_router("[4611686018427387904,8]", 64); /* 2^65 elements, which are 0 in 64 bits */
    expect_refusal(GMM_ERR_MALFORMED, FILE_NAME, "2^63");
    write_config(CONFIG("4", "64", "64"));
    write_router("[2147483648,64]", 512); /* fits in 64 bits, not into the file */
    expect_refusal(GMM_ERR_MALFORMED, FILE_NAME, "takes 274877906944 bytes");
}

/* A router that is there, for more experts than the rest of the files can have: refused before memory is asked for. */
static void refuses_experts_that_cannot_be(void **state)
{
    (void)state;
    write_config(CONFIG("2147483647", "1", "1"));
    write_router("[2147483647,1]", 4294967294);
    expect_refusal(GMM_ERR_MALFORMED, "2147483647 experts", "1 tensors");
    write_config(CONFIG("2147483648", "1", "1"));
    write_router("[2147483647,1]", 4294967294);
    expect_refusal(GMM_ERR_MALFORMED, "num_local_experts is 2147483648", "to 2147483647");
    write_config(CONFIG("1", "1", "1073741824"));
    write_router("[1,1]", 2);
    expect_refusal(GMM_ERR_MALFORMED, "intermediate_size is 1073741824", "to 1073741823");
}

static void refuses_duplicates(void **state)
{
    file_header h = {.used = 0};
    int64_t data_at;

    (void)state;
    write_config(CONFIG("4", "8", "8"));
    add_tensor(&h, MODULE "gate.weight", "BF16", "[4,8]", 64);
    add_tensor(&h, MODULE "gate.weight", "BF16", "[4,8]", 64);
    close(write_file(FILE_NAME, &h, &data_at));
    expect_refusal(GMM_ERR_MALFORMED, FILE_NAME, "gate.weight\" appears twice");

    write_config(CONFIG("4", "8", "8"));
    write_router("[4,8]", 64);
    h = (file_header){.used = 0};
    add_tensor(&h, MODULE "gate.weight", "BF16", "[4,8]", 64);
    close(write_file("model-2.safetensors", &h, &data_at));
    expect_refusal(GMM_ERR_MALFORMED, "gate.weight\" is also in", "model-2.safetensors");

    write_config("{\"model_type\":\"mixtral\",\"hidden_size\":8,\"hidden_size\":16}");
    write_router("[4,8]", 64);
    expect_refusal(GMM_ERR_MALFORMED, "config.json", "duplicate");
}

/* ---- layers ---- */

/* A Mixtral layer of bf16 stacks; the data of one expert are written, the rest are holes. */
typedef struct sparse_layer {
    int64_t experts, hidden, inner, expert;
    int file;
    int64_t router, parts[3]; /* where in the file */
} sparse_layer;

static int64_t add_stack(file_header *h, const char *name, int64_t count, int64_t rows, int64_t cols)
{
    char shape[96];

    if (count > 0)
        snprintf(shape, sizeof shape, "[%" PRId64 ",%" PRId64 ",%" PRId64 "]", count, rows, cols);
    else
        snprintf(shape, sizeof shape, "[%" PRId64 ",%" PRId64 "]", rows, cols);
    return add_tensor(h, name, "BF16", shape, (count > 0 ? count : 1) * rows * cols * 2);
}

static void write_layer(sparse_layer *l)
{
    file_header h = {.used = 0};
    char config[512];
    int64_t data_at;

    l->router = add_stack(&h, MODULE "gate.weight", 0, l->experts, l->hidden);
    l->parts[0] = add_stack(&h, MODULE "switch_mlp.gate_proj.weight", l->experts, l->inner, l->hidden);
    l->parts[1] = add_stack(&h, MODULE "switch_mlp.up_proj.weight", l->experts, l->inner, l->hidden);
    l->parts[2] = add_stack(&h, MODULE "switch_mlp.down_proj.weight", l->experts, l->hidden, l->inner);
    l->file = write_file(FILE_NAME, &h, &data_at);
    l->router += data_at;
    for (int p = 0; p < 3; p++)
        l->parts[p] += data_at;
    snprintf(
        config, sizeof config,
        "{\"model_type\":\"mixtral\",\"num_hidden_layers\":1,\"num_experts_per_tok\":2,\"num_local_experts\":%" PRId64
        ",\"hidden_size\":%" PRId64 ",\"intermediate_size\":%" PRId64 "}",
        l->experts, l->hidden, l->inner);
    write_config(config);
}

/* Random weights for the written expert, a router that prefers it, and experts 0 and the rest zero. */
static void write_expert(sparse_layer *l)
{
    int64_t size = l->hidden * l->inner;
    uint16_t *values = malloc((size_t)size * sizeof *values);
    gmm_random random;

    gmm_random_seed(&random, 31);
    assert_non_null(values);
    for (int64_t i = 0; i < l->hidden; i++)
        values[i] = gmm_bf16_from_f32(0.125f);
    put(l->file, l->router + l->expert * l->hidden * 2, values, (size_t)l->hidden * 2);
    for (int p = 0; p < 3; p++) {
        for (int64_t i = 0; i < size; i++)
            values[i] = gmm_bf16_from_f32((float)gmm_random_unit(&random) / 8);
        put(l->file, l->parts[p] + l->expert * size * 2, values, (size_t)size * 2);
    }
    free(values);
}

enum {
    TOKENS = 3
};

/* Positive, so that the router's row of ones has the largest logit. */
static void fill_tokens(float *x, int64_t count)
{
    gmm_random random;

    gmm_random_seed(&random, 7);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)fabs(gmm_random_unit(&random));
}

static gmm_status run_layer(const gmm_checkpoint_layer *loaded, float *x, float *out)
{
    const int64_t shape[] = {TOKENS, loaded->hidden};
    gmm_array in = {x, GMM_F32, 2, shape, NULL, 0}, to = {out, GMM_F32, 2, shape, NULL, 0};
    const gmm_moe_layer *moe;

    assert_int_equal(gmm_moe_layer_from_checkpoint(loaded, &moe), GMM_OK);
    gmm_status status = gmm_moe_run(NULL, moe, &in, NULL, NULL, &to);
    gmm_moe_layer_free(moe);
    return status;
}

/* A router of NaN loads, as values are not looked at; the run says which token and which expert, and writes nothing. */
static void refuses_to_route_by_nan(void **state)
{
    sparse_layer l = {.experts = 4, .hidden = 32, .inner = 32, .expert = 2};
    const uint16_t nan = 0x7FC0;
    const gmm_checkpoint_layer *loaded;
    float x[TOKENS * 32], out[TOKENS * 32], before[TOKENS * 32];

    (void)state;
    write_layer(&l);
    write_expert(&l);
    put(l.file, l.router + (3 * 32 + 5) * 2, &nan, 2);
    close(l.file);
    gmm_checkpoint *checkpoint = open_model(gmm_temp_path(""));
    assert_int_equal(gmm_checkpoint_layer_load(checkpoint, 0, NULL, &loaded), GMM_OK);
    fill_tokens(x, TOKENS * 32);
    memset(out, 0xA5, sizeof out);
    memcpy(before, out, sizeof out);
    assert_int_equal(run_layer(loaded, x, out), GMM_ERR_ARGUMENT);
    if (!strstr(gmm_error_detail(), "token 0") || !strstr(gmm_error_detail(), "expert 3"))
        fail_msg("%s", gmm_error_detail());
    assert_memory_equal(out, before, sizeof out);
    gmm_checkpoint_layer_free(loaded);
    gmm_checkpoint_close(checkpoint);
    remove_files();
}

/* ---- beyond 2^31 elements ---- */

/* TOKENS products with the far expert and one with a hole, against double precision. */
static void check_products(const gmm_checkpoint_weights *weights, int64_t expert, const float *x)
{
    const gmm_array *stack = weights->rhs;
    const int64_t rows = weights->rows, cols = weights->cols;
    const int64_t swapped[] = {weights->count, cols, rows}, strides[] = {rows * cols, 1, cols};
    const int64_t x_shape[] = {TOKENS, 1, cols}, index_shape[] = {TOKENS}, out_shape[] = {TOKENS, 1, rows};
    int64_t indices[TOKENS] = {expert, 0, expert};
    char text[256];
    gmm_oracle oracle;
    float *out = malloc((size_t)(TOKENS * rows) * sizeof *out);

    assert_true(stack && out);
    assert_true(expert * rows * cols > INT32_MAX);
    gmm_array lhs = {(void *)(uintptr_t)x, GMM_F32, 3, x_shape, NULL, 0};
    gmm_array rhs = {stack->data, stack->dtype, 3, swapped, strides, stack->byte_offset};
    gmm_array index = {indices, GMM_I64, 1, index_shape, NULL, 0};
    gmm_array result = {out, GMM_F32, 3, out_shape, NULL, 0};
    gmm_product product = {.size = sizeof product, .lhs = &lhs, .rhs = &rhs, .rhs_indices = &index};
    if (gmm_run(NULL, &product, &result) != GMM_OK)
        fail_msg("%s", gmm_error_detail());
    gmm_oracle_make(&product, &oracle);
    if (!gmm_oracle_check(&oracle, &result, text, sizeof text))
        fail_msg("%s: %s", weights->module, text);
    assert_true(out[0] != 0 && out[2 * rows] != 0);
    for (int64_t i = 0; i < rows; i++)
        assert_true(out[rows + i] == 0);
    gmm_oracle_free(&oracle);
    free(out);
}

/* The same layer with four experts, the written one in another place: the same bits. */
static void check_layer(const gmm_checkpoint_layer *far, float *x)
{
    sparse_layer near = {.experts = 4, .hidden = far->hidden, .inner = far->intermediate, .expert = 3};
    const gmm_checkpoint_layer *loaded;
    size_t size = (size_t)(TOKENS * far->hidden) * sizeof(float);
    float *out = malloc(size), *wanted = malloc(size), zero = 0;

    assert_true(out && wanted);
    memset(out, 0xFF, size);
    if (run_layer(far, x, out) != GMM_OK)
        fail_msg("%s", gmm_error_detail());
    write_layer(&near); /* the other file has lost its name, but not what is mapped */
    write_expert(&near);
    close(near.file);
    gmm_checkpoint *checkpoint = open_model(gmm_temp_path(""));
    assert_int_equal(gmm_checkpoint_layer_load(checkpoint, 0, NULL, &loaded), GMM_OK);
    assert_int_equal(run_layer(loaded, x, wanted), GMM_OK);
    assert_memory_equal(out, wanted, size);
    for (int64_t i = 0; i < TOKENS * far->hidden; i++)
        zero += out[i] == 0 ? 1 : 0;
    assert_true(zero == 0);
    gmm_checkpoint_layer_free(loaded);
    gmm_checkpoint_close(checkpoint);
    free(out);
    free(wanted);
}

/* 2050 experts of 2^20 elements: the last begins at element 2^31 + 2^20 of each of three stacks of 4 GB of holes. */
static void multiplies_beyond_31_bits(void **state)
{
    sparse_layer l = {.experts = 2050, .hidden = 1024, .inner = 1024, .expert = 2049};
    const gmm_checkpoint_layer *loaded;
    float *x = malloc(TOKENS * 1024 * sizeof *x);

    (void)state;
    assert_non_null(x);
    fill_tokens(x, TOKENS * 1024);
    write_layer(&l);
    write_expert(&l);
    close(l.file);
    gmm_checkpoint *checkpoint = open_model(gmm_temp_path(""));
    assert_int_equal(gmm_checkpoint_layer_load(checkpoint, 0, NULL, &loaded), GMM_OK);
    assert_int_equal(loaded->owned_bytes, 0);
    check_products(&loaded->projections.gate, l.expert, x);
    check_products(&loaded->projections.up, l.expert, x);
    check_products(&loaded->projections.down, l.expert, x);
    unlink(gmm_temp_path(FILE_NAME));
    check_layer(loaded, x);
    gmm_checkpoint_layer_free(loaded);
    gmm_checkpoint_close(checkpoint);
    remove_files();
    free(x);
}

/* ---- the same in a GGUF file ---- */

enum {
    FAR_EXPERTS = 2050,
    FAR_SIZE = 1024, /* hidden and intermediate */
    BLOCK_BYTES = 18 /* of Q4_0: an f16 and 32 codes */
};

static void add_bytes(file_header *h, const void *bytes, size_t size)
{
    assert_true(h->used + size <= sizeof h->text);
    memcpy(h->text + h->used, bytes, size);
    h->used += size;
}

static void add_number(file_header *h, uint64_t value, size_t size)
{
    add_bytes(h, &value, size);
}

static void add_string(file_header *h, const char *text)
{
    add_number(h, strlen(text), 8);
    add_bytes(h, text, strlen(text));
}

static void add_entry(file_header *h, const char *key, uint32_t value)
{
    add_string(h, key);
    add_number(h, 4, 4); /* uint32 */
    add_number(h, value, 4);
}

/* Returns where its data begin. */
static int64_t add_gguf_tensor(file_header *h, const char *name, int64_t matrices, int64_t rows, uint32_t type,
                               int64_t size_bytes)
{
    int64_t begin = (h->end + 31) / 32 * 32;

    add_string(h, name);
    add_number(h, matrices ? 3 : 2, 4);
    add_number(h, FAR_SIZE, 8);
    add_number(h, (uint64_t)rows, 8);
    if (matrices)
        add_number(h, (uint64_t)matrices, 8);
    add_number(h, type, 4);
    add_number(h, (uint64_t)begin, 8);
    h->end = begin + size_bytes;
    return begin;
}

/* Q4_0 stacks of 2^31 and more elements, as holes: 1.2 GB each. *at: where in the file gate begins, which comes last.
 */
static int write_gguf(const char *name, int64_t *at)
{
    const int64_t stack = (int64_t)FAR_EXPERTS * FAR_SIZE * FAR_SIZE / 32 * BLOCK_BYTES;
    file_header h = {.used = 0};

    add_bytes(&h, "GGUF", 4);
    add_number(&h, 3, 4);
    add_number(&h, 4, 8);
    add_number(&h, 6, 8);
    add_string(&h, "general.architecture");
    add_number(&h, 8, 4);
    add_string(&h, "llama");
    add_entry(&h, "llama.block_count", 1);
    add_entry(&h, "llama.embedding_length", FAR_SIZE);
    add_entry(&h, "llama.feed_forward_length", FAR_SIZE);
    add_entry(&h, "llama.expert_count", FAR_EXPERTS);
    add_entry(&h, "llama.expert_used_count", 2);
    add_gguf_tensor(&h, "blk.0.ffn_gate_inp.weight", 0, FAR_EXPERTS, 0, (int64_t)FAR_EXPERTS * FAR_SIZE * 4);
    add_gguf_tensor(&h, "blk.0.ffn_up_exps.weight", FAR_EXPERTS, FAR_SIZE, 2, stack);
    add_gguf_tensor(&h, "blk.0.ffn_down_exps.weight", FAR_EXPERTS, FAR_SIZE, 2, stack);
    *at = add_gguf_tensor(&h, "blk.0.ffn_gate_exps.weight", FAR_EXPERTS, FAR_SIZE, 2, stack);
    while (h.used % 32 != 0)
        add_number(&h, 0, 1);
    *at += (int64_t)h.used;
    int file = open(gmm_temp_path(name), O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(file >= 0);
    put(file, 0, h.text, h.used);
    assert_int_equal(ftruncate(file, (int64_t)h.used + h.end), 0);
    return file;
}

/* The last expert alone is repacked: every element of it is d (q - 8), and the others' are zeros. */
static void repacks_beyond_31_bits(void **state)
{
    const int64_t elements = (int64_t)FAR_SIZE * FAR_SIZE, blocks = elements / 32;
    unsigned char *data = malloc((size_t)(blocks * BLOCK_BYTES));
    const gmm_checkpoint_layer *one;
    gmm_random random;
    int64_t at;

    (void)state;
    assert_non_null(data);
    gmm_random_seed(&random, 5);
    for (int64_t i = 0; i < blocks * BLOCK_BYTES; i++)
        data[i] = (unsigned char)gmm_random_bits(&random);
    for (int64_t b = 0; b < blocks; b++) { /* d: a half, a quarter, ..., and their negatives */
        data[b * BLOCK_BYTES] = 0;
        data[b * BLOCK_BYTES + 1] = (unsigned char)(0x38 - 4 * (b % 8) + (b % 2) * 0x80);
    }
    int file = write_gguf("far.gguf", &at);
    put(file, at + (FAR_EXPERTS - 1) * blocks * BLOCK_BYTES, data, (size_t)(blocks * BLOCK_BYTES));
    close(file);
    gmm_checkpoint *checkpoint = open_model(gmm_temp_path("far.gguf"));
    assert_int_equal(gmm_checkpoint_expert_load(checkpoint, 0, FAR_EXPERTS - 1, NULL, &one), GMM_OK);
    assert_int_equal(one->owned_bytes, 3 * blocks * 20);
    double *gate = decode_weights(&one->projections.gate), *up = decode_weights(&one->projections.up);
    for (int64_t i = 0; i < elements; i++) {
        int64_t b = i / 32, inside = i % 32;
        unsigned char pair = data[b * BLOCK_BYTES + 2 + inside % 16];
        double scale = ldexp(b % 2 ? -1 : 1, -1 - (int)(b % 8)), q = inside < 16 ? pair & 15 : pair >> 4;
        if (gate[i] != scale * (q - 8) || up[i] != 0)
            fail_msg("element %" PRId64 " is %g, not %g, and of up %g", i, gate[i], scale * (q - 8), up[i]);
    }
    free(gate);
    free(up);
    free(data);
    gmm_checkpoint_layer_free(one);
    gmm_checkpoint_close(checkpoint);
    unlink(gmm_temp_path("far.gguf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_shapes_that_overflow), cmocka_unit_test(refuses_experts_that_cannot_be),
        cmocka_unit_test(refuses_duplicates),           cmocka_unit_test(refuses_to_route_by_nan),
        cmocka_unit_test(multiplies_beyond_31_bits),    cmocka_unit_test(repacks_beyond_31_bits),
    };

    return cmocka_run_group_tests(tests, gmm_temp_folder_make, gmm_temp_folder_remove);
}
