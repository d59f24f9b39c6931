/* checkpoint_open.c - opening a checkpoint: its files, its family, its layers. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/checkpoint_open.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "checkpoint/architecture.h"
#include "checkpoint/gguf_set.h"
#include "io/file_check.h"

/* ---- sources and weights ---- */

bool gmm_record_source(gmm_layer_record *record, size_t i, gmm_source **source, gmm_checkpoint_weights **weights)
{
    gmm_checkpoint_layer *layer = &record->layer;
    struct {
        gmm_source *source;
        gmm_checkpoint_weights *weights;
    } const all[] = {
        {&record->router, &layer->router},
        {&record->experts.gate, &layer->projections.gate},
        {&record->experts.up, &layer->projections.up},
        {&record->experts.gate_up, &layer->projections.gate_up},
        {&record->experts.down, &layer->projections.down},
        {&record->shared.gate, &layer->shared.gate},
        {&record->shared.up, &layer->shared.up},
        {&record->shared.gate_up, &layer->shared.gate_up},
        {&record->shared.down, &layer->shared.down},
    };

    if (i >= sizeof all / sizeof all[0])
        return false;
    *source = all[i].source;
    *weights = all[i].weights;
    return true;
}

static void describe(const gmm_source *source, gmm_checkpoint_weights *weights)
{
    const gmm_module *modules = source->modules;

    *weights = (gmm_checkpoint_weights){0};
    if (source->count == 0)
        return;
    *weights = (gmm_checkpoint_weights){
        .module = source->name,
        .format = gmm_module_format_name(modules),
        .bits = modules->bits,
        .group_size = modules->group_size,
        .count = source->count,
        .rows = source->rows,
        .cols = source->cols,
        .file_bytes = gmm_source_bytes(source),
    };
    for (int64_t m = 1; m < source->count && !source->stacked; m++)
        if (gmm_module_format_name(&modules[m]) != weights->format || modules[m].bits != weights->bits ||
            modules[m].group_size != weights->group_size)
            weights->format = "mixed";
}

/* ---- layers ---- */

static void free_record(gmm_layer_record *record)
{
    gmm_source *source;
    gmm_checkpoint_weights *weights;

    for (size_t i = 0; gmm_record_source(record, i, &source, &weights); i++)
        gmm_source_free(source);
}

static gmm_status add_layer(gmm_checkpoint *c, const gmm_checkpoint_layer *shared)
{
    gmm_layer_record *records = realloc(c->records, (c->count + 1) * sizeof *records);
    gmm_finder finder = {&c->set, &c->config};
    gmm_source *source;
    gmm_checkpoint_weights *weights;

    if (!records)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for %zu layers", c->set.path, c->count + 1);
    c->records = records;
    gmm_layer_record *record = &records[c->count++];
    *record = (gmm_layer_record){.layer = *shared};
    gmm_status status = c->family->find(&finder, record);
    if (status != GMM_OK)
        return status;
    for (size_t i = 0; gmm_record_source(record, i, &source, &weights); i++) {
        describe(source, weights);
        record->layer.file_bytes += weights->file_bytes;
    }
    if (record->correction) {
        gmm_tensor_array(record->correction, &record->correction_bias);
        record->layer.file_bytes += (int64_t)record->correction->size_bytes;
    }
    return GMM_OK;
}

static gmm_status find_layers(gmm_checkpoint *c)
{
    gmm_checkpoint_layer shared = {
        .family = c->family->family ? c->family->family : c->family->name, .scale = 1, .n_group = 1, .topk_group = 1};
    int64_t layers = 0;

    gmm_status status = c->family->read(&c->config, &shared);
    if (status == GMM_OK)
        status = gmm_config_integer(&c->config, c->is_gguf ? "block_count" : "num_hidden_layers", 1,
                                    GMM_CONFIG_MAX_LAYERS, &layers);
    for (int64_t l = 0; status == GMM_OK && l < layers; l++) {
        bool has = true;
        shared.number = l;
        if (c->family->has_experts)
            status = c->family->has_experts(&c->config, l, &has);
        if (status == GMM_OK && has)
            status = add_layer(c, &shared);
    }
    for (size_t i = 0; i < c->count; i++) /* records do not move any more */
        if (c->records[i].correction)
            c->records[i].layer.correction_bias = &c->records[i].correction_bias;
    return status;
}

