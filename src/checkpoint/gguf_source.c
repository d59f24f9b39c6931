/* gguf_source.c - see gguf_source.h. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/gguf_source.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/error.h"
#include "io/file_check.h"

#define MAX_NAME 128

/* The type is for the caller to judge. */
static gmm_status find_storage(const gmm_finder *finder, const char *name, gmm_module *module)
{
    const gmm_set_entry *entry = gmm_tensor_set_find(finder->set, name);
    char known[128];

    if (!entry || entry->tensor.dtype == GMM_F32 || entry->tensor.dtype == GMM_F16 || entry->tensor.dtype == GMM_BF16) {
        module->storage = GMM_STORAGE_DENSE;
        return GMM_OK;
    }
    module->type = entry->type;
    module->blocks = gmm_block_format_of(entry->type);
    if (!module->blocks) {
        gmm_malformed(entry->path, "tensor " GMM_QUOTED " is %s, which is not supported; F32, F16, BF16, %s are", name,
                      entry->type->name, gmm_block_format_names(known, sizeof known));
        return GMM_ERR_ARGUMENT;
    }
    module->storage = GMM_STORAGE_BLOCKS;
    module->mode = module->blocks->mode;
    module->bits = module->blocks->bits;
    module->group_size = module->blocks->group_size;
    return GMM_OK;
}

gmm_status gmm_find_gguf(const gmm_finder *finder, int64_t count, int64_t rows, int64_t cols, gmm_source *source,
                         const char *format, ...)
{
    char name[MAX_NAME], part[MAX_NAME + 8];
    const int64_t shape[] = {count, rows, cols}, bias_shape[] = {count, rows};
    const int32_t skip = count == 0;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    gmm_status status = gmm_source_begin(finder, name, count > 0 ? count : 1, rows, cols, 1, source);
    if (status != GMM_OK)
        return status;
    gmm_module *module = source->modules;
    source->stacked = true;
    source->lone = count == 0;
    snprintf(part, sizeof part, "%s.weight", name);
    status = find_storage(finder, part, module);
    if (status != GMM_OK)
        return status;
    status = gmm_find_tensor(finder, part, module->blocks ? NULL : gmm_float_dtypes, 3 - skip, shape + skip,
                             &module->weight);
    /* One more factor for each expert: llama.cpp's NVFP4 may have it. */
    if (status == GMM_OK && gmm_find_is(finder, "%s.scale", name)) {
        gmm_malformed(finder->set->path, "tensor \"%s.scale\": scales beside a tensor's own are not supported", name);
        return GMM_ERR_ARGUMENT;
    }
    snprintf(part, sizeof part, "%s.bias", name);
    if (status == GMM_OK && gmm_find_is(finder, "%s", part))
        status = gmm_find_tensor(finder, part, gmm_float_dtypes, 2 - skip, bias_shape + skip, &module->bias);
    return status;
}
