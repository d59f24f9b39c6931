/* forward.c - see forward.h. */
/* SPDX-License-Identifier: MIT */
#include "forward.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "activations.h"
#include "stop.h"

/* Attention sums over whole blocks of so many keys. */
#define KEY_BLOCK 128

struct forward {
    const model *m;
    int64_t most_tokens; /* in one call, all sequences together */
    int64_t capacity;    /* keys that a sequence may hold: whole blocks */
    int64_t position;    /* tokens that each sequence holds */
    float *cosines, *sines;
    float *keys, *values; /* (layers, sequences, kv_heads, capacity, head_dim) */
    int64_t sequences;
    /* Scratch. */
    float *x, *normed, *delta;   /* (tokens, hidden) */
    float *q, *k, *v, *attended; /* (tokens, heads or kv_heads, head_dim) */
    float *scores;               /* (heads, KEY_BLOCK, capacity) */
    int32_t *kv_head;            /* (heads): which KV head a query head reads */
};

forward *forward_create(const model *m, int64_t sequences, int64_t length)
{
    const model_config *c = &m->config;
    int64_t tokens = sequences * length, half = c->head_dim / 2, cached;
    forward *f = allocate(1, sizeof *f);

    f->m = m;
    f->most_tokens = tokens;
    f->sequences = sequences;
    f->capacity = (c->positions + KEY_BLOCK - 1) / KEY_BLOCK * KEY_BLOCK;
    f->cosines = allocate(c->positions * half, sizeof(float));
    f->sines = allocate(c->positions * half, sizeof(float));
    for (int64_t t = 0; t < c->positions; t++)
        for (int64_t i = 0; i < half; i++) {
            double angle = (double)t / pow(c->rope_theta, 2.0 * (double)i / (double)c->head_dim);
            f->cosines[t * half + i] = (float)cos(angle);
            f->sines[t * half + i] = (float)sin(angle);
        }
    cached = c->layers * sequences * c->kv_heads * f->capacity * c->head_dim;
    f->keys = allocate(cached, sizeof(float)); /* zeros: keys not yet written are multiplied, with weight 0 */
    f->values = allocate(cached, sizeof(float));
    f->x = allocate(tokens * c->hidden, sizeof(float));
    f->normed = allocate(tokens * c->hidden, sizeof(float));
    f->delta = allocate(tokens * c->hidden, sizeof(float));
    f->q = allocate(tokens * c->heads * c->head_dim, sizeof(float));
    f->k = allocate(tokens * c->kv_heads * c->head_dim, sizeof(float));
    f->v = allocate(tokens * c->kv_heads * c->head_dim, sizeof(float));
    f->attended = allocate(tokens * c->heads * c->head_dim, sizeof(float));
    f->scores = allocate(c->heads * KEY_BLOCK * f->capacity, sizeof(float));
    f->kv_head = allocate(c->heads, sizeof(int32_t));
    for (int64_t h = 0; h < c->heads; h++)
        f->kv_head[h] = (int32_t)(h / (c->heads / c->kv_heads));
    return f;
}

void forward_destroy(forward *f)
{
    void *owned[] = {f->cosines, f->sines, f->keys, f->values,   f->x,      f->normed, f->delta,
                     f->q,       f->k,     f->v,    f->attended, f->scores, f->kv_head};

    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free(owned[i]);
    free(f);
}

void forward_reset(forward *f)
{
    f->position = 0;
}

