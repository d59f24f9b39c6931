/* model.c - see model.h. */
/* SPDX-License-Identifier: MIT */
#include "model.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stop.h"

/* Larger sizes than any model has: products of three stay far below 2^63. */
#define LARGEST_SIZE (1 << 20)

char *path_join(const char *directory, const char *name)
{
    size_t bytes = strlen(directory) + strlen(name) + 2;
    char *path = allocate((int64_t)bytes, 1);

    snprintf(path, bytes, "%s/%s", directory, name);
    return path;
}

/* ---- config.json ------------------------------------------------------------------------------------------------- */

static int64_t config_size(const json_t *config, const char *path, const char *key)
{
    const json_t *value = json_object_get(config, key);

    if (!value)
        stop(EXIT_BROKEN, "%s: no \"%s\"", path, key);
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > LARGEST_SIZE)
        stop(EXIT_BROKEN, "%s: \"%s\" must be an integer from 1 to %d", path, key, LARGEST_SIZE);
    return json_integer_value(value);
}

static double config_number(const json_t *config, const char *path, const char *key)
{
    const json_t *value = json_object_get(config, key);

    if (!value)
        stop(EXIT_BROKEN, "%s: no \"%s\"", path, key);
    if (!json_is_number(value) || !(json_number_value(value) > 0))
        stop(EXIT_BROKEN, "%s: \"%s\" must be a positive number", path, key);
    return json_number_value(value);
}

static void config_word(const json_t *config, const char *path, const char *key, const char *only)
{
    const char *value = json_string_value(json_object_get(config, key));

    if (!value || strcmp(value, only) != 0)
        stop(EXIT_BROKEN, "%s: \"%s\" is \"%s\"; this program runs \"%s\" only", path, key, value ? value : "", only);
}

static void read_config(model_config *c, const char *path)
{
    json_error_t error;
    json_t *config = json_load_file(path, 0, &error);

    if (!config)
        stop(EXIT_BROKEN, "%s: %s (line %d)", path, error.text, error.line);
    if (!json_is_object(config))
        stop(EXIT_BROKEN, "%s: not a JSON object", path);
    config_word(config, path, "model_type", "mixtral");
    config_word(config, path, "hidden_act", "silu");
    c->vocab = config_size(config, path, "vocab_size");
    c->hidden = config_size(config, path, "hidden_size");
    c->intermediate = config_size(config, path, "intermediate_size");
    c->layers = config_size(config, path, "num_hidden_layers");
    c->heads = config_size(config, path, "num_attention_heads");
    c->kv_heads = config_size(config, path, "num_key_value_heads");
    c->head_dim = config_size(config, path, "head_dim");
    c->experts = config_size(config, path, "num_local_experts");
    c->top_k = config_size(config, path, "num_experts_per_tok");
    c->positions = config_size(config, path, "max_position_embeddings");
    c->norm_eps = config_number(config, path, "rms_norm_eps");
    c->rope_theta = config_number(config, path, "rope_theta");
    json_decref(config);
    if (c->vocab != 256)
        stop(EXIT_BROKEN, "%s: vocab_size is %" PRId64 "; this program reads bytes, so it must be 256", path, c->vocab);
    if (c->heads % c->kv_heads != 0 || c->head_dim % 2 != 0 || c->top_k > c->experts)
        stop(EXIT_BROKEN,
             "%s: %" PRId64 " heads of %" PRId64 ", %" PRId64 " KV heads, top %" PRId64 " of %" PRId64
             " experts do not fit together",
             path, c->heads, c->head_dim, c->kv_heads, c->top_k, c->experts);
}

void checkpoint_open(checkpoint *source, const char *directory)
{
    char *config_path = path_join(directory, "config.json"), *path = path_join(directory, "model.safetensors");

    source->directory = directory;
    read_config(&source->config, config_path);
    must(gmm_safetensors_open(path, &source->file), "model");
    free(config_path);
    free(path);
}

void checkpoint_close(checkpoint *source)
{
    gmm_safetensors_close(source->file);
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

/* Copy the bf16 tensor of this name and shape to `to`; cols is 0 for a vector. */
static void read_tensor(const checkpoint *source, uint16_t *to, int64_t rows, int64_t cols, const char *name)
{
    int32_t ndim = cols ? 2 : 1;
    gmm_tensor tensor;

    if (!gmm_safetensors_find(source->file, name, &tensor))
        stop(EXIT_BROKEN, "%s/model.safetensors: no tensor %s", source->directory, name);
    if (tensor.dtype != GMM_BF16)
        stop(EXIT_BROKEN, "%s/model.safetensors: %s is %s; this program reads BF16", source->directory, name,
             gmm_dtype_name(tensor.dtype));
    if (tensor.ndim != ndim || tensor.shape[0] != rows || (ndim == 2 && tensor.shape[1] != cols))
        stop(EXIT_BROKEN,
             "%s/model.safetensors: %s does not have the shape that config.json asks for: %" PRId64 " rows, %" PRId64
             " columns",
             source->directory, name, rows, cols ? cols : 1);
    memcpy(to, tensor.data, tensor.size_bytes);
}

/* As f32, exactly. */
static float *read_floats(const checkpoint *source, int64_t rows, int64_t cols, const char *name)
{
    int64_t count = rows * (cols ? cols : 1);
    uint16_t *bf16 = allocate(count, sizeof *bf16);
    float *floats = allocate(count, sizeof *floats);

    read_tensor(source, bf16, rows, cols, name);
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)bf16[i] << 16;
        memcpy(&floats[i], &bits, sizeof bits);
    }
    free(bf16);
    return floats;
}

