/* source.c - see source.h. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/source.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "formats/format.h"
#include "io/file_check.h"

/* Longer names are not those of any family. */
#define MAX_NAME 256

const gmm_dtype gmm_float_dtypes[] = {GMM_F32, GMM_F16, GMM_BF16, 0};
static const gmm_dtype u32_dtypes[] = {GMM_U32, 0}, u8_dtypes[] = {GMM_U8, 0}, e4m3_dtypes[] = {GMM_F8_E4M3, 0},
                       e8m0_dtypes[] = {GMM_U8, GMM_F8_E8M0, 0};

/* ---- one tensor ---- */

bool gmm_find_is(const gmm_finder *finder, const char *format, ...)
{
    char name[MAX_NAME];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    return length < (int)sizeof name && gmm_tensor_set_find(finder->set, name);
}

static const char *dtypes_text(const gmm_dtype *dtypes, char *text, size_t text_size)
{
    size_t used = 0;

    for (size_t i = 0; dtypes[i] && used < text_size; i++)
        used += (size_t)snprintf(text + used, text_size - used, "%s%s",
                                 i == 0          ? ""
                                 : dtypes[i + 1] ? ", "
                                                 : " or ",
                                 gmm_dtype_name(dtypes[i]));
    return text;
}

gmm_status gmm_find_tensor(const gmm_finder *finder, const char *name, const gmm_dtype *dtypes, int32_t ndim,
                           const int64_t *shape, const gmm_tensor **tensor)
{
    const gmm_set_entry *entry = gmm_tensor_set_find(finder->set, name);
    char has[192], wanted[192];
    size_t i = 0;

    if (!entry)
        return gmm_malformed(finder->set->path, "no tensor " GMM_QUOTED " in %zu %s; it should have shape %s", name,
                             finder->set->shard_count, finder->set->shard_count == 1 ? "file" : "files",
                             gmm_shape_text(shape, ndim, wanted, sizeof wanted));
    const gmm_tensor *t = &entry->tensor;
    while (dtypes && dtypes[i] && dtypes[i] != t->dtype)
        i++;
    if (dtypes && !dtypes[i])
        return gmm_malformed(entry->path, "tensor " GMM_QUOTED " is %s; it must be %s", name,
                             entry->type ? entry->type->name : gmm_dtype_name(t->dtype),
                             dtypes_text(dtypes, wanted, sizeof wanted));
    if (t->ndim != ndim || (ndim > 0 && memcmp(t->shape, shape, (size_t)ndim * sizeof *shape) != 0))
        return gmm_malformed(entry->path, "tensor " GMM_QUOTED " has shape %s; it must have %s", name,
                             gmm_shape_text(t->shape, t->ndim, has, sizeof has),
                             gmm_shape_text(shape, ndim, wanted, sizeof wanted));
    *tensor = t;
    return GMM_OK;
}

/* ---- modules ---- */

/* What is being looked for: `count` matrices in one tensor, 0: one without that axis. */
typedef struct search {
    const gmm_finder *finder;
    const char *name;
    int64_t count, rows, cols;
    gmm_source *source;
} search;

/* NAME + suffix with `last` as last size; `rows` < 0: a vector for each matrix. */
static gmm_status find_part(const search *s, const char *suffix, const gmm_dtype *dtypes, int64_t rows, int64_t last,
                            const gmm_tensor **tensor)
{
    char name[MAX_NAME + 32];
    int64_t shape[3];
    int32_t ndim = 0;

    if (s->count > 0)
        shape[ndim++] = s->count;
    if (rows >= 0)
        shape[ndim++] = rows;
    shape[ndim++] = last;
    snprintf(name, sizeof name, "%s%s", s->name, suffix);
    return gmm_find_tensor(s->finder, name, dtypes, ndim, shape, tensor);
}

static gmm_status find_bias(const search *s, const char *suffix, gmm_module *module)
{
    if (!gmm_find_is(s->finder, "%s%s", s->name, suffix))
        return GMM_OK;
    return find_part(s, suffix, gmm_float_dtypes, -1, s->rows, &module->bias);
}