gmm_routing forward_routing(const block *b, const model_config *c)
{
    return (gmm_routing){.size = sizeof(gmm_routing),
                         .kind = GMM_ROUTING_TOPK_SOFTMAX,
                         .top_k = (int32_t)c->top_k,
                         .router = linear_weights(&b->gate)};
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

/* The cached keys (or values) of one layer and sequence. */
static float *cache_of(const forward *f, float *cache, int64_t layer, int64_t sequence)
{
    const model_config *c = &f->m->config;

    return cache + (layer * f->sequences + sequence) * c->kv_heads * f->capacity * c->head_dim;
}

/* Rotate the new queries and keys of one sequence; put keys and values in the cache. */
static void rotate_and_cache(forward *f, int64_t layer, int64_t sequence, int64_t length)
{
    const model_config *c = &f->m->config;
    float *keys = cache_of(f, f->keys, layer, sequence), *values = cache_of(f, f->values, layer, sequence);
    size_t head_bytes = (size_t)c->head_dim * sizeof(float);

    for (int64_t t = 0; t < length; t++) {
        int64_t row = sequence * length + t, position = f->position + t;
        const float *cosines = f->cosines + position * (c->head_dim / 2);
        const float *sines = f->sines + position * (c->head_dim / 2);
        for (int64_t h = 0; h < c->heads; h++)
            rotate_half(f->q + (row * c->heads + h) * c->head_dim, cosines, sines, c->head_dim);
        for (int64_t h = 0; h < c->kv_heads; h++) {
            int64_t from = (row * c->kv_heads + h) * c->head_dim, to = (h * f->capacity + position) * c->head_dim;
            rotate_half(f->k + from, cosines, sines, c->head_dim);
            memcpy(keys + to, f->k + from, head_bytes);
            memcpy(values + to, f->v + from, head_bytes);
        }
    }
}

/*
 * Queries first_row .. first_row + count of all heads, at positions from `position` on and all in one block of keys.
 * Grouped-query attention is a gathered product too: query head h takes the keys of KV head kv_head[h].
 */
static void attend_block(forward *f, int64_t layer, int64_t sequence, int64_t first_row, int64_t count,
                         int64_t position)
{
    const model_config *c = &f->m->config;
    int64_t keys = (position / KEY_BLOCK + 1) * KEY_BLOCK, width = c->heads * c->head_dim;
    int64_t kv_stride = f->capacity * c->head_dim;
    gmm_array q = {f->q + first_row * width,           GMM_F32, 3, (int64_t[]){c->heads, count, c->head_dim},
                   (int64_t[]){c->head_dim, width, 1}, 0};
    gmm_array k = {cache_of(f, f->keys, layer, sequence),  GMM_F32, 3, (int64_t[]){c->kv_heads, c->head_dim, keys},
                   (int64_t[]){kv_stride, 1, c->head_dim}, 0};
    gmm_array v = {cache_of(f, f->values, layer, sequence), GMM_F32, 3, (int64_t[]){c->kv_heads, keys, c->head_dim},
                   (int64_t[]){kv_stride, c->head_dim, 1},  0};
    gmm_array scores = {f->scores, GMM_F32, 3, (int64_t[]){c->heads, count, keys}, NULL, 0};
    gmm_array out = {f->attended + first_row * width, GMM_F32, 3, q.shape, q.strides, 0};
    gmm_array kv_head = {f->kv_head, GMM_I32, 1, &c->heads, NULL, 0};
    float scale = (float)(1.0 / sqrt((double)c->head_dim));

    must(gmm_gather_mm(f->m->context, &q, &k, NULL, &kv_head, false, &scores), "attention scores");
    for (int64_t h = 0; h < c->heads; h++)
        for (int64_t t = 0; t < count; t++)
            softmax_row(f->scores + (h * count + t) * keys, scale, position + t + 1, keys);
    must(gmm_gather_mm(f->m->context, &scores, &v, NULL, &kv_head, false, &out), "attention values");
}

static void attend(forward *f, const block *b, int64_t layer, int64_t sequences, int64_t length)
{
    int64_t tokens = sequences * length;

    linear_apply(&b->q, f->m->context, f->normed, tokens, f->q);
    linear_apply(&b->k, f->m->context, f->normed, tokens, f->k);
    linear_apply(&b->v, f->m->context, f->normed, tokens, f->v);
    for (int64_t s = 0; s < sequences; s++) {
        rotate_and_cache(f, layer, s, length);
        for (int64_t t = 0, count; t < length; t += count) {
            int64_t position = f->position + t, to_block_end = KEY_BLOCK - position % KEY_BLOCK;
            count = length - t < to_block_end ? length - t : to_block_end;
            attend_block(f, layer, s, s * length + t, count, position);
        }
    }
    linear_apply(&b->o, f->m->context, f->attended, tokens, f->delta);
}

/* ---- experts ----------------------------------------------------------------------------------------------------- */

void forward_experts(forward *f, const block *b, float *x, int64_t tokens, float *out)
{
    const model_config *c = &f->m->config;
    const int64_t shape[] = {tokens, c->hidden};
    gmm_array in = {.data = x, .dtype = GMM_F32, .ndim = 2, .shape = shape};
    gmm_array result = {.data = out, .dtype = GMM_F32, .ndim = 2, .shape = shape};
    gmm_routing routing = forward_routing(b, c);
    gmm_moe_layer layer = {
        .size = sizeof layer,
        .experts = {.gate = linear_weights(&b->w1), .up = linear_weights(&b->w3), .down = linear_weights(&b->w2)},
        .activation = GMM_ACTIVATION_SILU,
        .routing = &routing,
    };

    must(gmm_moe_run(f->m->context, &layer, &in, NULL, NULL, &result), "experts");
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void add(float *x, const float *delta, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        x[i] += delta[i];
}

void forward_run(forward *f, const uint8_t *tokens, int64_t sequences, int64_t length, float *logits)
{
    const model *m = f->m;
    const model_config *c = &m->config;
    int64_t count = sequences * length;

    if (sequences > f->sequences || count > f->most_tokens || f->position + length > c->positions)
        stop(EXIT_BROKEN, "%" PRId64 " tokens at position %" PRId64 " are more than this run has room for", count,
             f->position);
    for (int64_t t = 0; t < count; t++)
        memcpy(f->x + t * c->hidden, m->embedding + tokens[t] * c->hidden, (size_t)c->hidden * sizeof *f->x);
    for (int64_t layer = 0; layer < c->layers; layer++) {
        const block *b = &m->blocks[layer];
        rms_norm(f->x, b->attention_norm, c->norm_eps, count, c->hidden, f->normed);
        attend(f, b, layer, sequences, length);
        add(f->x, f->delta, count * c->hidden);
        rms_norm(f->x, b->moe_norm, c->norm_eps, count, c->hidden, f->normed);
        forward_experts(f, b, f->normed, count, f->delta);
        add(f->x, f->delta, count * c->hidden);
    }
    rms_norm(f->x, m->final_norm, c->norm_eps, count, c->hidden, f->normed);
    linear_apply(&m->head, m->context, f->normed, count, logits);
    f->position += length;
}
