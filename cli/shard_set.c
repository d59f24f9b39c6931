/* shard_set.c - see shard_set.h. */
/* SPDX-License-Identifier: MIT */
#include "shard_set.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "json_file.h"
#include "output.h"

char *join_path(const char *directory, const char *name)
{
    return must_format("%s%s%s", directory, has_suffix(directory, "/") ? "" : "/", name);
}

char *trim_slashes(const char *path)
{
    char *copy = must_format("%s", path);

    for (size_t length = strlen(copy); length > 1 && copy[length - 1] == '/'; length--)
        copy[length - 1] = '\0';
    return copy;
}

void split_path(const char *path, char **directory, char **name)
{
    const char *slash = strrchr(path, '/');

    *name = must_format("%s", slash ? slash + 1 : path);
    if (slash)
        *directory = slash == path ? must_format("/") : must_format("%.*s", (int)(slash - path), path);
    else
        *directory = must_format(".");
}

bool is_npy(const char *path)
{
    char magic[6];
    FILE *file = fopen(path, "rb");
    bool found = file && fread(magic, 1, sizeof magic, file) == sizeof magic && !memcmp(magic, "\x93NUMPY", 6);

    if (file)
        fclose(file);
    return found;
}

int64_t tensor_elements(const gmm_tensor *tensor)
{
    int64_t elements = 1;

    for (int32_t d = 0; d < tensor->ndim; d++)
        elements *= tensor->shape[d];
    return elements;
}

bool has_suffix(const char *name, const char *suffix)
{
    size_t length = strlen(name), end = strlen(suffix);

    return length >= end && !strcmp(name + length - end, suffix);
}

void checkpoint_problem(checkpoint *c, char *text)
{
    c->problems = must_grow(c->problems, c->problem_count + 1, sizeof *c->problems);
    c->problems[c->problem_count++] = text;
}

static void add_shard(checkpoint *c, const char *name)
{
    c->shards = must_grow(c->shards, c->shard_count + 1, sizeof *c->shards);
    c->shards[c->shard_count++] = (shard){must_format("%s", name), join_path(c->directory, name), NULL};
}

static int by_shard_name(const void *a, const void *b)
{
    return strcmp(((const shard *)a)->name, ((const shard *)b)->name);
}

static int by_tensor_name(const void *a, const void *b)
{
    return strcmp((*(const entry *const *)a)->tensor.name, (*(const entry *const *)b)->tensor.name);
}

static void sort_shards(checkpoint *c)
{
    if (c->shard_count)
        qsort(c->shards, c->shard_count, sizeof *c->shards, by_shard_name);
}

/* The shards that an index names, once each. A name that leads out of the directory is refused: indexes are downloaded.
 */
static int shards_of_index(checkpoint *c, json_t *map)
{
    json_t *seen = json_object();
    const char *tensor;
    json_t *value;
    int status = EXIT_FINE;

    json_object_foreach(map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (!name || !*name || strchr(name, '/') || name[0] == '.') {
            char *shown = escape_text(name ? name : "not a string"), *key = escape_text(tensor);
            complain("%s/" INDEX_NAME ": weight_map: the file of '%s' may not be '%s'", c->directory, key, shown);
            free(shown);
            free(key);
            status = EXIT_COULD_NOT_RUN;
            break;
        }
        if (!json_object_get(seen, name)) {
            json_object_set_new(seen, name, json_true());
            add_shard(c, name);
        }
    }
    json_decref(seen);
    return status;
}

/* Every model*.safetensors of the directory: the shards when there is no index, else a problem if the index has none of
 * it, for loaders that take all of them would load it. */
static int scan_directory(checkpoint *c)
{
    struct dirent *found;
    DIR *directory = opendir(c->directory);
    size_t listed = c->shard_count;

    if (!directory) {
        complain("%s: %s", c->directory, strerror(errno));
        return EXIT_COULD_NOT_RUN;
    }
    while ((found = readdir(directory))) {
        size_t s = 0;
        if (fnmatch("model*.safetensors", found->d_name, 0))
            continue;
        while (s < listed && strcmp(c->shards[s].name, found->d_name))
            s++;
        if (!c->has_index)
            add_shard(c, found->d_name);
        else if (s == listed)
            checkpoint_problem(c, must_format("%s is not in " INDEX_NAME, found->d_name));
    }
    closedir(directory);
    if (c->shard_count)
        return EXIT_FINE;
    complain("%s: no " INDEX_NAME " and no model*.safetensors in this directory", c->directory);
    return EXIT_COULD_NOT_RUN;
}