static void read_linear(model *m, const checkpoint *source, linear *layer, int64_t rows, int64_t cols, const char *name)
{
    uint16_t *bf16 = allocate(rows * cols, sizeof *bf16);

    read_tensor(source, bf16, rows, cols, name);
    linear_create(layer, m->context, m->format, bf16, 0, rows, cols);
    m->weights += layer->weights;
    m->bytes += layer->bytes;
    free(bf16);
}

/* Stack the experts' matrices into one array, as MLX does. */
static void read_experts(model *m, const checkpoint *source, linear *layer, int64_t rows, int64_t cols, int64_t block_i,
                         const char *which)
{
    int64_t experts = m->config.experts;
    uint16_t *bf16 = allocate(experts * rows * cols, sizeof *bf16);
    char name[160];

    for (int64_t e = 0; e < experts; e++) {
        snprintf(name, sizeof name, "model.layers.%" PRId64 ".block_sparse_moe.experts.%" PRId64 ".%s.weight", block_i,
                 e, which);
        read_tensor(source, bf16 + e * rows * cols, rows, cols, name);
    }
    linear_create(layer, m->context, m->format, bf16, experts, rows, cols);
    m->weights += layer->weights;
    m->bytes += layer->bytes;
    free(bf16);
}

static void read_block(model *m, const checkpoint *source, int64_t i)
{
    const model_config *c = &m->config;
    block *b = &m->blocks[i];
    struct {
        linear *layer;
        int64_t rows, cols;
        const char *name;
    } layers[] = {
        {&b->q, c->heads * c->head_dim, c->hidden, "self_attn.q_proj"},
        {&b->k, c->kv_heads * c->head_dim, c->hidden, "self_attn.k_proj"},
        {&b->v, c->kv_heads * c->head_dim, c->hidden, "self_attn.v_proj"},
        {&b->o, c->hidden, c->heads * c->head_dim, "self_attn.o_proj"},
        {&b->gate, c->experts, c->hidden, "block_sparse_moe.gate"},
    };
    char name[160];

    snprintf(name, sizeof name, "model.layers.%" PRId64 ".input_layernorm.weight", i);
    b->attention_norm = read_floats(source, c->hidden, 0, name);
    snprintf(name, sizeof name, "model.layers.%" PRId64 ".post_attention_layernorm.weight", i);
    b->moe_norm = read_floats(source, c->hidden, 0, name);
    for (size_t l = 0; l < sizeof layers / sizeof layers[0]; l++) {
        snprintf(name, sizeof name, "model.layers.%" PRId64 ".%s.weight", i, layers[l].name);
        read_linear(m, source, layers[l].layer, layers[l].rows, layers[l].cols, name);
    }
    read_experts(m, source, &b->w1, c->intermediate, c->hidden, i, "w1");
    read_experts(m, source, &b->w2, c->hidden, c->intermediate, i, "w2");
    read_experts(m, source, &b->w3, c->intermediate, c->hidden, i, "w3");
}

model *model_create(const checkpoint *source, const gmm_context *context, const weight_format *format)
{
    const model_config *c = &source->config;
    model *m = allocate(1, sizeof *m);

    m->config = *c;
    m->context = context;
    m->format = format;
    m->embedding = read_floats(source, c->vocab, c->hidden, "model.embed_tokens.weight");
    m->final_norm = read_floats(source, c->hidden, 0, "model.norm.weight");
    read_linear(m, source, &m->head, c->vocab, c->hidden, "lm_head.weight");
    m->blocks = allocate(c->layers, sizeof *m->blocks);
    for (int64_t i = 0; i < c->layers; i++)
        read_block(m, source, i);
    return m;
}

void model_destroy(model *m)
{
    for (int64_t i = 0; i < m->config.layers; i++) {
        block *b = &m->blocks[i];
        linear *layers[] = {&b->q, &b->k, &b->v, &b->o, &b->gate, &b->w1, &b->w2, &b->w3};
        for (size_t l = 0; l < sizeof layers / sizeof layers[0]; l++)
            linear_destroy(layers[l]);
        free(b->attention_norm);
        free(b->moe_norm);
    }
    linear_destroy(&m->head);
    free(m->blocks);
    free(m->embedding);
    free(m->final_norm);
    free(m);
}