/* GMM_ERR_ARGUMENT with the names that there are, unless `name` is one of them. */
static gmm_status find_family(gmm_checkpoint *c, const gmm_family *const *families, const char *key, const char *name)
{
    char known[128] = "";

    if (!name)
        return gmm_malformed(c->config.path, "no %s", key);
    for (size_t i = 0; families[i]; i++) {
        if (strcmp(families[i]->name, name) == 0)
            c->family = families[i];
        if (strlen(known) + strlen(families[i]->name) + 3 < sizeof known) {
            strcat(known, i ? ", " : "");
            strcat(known, families[i]->name);
        }
    }
    if (c->family)
        return GMM_OK;
    gmm_malformed(c->config.path, "%s is " GMM_QUOTED "; known are %s", key, name, known);
    return GMM_ERR_ARGUMENT;
}

/* The configuration, and the family that it names. */
static gmm_status open_config(gmm_checkpoint *c)
{
    const char *name = NULL;
    gmm_status status;

    c->is_gguf = c->set.shards[0].gguf != NULL;
    if (c->is_gguf) {
        status = gmm_gguf_config(&c->set, &c->config, &name);
        return status == GMM_OK ? find_family(c, gmm_architectures, "general.architecture", name) : status;
    }
    status = gmm_config_open(c->set.directory, &c->config);
    if (status == GMM_OK)
        status = gmm_config_word(&c->config, "model_type", &name);
    return status == GMM_OK ? find_family(c, gmm_families, "model_type", name) : status;
}

gmm_status gmm_checkpoint_open(const char *path, gmm_checkpoint **checkpoint)
{
    if (!path || !checkpoint)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", path ? "checkpoint" : "path");
    gmm_checkpoint *opened = calloc(1, sizeof *opened);
    if (!opened)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for %zu bytes", path, sizeof *opened);
    gmm_status status = gmm_tensor_set_open(path, &opened->set);
    if (status == GMM_OK)
        status = open_config(opened);
    if (status == GMM_OK)
        status = find_layers(opened);
    if (status != GMM_OK) {
        gmm_checkpoint_close(opened);
        return status;
    }
    *checkpoint = opened;
    return GMM_OK;
}

void gmm_checkpoint_close(gmm_checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    for (size_t i = 0; i < checkpoint->count; i++)
        free_record(&checkpoint->records[i]);
    free(checkpoint->records);
    gmm_config_close(&checkpoint->config);
    gmm_tensor_set_close(&checkpoint->set);
    free(checkpoint);
}

size_t gmm_checkpoint_layer_count(const gmm_checkpoint *checkpoint)
{
    return checkpoint ? checkpoint->count : 0;
}

bool gmm_checkpoint_layer_at(const gmm_checkpoint *checkpoint, size_t i, gmm_checkpoint_layer *layer)
{
    if (i >= gmm_checkpoint_layer_count(checkpoint))
        return false;
    *layer = checkpoint->records[i].layer;
    return true;
}

const char *gmm_checkpoint_family_at(size_t i)
{
    size_t count = 0;

    while (gmm_families[count])
        count++;
    return i < count ? gmm_families[i]->name : NULL;
}

gmm_status gmm_checkpoint_check_layer(const gmm_checkpoint *checkpoint, size_t i)
{
    if (!checkpoint)
        return gmm_fail(GMM_ERR_NULL, "checkpoint is NULL");
    if (i >= checkpoint->count)
        return gmm_fail(GMM_ERR_ARGUMENT, "layer %zu of %zu", i, checkpoint->count);
    return GMM_OK;
}