void checkpoint_sort_names(checkpoint *c)
{
    if (c->count)
        qsort(c->by_name, c->count, sizeof *c->by_name, by_tensor_name);
}

static int open_shards(checkpoint *c)
{
    for (size_t s = 0; s < c->shard_count; s++) {
        gmm_status status = gmm_safetensors_open(c->shards[s].path, &c->shards[s].file);
        if (status)
            return complain_status(status);
        c->count += gmm_safetensors_count(c->shards[s].file);
    }
    c->entries = must_allocate(c->count, sizeof *c->entries);
    c->by_name = must_allocate(c->count, sizeof *c->by_name);
    size_t e = 0;
    for (size_t s = 0; s < c->shard_count; s++)
        for (size_t i = 0; gmm_safetensors_at(c->shards[s].file, i, &c->entries[e].tensor); i++) {
            c->entries[e].shard = s;
            c->by_name[e] = &c->entries[e];
            e++;
        }
    checkpoint_sort_names(c);
    for (size_t i = 1; i < c->count; i++)
        if (!strcmp(c->by_name[i - 1]->tensor.name, c->by_name[i]->tensor.name))
            checkpoint_problem(c, must_format("'%s' is in %s and in %s", c->by_name[i]->tensor.name,
                                              c->shards[c->by_name[i - 1]->shard].name,
                                              c->shards[c->by_name[i]->shard].name));
    return EXIT_FINE;
}

/* Index and shards must name the same tensors in the same files. */
static void compare_with_index(checkpoint *c, json_t *map)
{
    const char *name;
    json_t *value;

    json_object_foreach(map, name, value)
    {
        const entry *e = checkpoint_find(c, name, "");
        if (!e)
            checkpoint_problem(c, must_format("'%s' is in " INDEX_NAME " and in no file", name));
        else if (strcmp(c->shards[e->shard].name, json_string_value(value)))
            checkpoint_problem(c, must_format("'%s' is in %s; " INDEX_NAME " says %s", name, c->shards[e->shard].name,
                                              json_string_value(value)));
    }
    for (size_t i = 0; i < c->count; i++)
        if (!json_object_get(map, c->entries[i].tensor.name))
            checkpoint_problem(c, must_format("'%s' is in %s and not in " INDEX_NAME, c->entries[i].tensor.name,
                                              c->shards[c->entries[i].shard].name));
}

static int load_config(checkpoint *c)
{
    char *path = join_path(c->directory, CONFIG_NAME);
    int status = load_json(path, &c->config);

    if (c->config && !json_is_object(c->config)) {
        complain("%s: not a JSON object", path);
        status = EXIT_COULD_NOT_RUN;
    }
    free(path);
    return status;
}

static int open_directory(checkpoint *c)
{
    json_t *index = NULL, *map = NULL;

    c->directory = must_format("%s", c->path);
    char *path = join_path(c->directory, INDEX_NAME);
    int status = load_json(path, &index);
    if (!status && index) {
        map = json_object_get(index, "weight_map");
        c->has_index = true;
        if (!json_object_size(map)) {
            complain("%s: no weight_map in it", path);
            status = EXIT_COULD_NOT_RUN;
        }
    }
    free(path);
    if (!status && map)
        status = shards_of_index(c, map);
    if (!status)
        status = scan_directory(c);
    sort_shards(c);
    if (!status)
        status = open_shards(c);
    if (!status)
        status = load_config(c);
    if (!status && map)
        compare_with_index(c, map);
    json_decref(index);
    return status;
}

