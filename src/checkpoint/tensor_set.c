/* tensor_set.c - see tensor_set.h. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/tensor_set.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "checkpoint/gguf_set.h"
#include "io/file_check.h"
#include "io/io_file.h"

#define INDEX_NAME "model.safetensors.index.json"

/* That of DeepSeek-V3, 91,991 tensors, has 9 MB. jansson makes up to 25 times as much of it. */
#define MAX_INDEX_BYTES ((size_t)64 << 20)

static gmm_status no_memory(const char *path)
{
    return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for its list of tensors", path);
}

char *gmm_path_join(const char *directory, const char *name)
{
    size_t length = strlen(directory), size = length + strlen(name) + 2;
    char *path = malloc(size);

    if (path)
        snprintf(path, size, "%s%s%s", directory, length > 0 && directory[length - 1] == '/' ? "" : "/", name);
    return path;
}

gmm_status gmm_json_load(const char *path, size_t limit, json_t **value)
{
    gmm_mapping mapping;
    json_error_t error;

    gmm_status status = gmm_mapping_open(path, &mapping);
    if (status != GMM_OK)
        return status;
    if (mapping.size > limit) {
        status = gmm_malformed(path, "%zu bytes; at most %zu are supported", mapping.size, limit);
        gmm_mapping_close(&mapping);
        return status;
    }
    *value = json_loadb(mapping.bytes ? (const char *)mapping.bytes : "", mapping.size, JSON_REJECT_DUPLICATES, &error);
    gmm_mapping_close(&mapping);
    if (!*value && (json_error_code(&error) == json_error_out_of_memory || !error.text[0]))
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for its contents", path);
    if (!*value)
        return gmm_malformed(path, "line %d, column %d: %s", error.line, error.column, error.text);
    if (json_is_object(*value))
        return GMM_OK;
    json_decref(*value);
    *value = NULL;
    return gmm_malformed(path, "not a JSON object");
}

/* ---- the list of files ---- */

static gmm_status add_shard(gmm_tensor_set *set, const char *name)
{
    gmm_shard *shards = realloc(set->shards, (set->shard_count + 1) * sizeof *shards);

    if (!shards)
        return no_memory(set->path);
    set->shards = shards;
    shards[set->shard_count] = (gmm_shard){.path = gmm_path_join(set->directory, name)};
    if (!shards[set->shard_count].path)
        return no_memory(set->path);
    set->shard_count++;
    return GMM_OK;
}

static int by_path(const void *left, const void *right)
{
    const gmm_shard *a = left, *b = right;

    return strcmp(a->path, b->path);
}

/* Not one that leads out of the folder, for indexes are downloaded, nor one that a terminal would obey. */
static bool is_file_name(const char *name)
{
    bool plain = name && *name && *name != '.';

    for (; plain && *name; name++)
        plain = *name != '/' && (unsigned char)*name >= 0x20 && *name != 0x7F;
    return plain;
}

/* The files that an index names, once each. */
static gmm_status shards_of_index(gmm_tensor_set *set, const char *path, json_t *map)
{
    json_t *seen = json_object(), *value;
    const char *tensor;
    gmm_status status = seen ? GMM_OK : no_memory(path);

    json_object_foreach(map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (status != GMM_OK)
            break;
        if (!is_file_name(name))
            status = gmm_malformed(path, "the file of tensor " GMM_QUOTED " may not be " GMM_QUOTED, tensor,
                                   name ? name : "no string");
        else if (!json_object_get(seen, name))
            status = json_object_set_new(seen, name, json_true()) == 0 ? add_shard(set, name) : no_memory(path);
    }
    json_decref(seen);
    return status;
}

static gmm_status scan_directory(gmm_tensor_set *set)
{
    const struct dirent *found;
    gmm_status status = GMM_OK;
    DIR *directory = opendir(set->directory);

    if (!directory) {
        char reason[128];
        if (strerror_r(errno, reason, sizeof reason) != 0)
            snprintf(reason, sizeof reason, "error");
        return gmm_fail(GMM_ERR_FILE, "%s: cannot open: %s", set->directory, reason);
    }
    while (status == GMM_OK && (found = readdir(directory)) != NULL)
        if (fnmatch("model*.safetensors", found->d_name, 0) == 0)
            status = add_shard(set, found->d_name);
    closedir(directory);
    if (status == GMM_OK && set->shard_count == 0)
        status =
            gmm_fail(GMM_ERR_FILE, "%s: no " INDEX_NAME " and no model*.safetensors in this folder", set->directory);
    return status;
}

/* ---- their tensors ---- */

static int by_name(const void *left, const void *right)
{
    const gmm_set_entry *a = left, *b = right;
    int order = strcmp(a->tensor.name, b->tensor.name);

    return order ? order : strcmp(a->path, b->path);
}

static int name_against(const void *name, const void *entry)
{
    const gmm_set_entry *e = entry;

    return strcmp(name, e->tensor.name);
}

static gmm_status list_tensors(gmm_tensor_set *set, size_t count)
{
    const gmm_gguf_tensor *tensor;

    set->entries = calloc(count + 1, sizeof *set->entries);
    if (!set->entries)
        return no_memory(set->path);
    for (size_t s = 0; s < set->shard_count; s++) {
        const gmm_shard *shard = &set->shards[s];
        for (size_t i = 0; shard->file && gmm_safetensors_at(shard->file, i, &set->entries[set->count].tensor); i++)
            set->entries[set->count++].path = shard->path;
        for (size_t i = 0; shard->gguf && (tensor = gmm_gguf_tensor_at(shard->gguf, i)) != NULL; i++)
            set->entries[set->count++] = (gmm_set_entry){tensor->tensor, shard->path, tensor->type};
    }
    qsort(set->entries, set->count, sizeof *set->entries, by_name);
    for (size_t i = 1; i < set->count; i++)
        if (strcmp(set->entries[i - 1].tensor.name, set->entries[i].tensor.name) == 0)
            return gmm_malformed(set->entries[i].path, "tensor " GMM_QUOTED " is also in %s",
                                 set->entries[i].tensor.name, set->entries[i - 1].path);
    return GMM_OK;
}

