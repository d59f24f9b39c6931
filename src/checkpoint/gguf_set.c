/* gguf_set.c - see gguf_set.h. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/gguf_set.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "io/file_check.h"

#define SUFFIX ".gguf"

/* The end of the name of one of several files: "-00001-of-00003.gguf". */
#define PART_LENGTH 20

#define MAX_PARTS 99999

#define ARCHITECTURE "general.architecture"

/* Words that are of use here are short. */
#define MAX_TEXT 256

bool gmm_gguf_path(const char *path)
{
    size_t length = strlen(path), suffix = strlen(SUFFIX);

    return length > suffix && strcmp(path + length - suffix, SUFFIX) == 0;
}

static gmm_status no_memory(const char *path)
{
    return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for its metadata", path);
}

/* ---- files ---- */

/* An integer of the metadata; `fallback` where there is none. */
static gmm_status integer(const gmm_shard *shard, const char *key, int64_t least, int64_t most, int64_t fallback,
                          int64_t *number)
{
    const gmm_gguf_value *value = gmm_gguf_find(shard->gguf, key);

    *number = value ? value->integer : fallback;
    if (value && (value->kind != GMM_GGUF_INTEGER || value->integer < least || value->integer > most))
        return gmm_malformed(shard->path, "%s is %" PRId64 "; it must be an integer from %" PRId64 " to %" PRId64, key,
                             value->integer, least, most);
    return GMM_OK;
}

static gmm_status open_part(gmm_shard *shards, size_t part, int64_t count)
{
    int64_t number = 0, of = 0;

    gmm_status status = gmm_gguf_open(shards[part].path, &shards[part].gguf);
    if (status == GMM_OK)
        status = integer(&shards[part], "split.no", 0, MAX_PARTS, 0, &number);
    if (status == GMM_OK)
        status = integer(&shards[part], "split.count", 0, MAX_PARTS, 0, &of);
    if (status == GMM_OK && (number != (int64_t)part || of != count))
        status = gmm_malformed(shards[part].path,
                               "split.no %" PRId64 " and split.count %" PRId64
                               ", but it is opened as file %zu of %" PRId64 ", counted from 0",
                               number, of, part, count);
    return status;
}

/* The other parts, by the name of the first. */
static gmm_status open_parts(gmm_tensor_set *set, int64_t count)
{
    char end[PART_LENGTH + 1];
    size_t length = strlen(set->path);
    const char *tail = length >= PART_LENGTH ? set->path + length - PART_LENGTH : "";
    gmm_status status = GMM_OK;

    snprintf(end, sizeof end, "-00001-of-%05" PRId64 SUFFIX, count % (MAX_PARTS + 1));
    if (strcmp(tail, end) != 0)
        return gmm_malformed(set->path, "the first of %" PRId64 " files, but its name does not end in %s", count, end);
    gmm_shard *shards = realloc(set->shards, (size_t)count * sizeof *shards);
    if (!shards)
        return no_memory(set->path);
    set->shards = shards;
    for (size_t part = 1; part < (size_t)count && status == GMM_OK; part++) {
        shards[part] = (gmm_shard){.path = strdup(set->path)};
        set->shard_count++;
        if (!shards[part].path)
            return no_memory(set->path);
        snprintf(end, sizeof end, "-%05zu", part + 1);
        memcpy(shards[part].path + length - PART_LENGTH, end, 6);
        status = open_part(shards, part, count);
    }
    return status;
}

static gmm_status check_count(const gmm_tensor_set *set)
{
    int64_t wanted = -1, count = 0;

    gmm_status status = integer(&set->shards[0], "split.tensors.count", 0, INT32_MAX, -1, &wanted);
    for (size_t s = 0; s < set->shard_count; s++)
        for (size_t i = 0; gmm_gguf_tensor_at(set->shards[s].gguf, i); i++)
            count++;
    if (status == GMM_OK && wanted >= 0 && wanted != count)
        status = gmm_malformed(set->path, "split.tensors.count is %" PRId64 ", but %zu files have %" PRId64 " tensors",
                               wanted, set->shard_count, count);
    return status;
}