/* The quantization entry that 'gathermm quantize' puts into a file's metadata, as a config; NULL if there is none. */
static json_t *config_of_metadata(const checkpoint *c)
{
    const char *key, *value;
    json_t *quantization = NULL;

    for (size_t i = 0; !quantization && gmm_safetensors_metadata_at(c->shards[0].file, i, &key, &value); i++)
        if (!strcmp(key, "quantization"))
            quantization = parse_json(value);
    if (!json_is_object(quantization)) {
        json_decref(quantization);
        return NULL;
    }
    return json_pack("{s:o}", "quantization", quantization);
}

/* A file by itself. Metadata explains its quantized modules, else its directory's config.json, as for a single shard.
 * Without such modules any config.json may lie beside it. */
static int open_file(checkpoint *c)
{
    char *name;
    quantized_module module;

    split_path(c->path, &c->directory, &name);
    c->shards = must_allocate(1, sizeof *c->shards);
    c->shards[c->shard_count++] = (shard){name, must_format("%s", c->path), NULL};
    if (is_npy(c->path)) {
        complain("%s is an npy file; safetensors is needed", c->path);
        return EXIT_COULD_NOT_RUN;
    }
    int status = open_shards(c);
    for (size_t i = 0; !status && i < c->count; i++)
        if (quantized_module_of(c, &c->entries[i], &module)) {
            free(module.name);
            c->config = config_of_metadata(c);
            return c->config ? EXIT_FINE : load_config(c);
        }
    return status;
}

int checkpoint_open(const char *path, checkpoint *c)
{
    struct stat info;

    *c = (checkpoint){.path = trim_slashes(path)};
    int status = EXIT_COULD_NOT_RUN;
    if (stat(c->path, &info))
        complain("%s: %s", c->path, strerror(errno));
    else {
        c->is_directory = S_ISDIR(info.st_mode);
        status = c->is_directory ? open_directory(c) : open_file(c);
    }
    if (status)
        checkpoint_close(c);
    return status;
}

void checkpoint_close(checkpoint *c)
{
    for (size_t s = 0; s < c->shard_count; s++) {
        gmm_safetensors_close(c->shards[s].file);
        free(c->shards[s].name);
        free(c->shards[s].path);
    }
    for (size_t i = 0; i < c->problem_count; i++)
        free(c->problems[i]);
    free(c->problems);
    free(c->shards);
    free(c->entries);
    free(c->by_name);
    free(c->directory);
    free(c->path);
    json_decref(c->config);
    json_decref(c->packed);
    *c = (checkpoint){0};
}

const entry *checkpoint_find(const checkpoint *c, const char *stem, const char *suffix)
{
    char *name = must_format("%s%s", stem, suffix);
    const entry wanted = {.tensor = {.name = name}}, *key = &wanted;
    const entry **found = bsearch(&key, c->by_name, c->count, sizeof *c->by_name, by_tensor_name);

    free(name);
    return found ? *found : NULL;
}

/* ---- quantized modules ------------------------------------------------------------------------------------------- */

bool quantized_module_of(const checkpoint *c, const entry *e, quantized_module *m)
{
    static const char suffix[] = ".weight";

    if (e->tensor.dtype != GMM_U32 || !has_suffix(e->tensor.name, suffix))
        return false;
    char *name = must_format("%.*s", (int)(strlen(e->tensor.name) - strlen(suffix)), e->tensor.name);
    *m = (quantized_module){name, e, checkpoint_find(c, name, ".scales"), checkpoint_find(c, name, ".biases")};
    if (m->scales)
        return true;
    free(name);
    return false;
}

json_t *quantization_entry(const json_t *config)
{
    json_t *quantization = json_object_get(config, "quantization");

    return json_is_object(quantization) ? quantization : json_object_get(config, "quantization_config");
}

static int32_t small_integer(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));

    return value > 0 && value < 1000000 ? (int32_t)value : 0;
}

bool module_format(const json_t *quantization, const char *module, const char **mode, int32_t *bits,
                   int32_t *group_size)
{
    const json_t *own = json_object_get(quantization, module), *from = json_is_object(own) ? own : quantization;

    *mode = json_string_value(json_object_get(from, "mode"));
    *bits = small_integer(from, "bits");
    *group_size = small_integer(from, "group_size");
    return !json_is_false(own);
}
