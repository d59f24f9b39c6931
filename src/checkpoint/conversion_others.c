/* conversion_others.c - the tensors that are no experts of another layout: carried over, decoded, or left out. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "checkpoint/conversion_output.h"
#include "io/file_check.h"

/* Longer names are no modules that are known here. */
#define MAX_STEM 200

/* X of a tensor X.weight. */
static bool stem_of(const char *name, char stem[MAX_STEM])
{
    static const char suffix[] = ".weight";
    size_t length = strlen(name), end = sizeof suffix - 1;

    if (length <= end || length - end >= MAX_STEM || strcmp(name + length - end, suffix) != 0)
        return false;
    memcpy(stem, name, length - end);
    stem[length - end] = '\0';
    return true;
}

static bool left_out(const gmm_conversion *c, const char *name)
{
    const gmm_family *family = c->checkpoint->family;

    return c->to_mlx && family->left_out && family->left_out(&c->checkpoint->config, name);
}

static gmm_status carry(gmm_conversion *c, const gmm_tensor *tensor, gmm_output **made)
{
    gmm_output *out = gmm_output_add(c, GMM_CONVERSION_CARRIED, tensor->dtype, 0, 1, "%s", tensor->name);

    if (!out)
        return gmm_conversion_no_memory(c);
    gmm_conversion_use(c, tensor);
    gmm_status status = gmm_output_shape(out, tensor->ndim, tensor->shape);
    /* Bytes, whatever the type. */
    int64_t row = (int64_t)out->info.row_bytes;
    out->cols = row;
    out->element_bytes = 1;
    *out->pieces =
        (gmm_piece){.rows = out->info.rows,
                    .ways = 1,
                    .views = {{.kind = GMM_VIEW_PLAIN, .data = tensor->data, .row_stride = row, .element_stride = 1}}};
    *made = out;
    return status;
}

static gmm_status decode(gmm_conversion *c, const gmm_tensor *weight, const gmm_source *source, const char *stem)
{
    const gmm_module *module = source->modules;
    int64_t matrices = weight->ndim == 3 ? weight->shape[0] : 1;
    const int64_t shape[] = {matrices, source->rows, source->cols};

    gmm_output *out = gmm_output_add(c, GMM_CONVERSION_DECODED, gmm_module_dtype(module), source->cols,
                                     (size_t)matrices, "%s.weight", stem);
    if (!out)
        return gmm_conversion_no_memory(c);
    for (int64_t m = 0; m < matrices; m++)
        out->pieces[m] = (gmm_piece){.rows = source->rows, .ways = 1, .views = {gmm_view_matrix(source, module, m)}};
    gmm_conversion_use(c, module->weight);
    gmm_conversion_use(c, module->scales);
    gmm_conversion_use(c, module->biases);
    return gmm_output_shape(out, weight->ndim, weight->ndim == 3 ? shape : shape + 1);
}

/* The inputs of the packed module: its words do not tell. */
static gmm_status packed_cols(const gmm_finder *finder, const char *stem, const gmm_tensor *weight, int64_t *cols)
{
    char name[MAX_STEM + 16];
    gmm_module_format asked;
    const gmm_format *format;
    int32_t group_size, bits;

    gmm_status status = gmm_config_module(finder->config, stem, &asked);
    if (status == GMM_OK)
        status = gmm_format_resolve(asked.mode, asked.group_size, asked.bits, &format, &group_size, &bits);
    if (status != GMM_OK)
        return status;
    snprintf(name, sizeof name, "%s.scales", stem);
    const gmm_tensor *scales = &gmm_tensor_set_find(finder->set, name)->tensor;
    if (scales->ndim != weight->ndim || scales->shape[scales->ndim - 1] > GMM_CONFIG_MAX_SIZE)
        return gmm_malformed(finder->set->path, "tensor " GMM_QUOTED " has rank %d; the weight has %d", name,
                             (int)scales->ndim, (int)weight->ndim);
    *cols = scales->shape[scales->ndim - 1] * group_size;
    return GMM_OK;
}

/* A weight with scales beside it: fp8, or quantized. */
static gmm_status coded(gmm_conversion *c, const gmm_tensor *weight, const char *stem, bool fp8)
{
    const gmm_finder finder = {&c->checkpoint->set, &c->checkpoint->config};
    gmm_source source = {0};
    gmm_output *out;
    int64_t cols = 0;
    gmm_status status = GMM_OK;

    if (weight->ndim != 2 && weight->ndim != 3)
        return gmm_malformed(finder.set->path, "tensor " GMM_QUOTED " has rank %d; with scales it must have 2 or 3",
                             weight->name, (int)weight->ndim);
    if (fp8)
        cols = weight->shape[weight->ndim - 1];
    else
        status = packed_cols(&finder, stem, weight, &cols);
    if (status == GMM_OK)
        status = gmm_find_module(&finder, weight->ndim == 3 ? weight->shape[0] : 0, weight->shape[weight->ndim - 2],
                                 cols, &source, "%s", stem);
    const gmm_module *module = source.modules;
    if (status == GMM_OK && (fp8 || !c->to_mlx))
        status = decode(c, weight, &source, stem);
    else if (status == GMM_OK && (status = carry(c, weight, &out)) == GMM_OK) {
        out->info.mode = module->mode;
        out->info.bits = module->bits;
        out->info.group_size = module->group_size;
    }
    gmm_source_free(&source);
    return status;
}

gmm_status gmm_conversion_others(gmm_conversion *c)
{
    const gmm_tensor_set *set = &c->checkpoint->set;
    const gmm_finder finder = {set, &c->checkpoint->config};
    char stem[MAX_STEM];
    gmm_output *out;
    gmm_status status = GMM_OK;

    for (size_t i = 0; i < set->count; i++)
        if (!c->used[i] && left_out(c, set->entries[i].tensor.name)) {
            c->used[i] = true;
            c->left_out[c->left_out_count++] = set->entries[i].tensor.name;
        }
    /* Weights before what only belongs to them. */
    for (size_t i = 0; i < set->count && status == GMM_OK; i++) {
        const gmm_tensor *tensor = &set->entries[i].tensor;
        if (c->used[i] || !stem_of(tensor->name, stem))
            continue;
        bool fp8 = tensor->dtype == GMM_F8_E4M3 && (c->to_mlx || c->decode_fp8) &&
                   gmm_find_is(&finder, "%s.weight_scale_inv", stem);
        if (fp8 || (tensor->dtype == GMM_U32 && gmm_find_is(&finder, "%s.scales", stem)))
            status = coded(c, tensor, stem, fp8);
    }
    for (size_t i = 0; i < set->count && status == GMM_OK; i++)
        if (!c->used[i])
            status = carry(c, &set->entries[i].tensor, &out);
    return status;
}
