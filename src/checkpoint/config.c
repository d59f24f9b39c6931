/* config.c - see config.h. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/config.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "checkpoint/tensor_set.h"
#include "io/file_check.h"

/* Overrides for each module of the largest model are 3 MB. */
#define MAX_CONFIG_BYTES ((size_t)16 << 20)

gmm_status gmm_config_open(const char *directory, gmm_config *config)
{
    *config = (gmm_config){.path = gmm_path_join(directory, "config.json")};
    if (!config->path)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for its name", directory);
    gmm_status status = gmm_json_load(config->path, MAX_CONFIG_BYTES, &config->root);
    if (status != GMM_OK)
        return status;
    /* mlx-lm writes both, and means the first. */
    json_t *own = json_object_get(config->root, "quantization");
    json_t *other = json_object_get(config->root, "quantization_config");
    config->is_mlx = json_is_object(own);
    config->quantization = config->is_mlx ? own : other;
    if (json_is_null(config->quantization))
        config->quantization = NULL;
    if (config->quantization && !json_is_object(config->quantization))
        return gmm_malformed(config->path, "quantization_config is not a JSON object");
    return GMM_OK;
}

void gmm_config_close(gmm_config *config)
{
    json_decref(config->root);
    free(config->path);
    *config = (gmm_config){0};
}

static const json_t *member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_null(value) ? NULL : value;
}

/* What an integer must be, in words. */
static gmm_status not_integer(const gmm_config *config, const char *where, const char *key, const json_t *value,
                              int64_t least, int64_t most)
{
    static const char *const kinds[] = {"an object", "a list", "a string", "", "", "true", "false", "null"};
    char number[64];

    if (json_is_integer(value))
        snprintf(number, sizeof number, "%" PRId64, (int64_t)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(number, sizeof number, "%.6g", json_real_value(value));
    else
        snprintf(number, sizeof number, "%s", kinds[json_typeof(value)]);
    return gmm_malformed(config->path, "%s%s is %s; it must be an integer from %" PRId64 " to %" PRId64, where, key,
                         number, least, most);
}

static bool integer_in(const json_t *value, int64_t least, int64_t most)
{
    return json_is_integer(value) && json_integer_value(value) >= least && json_integer_value(value) <= most;
}

gmm_status gmm_config_optional(const gmm_config *config, const char *key, int64_t least, int64_t most, int64_t *value)
{
    const json_t *found = member(config->root, key);

    if (!found)
        return GMM_OK;
    if (!integer_in(found, least, most))
        return not_integer(config, "", key, found, least, most);
    *value = json_integer_value(found);
    return GMM_OK;
}

gmm_status gmm_config_integer(const gmm_config *config, const char *key, int64_t least, int64_t most, int64_t *value)
{
    if (!member(config->root, key))
        return gmm_malformed(config->path, "no %s; it must be an integer from %" PRId64 " to %" PRId64, key, least,
                             most);
    return gmm_config_optional(config, key, least, most, value);
}

gmm_status gmm_config_number(const gmm_config *config, const char *key, float *value)
{
    const json_t *found = member(config->root, key);

    if (!found)
        return GMM_OK;
    double number = json_number_value(found); /* 0 if it is none */
    if (!(number > 0) || !isfinite((float)number))
        return gmm_malformed(config->path, "%s is %.6g; it must be a number above 0 that f32 holds", key, number);
    *value = (float)number;
    return GMM_OK;
}

gmm_status gmm_config_flag(const gmm_config *config, const char *key, bool *value)
{
    const json_t *found = member(config->root, key);

    if (!found)
        return GMM_OK;
    if (!json_is_boolean(found))
        return gmm_malformed(config->path, "%s is neither true nor false", key);
    *value = json_is_true(found);
    return GMM_OK;
}

gmm_status gmm_config_word(const gmm_config *config, const char *key, const char **value)
{
    const json_t *found = member(config->root, key);

    if (!found)
        return GMM_OK;
    if (!json_is_string(found))
        return gmm_malformed(config->path, "%s is not a string", key);
    *value = json_string_value(found);
    return GMM_OK;
}

gmm_status gmm_config_list_has(const gmm_config *config, const char *key, int64_t wanted, bool *found)
{
    const json_t *list = member(config->root, key);

    *found = false;
    if (list && !json_is_array(list))
        return gmm_malformed(config->path, "%s is not a list", key);
    if (json_array_size(list) > GMM_CONFIG_MAX_LAYERS)
        return gmm_malformed(config->path, "%s has %zu elements; at most %d are supported", key, json_array_size(list),
                             GMM_CONFIG_MAX_LAYERS);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        if (!integer_in(value, 0, GMM_CONFIG_MAX_SIZE))
            return not_integer(config, "an element of ", key, value, 0, GMM_CONFIG_MAX_SIZE);
        *found |= json_integer_value(value) == wanted;
    }
    return GMM_OK;
}

/* ---- quantization ---- */

static gmm_status small_integer(const gmm_config *config, const json_t *entry, const char *key, int32_t *value)
{
    const json_t *found = member(entry, key);

    if (!found)
        return GMM_OK;
    if (!integer_in(found, 1, 1 << 20))
        return not_integer(config, "quantization: ", key, found, 1, 1 << 20);
    *value = (int32_t)json_integer_value(found);
    return GMM_OK;
}

gmm_status gmm_config_module(const gmm_config *config, const char *module, gmm_module_format *format)
{
    const json_t *own = json_object_get(config->quantization, module);
    const json_t *entry = json_is_object(own) ? own : config->quantization, *mode;

    *format = (gmm_module_format){0};
    if (!config->quantization)
        return gmm_malformed(config->path, "no quantization, but there is a tensor " GMM_QUOTED, module);
    if (own && !json_is_object(own) && !json_is_true(own))
        return gmm_malformed(config->path, "quantization: " GMM_QUOTED " is not an object, but the module has scales",
                             module);
    gmm_status status = small_integer(config, entry, "bits", &format->bits);
    if (status == GMM_OK)
        status = small_integer(config, entry, "group_size", &format->group_size);
    if (status != GMM_OK)
        return status;
    mode = member(entry, "mode");
    if (mode && !json_is_string(mode))
        return gmm_malformed(config->path, "quantization: mode is not a string");
    format->mode = json_string_value(mode);
    return GMM_OK;
}

gmm_status gmm_config_fp8_block(const gmm_config *config, int64_t block[2])
{
    const json_t *list = config->is_mlx ? NULL : member(config->quantization, "weight_block_size");

    block[0] = block[1] = 128;
    if (!list)
        return GMM_OK;
    if (!json_is_array(list) || json_array_size(list) != 2)
        return gmm_malformed(config->path, "quantization_config: weight_block_size is not a list of two integers");
    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_array_get(list, i);
        if (!integer_in(value, 1, GMM_CONFIG_MAX_SIZE))
            return not_integer(config, "quantization_config: ", "weight_block_size", value, 1, GMM_CONFIG_MAX_SIZE);
        block[i] = json_integer_value(value);
    }
    return GMM_OK;
}