static gmm_status open_shards(gmm_tensor_set *set, const char *index_path)
{
    size_t count = 0;

    if (set->shard_count > 1)
        qsort(set->shards, set->shard_count, sizeof *set->shards, by_path);
    for (size_t s = 0; s < set->shard_count; s++) {
        gmm_status status = gmm_safetensors_open(set->shards[s].path, &set->shards[s].file);
        if (status == GMM_ERR_FILE && index_path) {
            char detail[500];
            snprintf(detail, sizeof detail, "%s", gmm_error_detail());
            return gmm_fail(status, "%s; %s names it, file %zu of %zu", detail, index_path, s + 1, set->shard_count);
        }
        if (status != GMM_OK)
            return status;
        count += gmm_safetensors_count(set->shards[s].file);
    }
    return list_tensors(set, count);
}

/* What the index promises must be where it says. What it does not know of does no harm. */
static gmm_status check_index(const gmm_tensor_set *set, const char *path, json_t *map)
{
    const char *name;
    json_t *value;

    json_object_foreach(map, name, value)
    {
        const gmm_set_entry *entry = gmm_tensor_set_find(set, name);
        const char *file = json_string_value(value);
        if (!entry)
            return gmm_malformed(path, "tensor " GMM_QUOTED " is in no file; it should be in " GMM_QUOTED, name, file);
        const char *slash = strrchr(entry->path, '/');
        if (strcmp(slash ? slash + 1 : entry->path, file) != 0)
            return gmm_malformed(path, "tensor " GMM_QUOTED " is in %s; it should be in " GMM_QUOTED, name, entry->path,
                                 file);
    }
    return GMM_OK;
}

static gmm_status open_index(gmm_tensor_set *set, const char *path)
{
    json_t *index = NULL;

    gmm_status status = gmm_json_load(path, MAX_INDEX_BYTES, &index);
    if (status != GMM_OK)
        return status;
    json_t *map = json_object_get(index, "weight_map");
    if (json_object_size(map) == 0) /* 0 also if it is no object */
        status = gmm_malformed(path, "no weight_map with tensors in it");
    if (status == GMM_OK)
        status = shards_of_index(set, path, map);
    if (status == GMM_OK)
        status = open_shards(set, path);
    if (status == GMM_OK)
        status = check_index(set, path, map);
    json_decref(index);
    return status;
}

/* ---- what a path is ---- */

static gmm_status open_directory(gmm_tensor_set *set)
{
    struct stat info;

    set->directory = strdup(set->path);
    char *index_path = set->directory ? gmm_path_join(set->directory, INDEX_NAME) : NULL;
    if (!index_path)
        return no_memory(set->path);
    gmm_status status;
    if (stat(index_path, &info) == 0)
        status = open_index(set, index_path);
    else if ((status = scan_directory(set)) == GMM_OK)
        status = open_shards(set, NULL);
    free(index_path);
    return status;
}

static gmm_status open_file(gmm_tensor_set *set)
{
    const char *slash = strrchr(set->path, '/'), *name = slash ? slash + 1 : set->path;
    size_t folder = slash ? (size_t)(slash - set->path) + (slash == set->path) : 0;

    set->directory = folder ? strndup(set->path, folder) : strdup(".");
    if (!set->directory)
        return no_memory(set->path);
    if (fnmatch("*.index.json", name, 0) == 0)
        return open_index(set, set->path);
    gmm_status status = add_shard(set, name);
    return status == GMM_OK ? open_shards(set, NULL) : status;
}

static gmm_status open_gguf(gmm_tensor_set *set)
{
    size_t count = 0;

    gmm_status status = gmm_gguf_set_open(set);
    if (status != GMM_OK)
        return status;
    for (size_t s = 0; s < set->shard_count; s++)
        for (size_t i = 0; gmm_gguf_tensor_at(set->shards[s].gguf, i); i++)
            count++;
    return list_tensors(set, count);
}

gmm_status gmm_tensor_set_open(const char *path, gmm_tensor_set *set)
{
    struct stat info;

    *set = (gmm_tensor_set){.path = strdup(path)};
    if (!set->path)
        return no_memory(path);
    /* A path that is not there is for the opening of the file to complain about. */
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return open_directory(set);
    return gmm_gguf_path(path) ? open_gguf(set) : open_file(set);
}

void gmm_tensor_set_close(gmm_tensor_set *set)
{
    for (size_t s = 0; s < set->shard_count; s++) {
        gmm_safetensors_close(set->shards[s].file);
        gmm_gguf_close(set->shards[s].gguf);
        free(set->shards[s].path);
    }
    free(set->shards);
    free(set->entries);
    free(set->directory);
    free(set->path);
    *set = (gmm_tensor_set){0};
}

const gmm_set_entry *gmm_tensor_set_find(const gmm_tensor_set *set, const char *name)
{
    return set->count ? bsearch(name, set->entries, set->count, sizeof *set->entries, name_against) : NULL;
}
