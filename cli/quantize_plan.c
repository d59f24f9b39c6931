/* quantize_plan.c - see quantize_plan.h. */
/* SPDX-License-Identifier: MIT */
#include "quantize_plan.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cast.h"
#include "command.h"
#include "output.h"

static const char weight_suffix[] = ".weight";

/* A pattern names a tensor ("lm_head.weight") or its module ("lm_head"). Every pattern is tried, to know which match
 * nothing. */
static bool matches(pattern_list *list, const char *tensor, const char *module)
{
    bool any = false;

    for (size_t i = 0; i < list->count; i++)
        if (!fnmatch(list->globs[i], tensor, 0) || !fnmatch(list->globs[i], module, 0))
            any = list->matched[i] = true;
    return any;
}

/* Why this tensor cannot be quantized, whatever the patterns say; NULL if it can. */
static char *unfit(const gmm_tensor *tensor, int32_t group_size)
{
    if (!is_floating(tensor->dtype))
        return must_format("type %s", gmm_dtype_name(tensor->dtype));
    if (!has_suffix(tensor->name, weight_suffix))
        return must_format("name without .weight");
    if (tensor->ndim < 2)
        return must_format("rank %d", (int)tensor->ndim);
    if (tensor_elements(tensor) == 0)
        return must_format("empty");
    if (tensor->shape[tensor->ndim - 1] % group_size)
        return must_format("last axis of %" PRId64 " is no multiple of %d", tensor->shape[tensor->ndim - 1],
                           (int)group_size);
    return NULL;
}

static planned plan_tensor(const entry *e, quantize_request *request)
{
    const gmm_tensor *tensor = &e->tensor;
    planned p = {.source = e, .dtype = tensor->dtype};
    size_t stem = strlen(tensor->name) - (has_suffix(tensor->name, weight_suffix) ? strlen(weight_suffix) : 0);

    if (request->casts && is_floating(tensor->dtype))
        p.dtype = request->cast_dtype;
    p.module = must_format("%.*s", (int)stem, tensor->name);
    bool excluded = matches(&request->excludes, tensor->name, p.module);
    bool included = !request->includes.count || matches(&request->includes, tensor->name, p.module);
    if (!request->options.mode)
        p.reason = must_format("nothing is quantized");
    else if (e->stays_dense)
        p.reason = must_format("the model has no quantized form of it");
    else
        p.reason = unfit(tensor, request->options.group_size);
    p.is_module = request->options.mode && !e->stays_dense && is_floating(tensor->dtype) &&
                  has_suffix(tensor->name, weight_suffix) && tensor->ndim >= 2;
    if (!p.reason && excluded)
        p.reason = must_format("--exclude");
    else if (!p.reason && !included)
        p.reason = must_format("no --include matches");
    p.quantize = !p.reason;
    p.out_bytes = tensor->size_bytes;
    if (!p.quantize && p.dtype != tensor->dtype)
        p.out_bytes = (uint64_t)tensor_elements(tensor) * (uint64_t)gmm_dtype_bits(p.dtype) / 8;
    return p;
}

/* Sizes of the outputs, by the library's own rules. */
static int plan_outputs(planned *p, const quantize_request *request)
{
    gmm_array w;
    gmm_array_spec packed, scales, biases;

    gmm_tensor_array(&p->source->tensor, &w);
    w.dtype = p->dtype;
    if (!w.data) /* it is made later, and not read here */
        w.data = p;
    gmm_status status = gmm_quantize_spec(&w, &request->options, &packed, &scales, &biases);
    if (status)
        return complain_status(status);
    p->words = packed.shape[packed.ndim - 1];
    p->groups = scales.shape[scales.ndim - 1];
    uint64_t rows = (uint64_t)(tensor_elements(&p->source->tensor) / w.shape[w.ndim - 1]);
    uint64_t scale_bytes = (uint64_t)gmm_dtype_bits(scales.dtype) / 8;
    p->out_bytes = rows * ((uint64_t)p->words * 4 + (uint64_t)p->groups * scale_bytes * (request->has_biases ? 2 : 1));
    return EXIT_FINE;
}

static int refuse(const char *format, const char *name)
{
    char *shown = escape_text(name);

    complain(format, shown);
    free(shown);
    return EXIT_COULD_NOT_RUN;
}

/* Nothing in the checkpoint may be quantized already, and the new names must be free. */
static int check_checkpoint(const checkpoint *c)
{
    quantized_module module;

    if (c->problem_count) {
        refuse("%s", c->problems[0]);
        return refuse("refused: the tensors are in doubt; 'gathermm inspect %s' lists every problem", c->path);
    }
    for (size_t i = 0; i < c->count && !c->maker; i++)
        if (quantized_module_of(c, &c->entries[i], &module)) {
            free(module.name);
            return refuse("'%s' is quantized already: U32, with .scales beside it", c->entries[i].tensor.name);
        }
    if (c->is_directory && !c->maker && quantization_entry(c->config))
        return refuse("%s/" CONFIG_NAME " has a quantization entry already", c->path);
    return EXIT_FINE;
}