static gmm_status find_quantized(const search *s, gmm_module *module)
{
    gmm_module_format asked;
    const gmm_format *format;

    gmm_status status = gmm_config_module(s->finder->config, s->name, &asked);
    if (status != GMM_OK)
        return status;
    if (gmm_format_resolve(asked.mode, asked.group_size, asked.bits, &format, &module->group_size, &module->bits) !=
        GMM_OK) {
        char detail[400];
        snprintf(detail, sizeof detail, "%s", gmm_error_detail());
        return gmm_malformed(s->finder->config->path, "quantization of " GMM_QUOTED ": %s", s->name, detail);
    }
    module->storage = GMM_STORAGE_QUANTIZED;
    module->mode = format->name;
    if (s->cols % module->group_size != 0 || s->cols * module->bits % 32 != 0)
        return gmm_malformed(s->finder->config->path,
                             "quantization of " GMM_QUOTED ": %" PRId64
                             " columns are no multiple of group_size %" PRId32,
                             s->name, s->cols, module->group_size);
    status = find_part(s, ".weight", u32_dtypes, s->rows, s->cols * module->bits / 32, &module->weight);
    if (status == GMM_OK)
        status = find_part(s, ".scales", format->has_biases ? gmm_float_dtypes : u8_dtypes, s->rows,
                           s->cols / module->group_size, &module->scales);
    if (status == GMM_OK && format->has_biases)
        status = find_part(s, ".biases", gmm_float_dtypes, s->rows, s->cols / module->group_size, &module->biases);
    return status;
}

static gmm_status find_fp8(const search *s, gmm_module *module)
{
    const int64_t *block = s->source->block;

    gmm_status status = gmm_config_fp8_block(s->finder->config, s->source->block);
    if (status != GMM_OK)
        return status;
    module->storage = GMM_STORAGE_FP8;
    status = find_part(s, ".weight", e4m3_dtypes, s->rows, s->cols, &module->weight);
    if (status == GMM_OK)
        status = find_part(s, ".weight_scale_inv", gmm_float_dtypes, (s->rows + block[0] - 1) / block[0],
                           (s->cols + block[1] - 1) / block[1], &module->scales);
    return status;
}

static gmm_status find_any(const search *s, gmm_module *module)
{
    gmm_status status;

    if (gmm_find_is(s->finder, "%s.scales", s->name)) {
        status = find_quantized(s, module);
    } else if (gmm_find_is(s->finder, "%s.weight_scale_inv", s->name)) {
        status = find_fp8(s, module);
    } else {
        module->storage = GMM_STORAGE_DENSE;
        status = find_part(s, ".weight", gmm_float_dtypes, s->rows, s->cols, &module->weight);
    }
    return status == GMM_OK ? find_bias(s, ".bias", module) : status;
}

gmm_status gmm_source_begin(const gmm_finder *finder, const char *name, int64_t count, int64_t rows, int64_t cols,
                            size_t modules, gmm_source *source)
{
    *source = (gmm_source){.name = strdup(name),
                           .count = count,
                           .rows = rows,
                           .cols = cols,
                           .modules = calloc(modules, sizeof(gmm_module))};
    if (!source->name || !source->modules)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for a list of %zu modules", finder->set->path, modules);
    return GMM_OK;
}

gmm_status gmm_find_module(const gmm_finder *finder, int64_t count, int64_t rows, int64_t cols, gmm_source *source,
                           const char *format, ...)
{
    char name[MAX_NAME];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    gmm_status status = gmm_source_begin(finder, name, count > 0 ? count : 1, rows, cols, 1, source);
    if (status != GMM_OK)
        return status;
    source->stacked = true;
    source->lone = count == 0;
    return find_any(&(search){finder, source->name, count, rows, cols, source}, source->modules);
}