gmm_status gmm_gguf_set_open(gmm_tensor_set *set)
{
    int64_t count = 0, number = 0;

    set->shards = calloc(1, sizeof *set->shards);
    if (!set->shards)
        return no_memory(set->path);
    set->shard_count = 1;
    set->shards[0].path = strdup(set->path);
    if (!set->shards[0].path)
        return no_memory(set->path);
    gmm_status status = gmm_gguf_open(set->path, &set->shards[0].gguf);
    if (status == GMM_OK)
        status = integer(&set->shards[0], "split.count", 0, MAX_PARTS, 0, &count);
    if (status == GMM_OK)
        status = integer(&set->shards[0], "split.no", 0, MAX_PARTS, 0, &number);
    if (status == GMM_OK && number != 0)
        status = gmm_malformed(set->path, "file %" PRId64 " of %" PRId64 "; the first one is to be opened", number + 1,
                               count);
    if (status == GMM_OK && count > 1)
        status = open_parts(set, count);
    return status == GMM_OK ? check_count(set) : status;
}

/* ---- metadata ---- */

/* One entry, if it is of use; NULL: without memory, or not UTF-8. */
static json_t *as_json(const gmm_gguf_value *value)
{
    return value->kind == GMM_GGUF_INTEGER ? json_integer(value->integer)
           : value->kind == GMM_GGUF_REAL  ? json_real(value->real)
           : value->kind == GMM_GGUF_FLAG  ? json_boolean(value->integer)
                                           : json_stringn(value->text, value->length);
}

static gmm_status add(gmm_config *config, const gmm_gguf_value *value, const char *key)
{
    bool number = value->kind != GMM_GGUF_REAL || isfinite(value->real);

    if (value->kind == GMM_GGUF_ARRAY || (value->kind == GMM_GGUF_TEXT && value->length > MAX_TEXT))
        return GMM_OK;
    if (json_object_get(config->root, key))
        return gmm_malformed(config->path, "metadata " GMM_QUOTED " appears twice", value->key);
    json_t *json = number ? as_json(value) : NULL;
    if (!json)
        return gmm_malformed(config->path, "metadata " GMM_QUOTED " is %s", value->key,
                             value->kind == GMM_GGUF_TEXT ? "not UTF-8" : "no finite number");
    return json_object_set_new(config->root, key, json) == 0 ? GMM_OK : no_memory(config->path);
}

gmm_status gmm_gguf_config(const gmm_tensor_set *set, gmm_config *config, const char **architecture)
{
    const gmm_gguf *file = set->shards[0].gguf;
    const gmm_gguf_value *value, *name = gmm_gguf_find(file, ARCHITECTURE);
    gmm_status status = GMM_OK;

    *config = (gmm_config){.path = strdup(set->path), .root = json_object()};
    if (!config->path || !config->root)
        return no_memory(set->path);
    if (!name || name->kind != GMM_GGUF_TEXT || name->length == 0 || name->length > MAX_TEXT)
        return gmm_malformed(config->path, ARCHITECTURE " is %s", !name ? "missing" : "no name");
    for (size_t i = 0; status == GMM_OK && (value = gmm_gguf_value_at(file, i)) != NULL; i++) {
        size_t length = strlen(value->key);
        if (strcmp(value->key, ARCHITECTURE) == 0)
            status = add(config, value, ARCHITECTURE);
        else if (length > name->length + 1 && memcmp(value->key, name->text, name->length) == 0 &&
                 value->key[name->length] == '.')
            status = add(config, value, value->key + name->length + 1);
    }
    *architecture = json_string_value(json_object_get(config->root, ARCHITECTURE));
    return status;
}
