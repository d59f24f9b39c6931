/* reference.c - see reference.h. */
/* SPDX-License-Identifier: MIT */
#include "reference.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stop.h"

#define MOST_WINDOWS (1 << 20)

static const char *reference_text(const json_t *root, const char *path, const char *key)
{
    const char *text = json_string_value(json_object_get(root, key));

    if (!text)
        stop(EXIT_BROKEN, "%s: no text \"%s\"", path, key);
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c > 0x7f)
            stop(EXIT_BROKEN, "%s: \"%s\" is not ASCII", path, key);
    return text;
}

static void read_json(reference *r, const model_config *c, const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    const char *text, *prompt;
    const json_t *nats;

    if (!root)
        stop(EXIT_BROKEN, "%s: %s (line %d)", path, error.text, error.line);
    text = reference_text(root, path, "greedy");
    prompt = reference_text(root, path, "greedy_prompt");
    r->text_bytes = (int64_t)strlen(text);
    r->prompt_bytes = (int64_t)strlen(prompt);
    if (r->prompt_bytes == 0 || r->text_bytes > c->positions || strncmp(text, prompt, strlen(prompt)) != 0)
        stop(EXIT_BROKEN, "%s: \"greedy\" must begin with \"greedy_prompt\" and have at most %" PRId64 " bytes", path,
             c->positions);
    r->text = allocate(r->text_bytes, 1);
    memcpy(r->text, text, (size_t)r->text_bytes);
    r->window = json_integer_value(json_object_get(root, "window"));
    if (r->window < 1 || r->window > c->positions)
        stop(EXIT_BROKEN, "%s: \"window\" must be from 1 to %" PRId64, path, c->positions);
    nats = json_object_get(root, "window_nats_per_byte");
    r->windows = (int64_t)json_array_size(nats);
    if (r->windows < 1 || r->windows > MOST_WINDOWS)
        stop(EXIT_BROKEN, "%s: \"window_nats_per_byte\" must be a list of 1 to %d numbers", path, MOST_WINDOWS);
    r->nats_per_byte = allocate(r->windows, sizeof *r->nats_per_byte);
    for (int64_t i = 0; i < r->windows; i++)
        r->nats_per_byte[i] = json_number_value(json_array_get(nats, (size_t)i));
    json_decref(root);
}

static void read_logits(reference *r, const model_config *c, const char *path)
{
    gmm_safetensors *file;
    gmm_tensor tokens, logits;

    must(gmm_safetensors_open(path, &file), "references");
    if (!gmm_safetensors_find(file, "prompt_ids", &tokens) || !gmm_safetensors_find(file, "logits", &logits))
        stop(EXIT_BROKEN, "%s: no tensors prompt_ids and logits", path);
    if (tokens.dtype != GMM_I32 || tokens.ndim != 1 || tokens.shape[0] < 1 || tokens.shape[0] > c->positions ||
        logits.dtype != GMM_F64 || logits.ndim != 2 || logits.shape[0] != tokens.shape[0] ||
        logits.shape[1] != c->vocab)
        stop(EXIT_BROKEN, "%s: prompt_ids must be I32 (tokens), logits F64 (tokens, %" PRId64 ")", path, c->vocab);
    r->token_count = tokens.shape[0];
    r->tokens = allocate(r->token_count, 1);
    for (int64_t t = 0; t < r->token_count; t++) {
        int32_t id;
        memcpy(&id, (const char *)tokens.data + t * (int64_t)sizeof id, sizeof id);
        if (id < 0 || id >= c->vocab)
            stop(EXIT_BROKEN, "%s: prompt_ids[%" PRId64 "] is %d", path, t, id);
        r->tokens[t] = (uint8_t)id;
    }
    r->logits = allocate(r->token_count * c->vocab, sizeof *r->logits);
    memcpy(r->logits, logits.data, logits.size_bytes);
    gmm_safetensors_close(file);
}

static void read_heldout(reference *r, const char *path)
{
    int64_t bytes = r->windows * r->window + 1; /* the last byte is only predicted */
    FILE *file = fopen(path, "rb");

    if (!file)
        stop(EXIT_BROKEN, "%s: cannot be opened", path);
    r->heldout = allocate(bytes, 1);
    if (fread(r->heldout, 1, (size_t)bytes, file) != (size_t)bytes)
        stop(EXIT_BROKEN, "%s: fewer than the %" PRId64 " bytes that reference.json counts", path, bytes);
    fclose(file);
}

void reference_open(reference *r, const checkpoint *source)
{
    char *json = path_join(source->directory, "reference.json");
    char *tensors = path_join(source->directory, "reference.safetensors");
    char *heldout = path_join(source->directory, "heldout.txt");

    read_json(r, &source->config, json);
    read_logits(r, &source->config, tensors);
    read_heldout(r, heldout);
    free(json);
    free(tensors);
    free(heldout);
}

void reference_close(reference *r)
{
    free(r->text);
    free(r->tokens);
    free(r->logits);
    free(r->heldout);
    free(r->nats_per_byte);
}

double reference_nats(const reference *r, int64_t windows)
{
    double total = 0.0;

    for (int64_t i = 0; i < windows; i++)
        total += r->nats_per_byte[i];
    return total / (double)windows;
}

double reference_margin(const reference *r, int64_t vocab)
{
    double margin = INFINITY;

    for (int64_t t = 0; t < r->token_count; t++) {
        double first = -INFINITY, second = -INFINITY;
        for (int64_t i = 0; i < vocab; i++) {
            double logit = r->logits[t * vocab + i];
            if (logit > first) {
                second = first;
                first = logit;
            } else if (logit > second) {
                second = logit;
            }
        }
        margin = first - second < margin ? first - second : margin;
    }
    return margin;
}