static int check_names(const checkpoint *c, const planned *p, bool has_biases)
{
    const entry *taken = checkpoint_find(c, p->module, ".scales");

    if (!taken && has_biases)
        taken = checkpoint_find(c, p->module, ".biases");
    return taken ? refuse("'%s' exists already, and quantizing would write it anew", taken->tensor.name) : EXIT_FINE;
}

static void warn_unmatched(const pattern_list *list, const char *option)
{
    for (size_t i = 0; i < list->count; i++)
        if (!list->matched[i]) {
            char *shown = escape_text(list->globs[i]);
            complain("warning: %s '%s' matches no tensor", option, shown);
            free(shown);
        }
}

int quantize_plan_make(const checkpoint *c, quantize_request *request, quantize_plan *plan)
{
    int status = check_checkpoint(c);

    *plan = (quantize_plan){.tensors = must_allocate(c->count, sizeof *plan->tensors)};
    for (size_t i = 0; !status && i < c->count; i++) {
        planned *p = &plan->tensors[plan->count++];
        *p = plan_tensor(&c->entries[i], request);
        if (p->quantize)
            status = check_names(c, p, request->has_biases);
        if (!status && p->quantize)
            status = plan_outputs(p, request);
        plan->quantized += p->quantize;
        plan->bytes_before += p->source->tensor.size_bytes;
        plan->bytes_after += p->out_bytes;
        plan->parameters += (uint64_t)tensor_elements(&p->source->tensor);
    }
    if (!status) {
        warn_unmatched(&request->includes, "--include");
        warn_unmatched(&request->excludes, "--exclude");
    }
    if (!status && request->options.mode && !plan->quantized)
        status = refuse("%s: no tensor to quantize: it takes a floating .weight of rank 2 or more, not left out by "
                        "--include or --exclude, with a last axis that is a multiple of the group size",
                        c->path);
    if (status)
        quantize_plan_free(plan);
    return status;
}

void quantize_plan_free(quantize_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        free(plan->tensors[i].module);
        free(plan->tensors[i].reason);
    }
    free(plan->tensors);
    *plan = (quantize_plan){0};
}

/* ---- config.json and index --------------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A copy of an object with its own keys in order; what its values hold stays as it was. */
static json_t *sorted(json_t *object)
{
    const char **keys = must_allocate(json_object_size(object), sizeof *keys), *key;
    size_t count = 0;
    json_t *value, *copy = json_object();

    json_object_foreach(object, key, value) keys[count++] = key;
    qsort(keys, count, sizeof *keys, by_text);
    for (size_t i = 0; i < count; i++)
        json_object_set(copy, keys[i], json_object_get(object, keys[i]));
    free(keys);
    return copy;
}

json_t *quantize_config(const checkpoint *c, const quantize_request *request, const quantize_plan *plan)
{
    json_t *quantization, *config = c->config ? json_copy(c->config) : json_object();
    const char *module;
    json_t *packed;

    if (request->options.mode)
        quantization = json_pack("{s:i, s:i, s:s}", "group_size", request->options.group_size, "bits",
                                 request->options.bits, "mode", request->options.mode);
    else /* that of the first module, if there is one: most have it */
        quantization = json_deep_copy(json_object_iter_value(json_object_iter(c->packed)));
    json_t *general = json_copy(quantization);
    json_object_foreach(c->packed, module, packed)
    {
        if (!json_equal(packed, general))
            json_object_set(quantization, module, packed);
    }
    json_decref(general);
    if (!quantization) {
        json_t *plain = sorted(config);
        json_decref(config);
        return plain;
    }

    for (size_t i = 0; i < plan->count; i++)
        if (plan->tensors[i].is_module && !plan->tensors[i].quantize)
            json_object_set_new(quantization, plan->tensors[i].module, json_false());
    json_object_set(config, "quantization", quantization);
    json_object_set_new(config, "quantization_config", quantization);
    json_t *in_order = sorted(config);
    json_decref(config);
    return in_order;
}

json_t *quantize_index(const checkpoint *c, const quantize_request *request, const quantize_plan *plan)
{
    static const char *const suffixes[] = {".weight", ".scales", ".biases"};
    json_t *map = json_object();

    for (size_t i = 0; i < plan->count; i++) {
        const planned *p = &plan->tensors[i];
        const char *file = c->shards[p->source->shard].name;
        for (int part = 0; p->quantize && part < (request->has_biases ? 3 : 2); part++) {
            char *name = must_format("%s%s", p->module, suffixes[part]);
            json_object_set_new(map, name, json_text(file));
            free(name);
        }
        if (!p->quantize)
            json_object_set_new(map, p->source->tensor.name, json_text(file));
    }
    json_t *index = json_pack("{s:{s:I, s:I}, s:o}", "metadata", "total_size", (json_int_t)plan->bytes_after,
                              "total_parameters", (json_int_t)plan->parameters, "weight_map", sorted(map));
    if (c->packed) /* whose words are no parameters */
        json_object_del(json_object_get(index, "metadata"), "total_parameters");
    json_decref(map);
    return index;
}