gmm_status gmm_find_experts(const gmm_finder *finder, const char *prefix, const char *which, int64_t count,
                            int64_t rows, int64_t cols, gmm_source *source)
{
    char name[MAX_NAME];

    /* Before a list is made of as many as config.json says. */
    if ((uint64_t)count > finder->set->count)
        return gmm_malformed(finder->set->path,
                             "%" PRId64 " experts, each with tensors of its own, but there are %zu tensors", count,
                             finder->set->count);
    snprintf(name, sizeof name, "%sexperts.0.%s", prefix, which);
    gmm_status status = gmm_source_begin(finder, name, count, rows, cols, (size_t)count, source);
    for (int64_t e = 0; status == GMM_OK && e < count; e++) {
        snprintf(name, sizeof name, "%sexperts.%" PRId64 ".%s", prefix, e, which);
        status = find_any(&(search){finder, name, 0, rows, cols, source}, &source->modules[e]);
    }
    return status;
}

gmm_status gmm_find_blocks(const gmm_finder *finder, const char *prefix, int64_t count, int64_t rows, int64_t cols,
                           gmm_source *source)
{
    char name[MAX_NAME + 32];

    gmm_status status = gmm_source_begin(finder, prefix, count, rows, cols, 1, source);
    if (status != GMM_OK)
        return status;
    if (cols % 32 != 0)
        return gmm_malformed(finder->config->path, GMM_QUOTED ": %" PRId64 " columns are no multiple of 32", prefix,
                             cols);
    gmm_module *module = source->modules;
    search s = {finder, source->name, count, rows, cols, source};
    source->stacked = true;
    *module = (gmm_module){.storage = GMM_STORAGE_QUANTIZED, .mode = "mxfp4", .bits = 4, .group_size = 32};
    snprintf(name, sizeof name, "%s_blocks", prefix);
    status =
        gmm_find_tensor(finder, name, u8_dtypes, 4, (const int64_t[]){count, rows, cols / 32, 16}, &module->weight);
    if (status == GMM_OK)
        status = find_part(&s, "_scales", e8m0_dtypes, rows, cols / 32, &module->scales);
    return status == GMM_OK ? find_bias(&s, "_bias", module) : status;
}

gmm_status gmm_find_transposed(const gmm_finder *finder, const char *prefix, int64_t count, int64_t rows, int64_t cols,
                               gmm_source *source)
{
    gmm_status status = gmm_source_begin(finder, prefix, count, rows, cols, 1, source);
    if (status != GMM_OK)
        return status;
    gmm_module *module = source->modules;
    search s = {finder, source->name, count, rows, cols, source};
    source->stacked = true;
    module->storage = GMM_STORAGE_TRANSPOSED;
    status = find_part(&s, "", gmm_float_dtypes, cols, rows, &module->weight);
    return status == GMM_OK ? find_bias(&s, "_bias", module) : status;
}

void gmm_source_free(gmm_source *source)
{
    free(source->name);
    free(source->modules);
    *source = (gmm_source){0};
}

/* ---- what is in it ---- */

const char *gmm_module_format_name(const gmm_module *module)
{
    return module->storage == GMM_STORAGE_FP8 ? "fp8"
           : module->mode                     ? module->mode
                                              : gmm_format_dense(module->weight->dtype)->name;
}

void gmm_source_each(const gmm_source *source, int64_t matrix, gmm_visit_bytes *visit, void *user)
{
    int64_t begin = matrix < 0 || source->stacked ? 0 : matrix;
    int64_t end = source->count == 0 ? 0 : source->stacked ? 1 : matrix < 0 ? source->count : matrix + 1;

    for (int64_t m = begin; m < end; m++) {
        const gmm_module *module = &source->modules[m];
        const gmm_tensor *tensors[] = {module->weight, module->scales, module->biases, module->bias};
        for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
            if (!tensors[i])
                continue;
            bool part = source->stacked && matrix >= 0;
            size_t size = part ? tensors[i]->size_bytes / (size_t)source->count : tensors[i]->size_bytes;
            visit(user, (const char *)tensors[i]->data + (part ? (size_t)matrix * size : 0), size);
        }
    }
}

static void add_bytes(void *user, const void *data, size_t size_bytes)
{
    int64_t *sum = user;

    (void)data;
    *sum += (int64_t)size_bytes;
}

int64_t gmm_source_bytes(const gmm_source *source)
{
    int64_t sum = 0;

    gmm_source_each(source, -1, add_bytes, &sum);
    return sum;
}
