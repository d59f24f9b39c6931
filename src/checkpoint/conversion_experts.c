/* conversion_experts.c - the experts of a layer, from one layout to the other. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "checkpoint/conversion_output.h"

static const char *const projections[] = {"gate_proj", "up_proj", "down_proj"};

static const gmm_module *module_of(const gmm_source *source, int64_t expert)
{
    return source->stacked ? source->modules : &source->modules[expert];
}

/* The number of an expert's matrix in its module. */
static int64_t matrix_of(const gmm_source *source, int64_t expert)
{
    return source->stacked ? expert : 0;
}

static void use_source(gmm_conversion *c, const gmm_source *source)
{
    for (int64_t m = 0; m < (source->count == 0 ? 0 : source->stacked ? 1 : source->count); m++)
        gmm_conversion_use_module(c, &source->modules[m]);
}

/* One part of each module of a source, which all have it in one type and shape. */
typedef enum part {
    WEIGHT,
    SCALES,
    BIASES,
    BIAS
} part;

static const char *const suffixes[] = {".weight", ".scales", ".biases", ".bias"};

static const gmm_tensor *part_of(const gmm_module *module, part p)
{
    return p == WEIGHT ? module->weight : p == SCALES ? module->scales : p == BIASES ? module->biases : module->bias;
}

/* Every second row of a source, or all of them. */
typedef struct half {
    const gmm_source *source;
    int32_t ways, parity;
} half;

/* ---- to mlx: stacks ---- */

static gmm_status check_alike(const gmm_source *source)
{
    const gmm_module *a = source->modules;

    for (int64_t e = 1; !source->stacked && e < source->count; e++) {
        const gmm_module *b = &source->modules[e];
        bool alike = gmm_module_dtype(a) == gmm_module_dtype(b) && !a->bias == !b->bias &&
                     (!a->bias || a->bias->dtype == b->bias->dtype) &&
                     (a->storage == GMM_STORAGE_QUANTIZED) == (b->storage == GMM_STORAGE_QUANTIZED);
        if (alike && a->storage == GMM_STORAGE_QUANTIZED)
            alike = strcmp(a->mode, b->mode) == 0 && a->bits == b->bits && a->group_size == b->group_size;
        if (!alike)
            return gmm_fail(GMM_ERR_FORMAT,
                            "%s: expert %" PRId64 " has another format than expert 0, so they cannot be stacked",
                            source->name, e);
    }
    return GMM_OK;
}

/* A part that is copied: `cols` elements for each row of the matrices. */
static gmm_status stack_part(gmm_conversion *c, half h, part p, gmm_dtype dtype, int64_t cols, const char *module,
                             gmm_output **made)
{
    const gmm_source *s = h.source;
    int64_t rows = s->rows / h.ways, first = s->rows * cols;
    const int64_t shape[] = {s->count, rows, cols};
    size_t pieces = s->stacked && p != WEIGHT ? 1 : (size_t)s->count;

    gmm_output *out = gmm_output_add(c, GMM_CONVERSION_REARRANGED, dtype, cols, pieces, "%s%s", module, suffixes[p]);
    if (!out)
        return gmm_conversion_no_memory(c);
    for (size_t e = 0; e < pieces; e++) {
        const gmm_module *from = module_of(s, (int64_t)e);
        const gmm_tensor as = {.dtype = dtype, .data = part_of(from, p)->data}; /* U8 blocks are words too */
        gmm_matrix_view view = gmm_view_rows(&as, matrix_of(s, (int64_t)e) * first, cols);
        out->pieces[e] = (gmm_piece){
            .rows = pieces == 1 ? s->count * rows : rows, .ways = 1, .views = {gmm_view_part(view, h.ways, h.parity)}};
    }
    *made = out;
    return gmm_output_shape(out, p == BIAS ? 2 : 3, shape);
}

/* Dense weights, and those that are decoded. */
static gmm_status stack_numbers(gmm_conversion *c, half h, const char *module)
{
    const gmm_source *s = h.source;
    const int64_t shape[] = {s->count, s->rows / h.ways, s->cols};
    bool coded = false;

    for (int64_t e = 0; e < s->count; e++)
        coded |= gmm_module_is_coded(module_of(s, e));
    gmm_output *out = gmm_output_add(c, coded ? GMM_CONVERSION_DECODED : GMM_CONVERSION_REARRANGED,
                                     gmm_module_dtype(s->modules), s->cols, (size_t)s->count, "%s.weight", module);
    if (!out)
        return gmm_conversion_no_memory(c);
    for (int64_t e = 0; e < s->count; e++)
        out->pieces[e] = (gmm_piece){
            .rows = shape[1],
            .ways = 1,
            .views = {gmm_view_part(gmm_view_matrix(s, module_of(s, e), matrix_of(s, e)), h.ways, h.parity)}};
    return gmm_output_shape(out, 3, shape);
}

static gmm_status stack(gmm_conversion *c, half h, const char *module)
{
    const gmm_source *s = h.source;
    const gmm_module *first = s->modules;
    gmm_output *out;

    gmm_status status = check_alike(s);
    if (status == GMM_OK && first->storage == GMM_STORAGE_QUANTIZED) {
        gmm_dtype scales = first->scales->dtype == GMM_F8_E8M0 ? GMM_U8 : first->scales->dtype;
        int64_t groups = s->cols / first->group_size;
        status = stack_part(c, h, WEIGHT, GMM_U32, s->cols * first->bits / 32, module, &out);
        if (status == GMM_OK) {
            out->info.mode = first->mode;
            out->info.bits = first->bits;
            out->info.group_size = first->group_size;
            status = stack_part(c, h, SCALES, scales, groups, module, &out);
        }
        if (status == GMM_OK && first->biases)
            status = stack_part(c, h, BIASES, first->biases->dtype, groups, module, &out);
    } else if (status == GMM_OK)
        status = stack_numbers(c, h, module);
    if (status == GMM_OK && first->bias)
        status = stack_part(c, h, BIAS, first->bias->dtype, 1, module, &out);
    return status;
}

static gmm_status experts_to_mlx(gmm_conversion *c, const gmm_layer_record *record)
{
    const gmm_expert_sources *from = &record->experts;
    const gmm_expert_names *names = &c->checkpoint->family->names;
    bool fused = from->gate_up.count > 0;
    const half halves[] = {{fused ? &from->gate_up : &from->gate, fused ? 2 : 1, 0},
                           {fused ? &from->gate_up : &from->up, fused ? 2 : 1, fused},
                           {&from->down, 1, 0}};
    char prefix[80], module[160];
    gmm_status status = GMM_OK;

    gmm_family_prefix(record->layer.number, names->block, prefix, sizeof prefix);
    for (size_t p = 0; p < 3 && status == GMM_OK; p++) {
        snprintf(module, sizeof module, "%s%s%s", prefix, names->mlx, projections[p]);
        status = stack(c, halves[p], module);
        use_source(c, halves[p].source);
    }
    return status;
}

/* ---- to hf: one tensor for each expert ---- */

static gmm_status split_expert(gmm_conversion *c, const gmm_source *s, int64_t expert, const char *module)
{
    const gmm_module *from = module_of(s, expert);
    const int64_t shape[] = {s->rows, s->cols};

    gmm_output *out = gmm_output_add(c, gmm_module_is_coded(from) ? GMM_CONVERSION_DECODED : GMM_CONVERSION_REARRANGED,
                                     gmm_module_dtype(from), s->cols, 1, "%s.weight", module);
    if (!out)
        return gmm_conversion_no_memory(c);
    *out->pieces = (gmm_piece){.rows = s->rows, .ways = 1, .views = {gmm_view_matrix(s, from, matrix_of(s, expert))}};
    gmm_status status = gmm_output_shape(out, 2, shape);
    if (status != GMM_OK || !from->bias)
        return status;
    out = gmm_output_add(c, GMM_CONVERSION_REARRANGED, from->bias->dtype, s->rows, 1, "%s.bias", module);
    if (!out)
        return gmm_conversion_no_memory(c);
    *out->pieces = (gmm_piece){
        .rows = 1, .ways = 1, .views = {gmm_view_rows(from->bias, matrix_of(s, expert) * s->rows, s->rows)}};
    return gmm_output_shape(out, 1, shape);
}

static gmm_status split(gmm_conversion *c, const gmm_source *s, const char *prefix, const char *which)
{
    char module[160];
    gmm_status status = GMM_OK;

    for (int64_t e = 0; e < s->count && status == GMM_OK; e++) {
        snprintf(module, sizeof module, "%sexperts.%" PRId64 ".%s", prefix, e, which);
        status = split_expert(c, s, e, module);
    }
    use_source(c, s);
    return status;
}

/* ---- to hf: gpt-oss ---- */

/* Rows of one source, or those of two in turn. */
typedef struct pair {
    const gmm_source *sources[2];
    int32_t ways;
} pair;

static bool is_blocks(const pair *from)
{
    for (int32_t w = 0; w < from->ways; w++) {
        const gmm_module *m = from->sources[w]->modules;
        if (m->storage != GMM_STORAGE_QUANTIZED || strcmp(m->mode, "mxfp4") != 0)
            return false;
    }
    return true;
}

/* A part of both, copied whole. */
static gmm_status pair_part(gmm_conversion *c, const pair *from, part p, gmm_dtype dtype, int64_t cols, int32_t ndim,
                            const int64_t *shape, const char *name, gmm_output **made)
{
    gmm_output *out = gmm_output_add(c, GMM_CONVERSION_REARRANGED, dtype, cols, 1, "%s", name);

    if (!out)
        return gmm_conversion_no_memory(c);
    out->pieces->ways = from->ways;
    out->pieces->rows = from->sources[0]->count * from->sources[0]->rows * from->ways;
    for (int32_t w = 0; w < from->ways; w++) {
        const gmm_tensor as = {.dtype = dtype, .data = part_of(from->sources[w]->modules, p)->data};
        out->pieces->views[w] = gmm_view_rows(&as, 0, cols);
    }
    *made = out;
    return gmm_output_shape(out, ndim, shape);
}

static gmm_status write_blocks(gmm_conversion *c, const pair *from, const char *name)
{
    const gmm_source *s = from->sources[0];
    int64_t rows = s->rows * from->ways;
    char part_name[180];
    gmm_output *out;

    snprintf(part_name, sizeof part_name, "%s_blocks", name);
    gmm_status status = pair_part(c, from, WEIGHT, GMM_U8, s->cols / 2, 4,
                                  (const int64_t[]){s->count, rows, s->cols / 32, 16}, part_name, &out);
    if (status != GMM_OK)
        return status;
    out->info.mode = "mxfp4";
    out->info.bits = 4;
    out->info.group_size = 32;
    snprintf(part_name, sizeof part_name, "%s_scales", name);
    return pair_part(c, from, SCALES, GMM_U8, s->cols / 32, 3, (const int64_t[]){s->count, rows, s->cols / 32},
                     part_name, &out);
}

/* Input first: (E, cols, rows). */
static gmm_status write_transposed(gmm_conversion *c, const pair *from, const char *name)
{
    const gmm_source *s = from->sources[0];
    int64_t rows = s->rows * from->ways;
    bool coded = false;

    for (int32_t w = 0; w < from->ways; w++) {
        coded |= gmm_module_is_coded(from->sources[w]->modules);
        if (gmm_module_dtype(from->sources[w]->modules) != gmm_module_dtype(s->modules))
            return gmm_fail(GMM_ERR_FORMAT, "%s: gate and up have different types, so they cannot be one tensor",
                            s->name);
    }
    gmm_output *out = gmm_output_add(c, coded ? GMM_CONVERSION_DECODED : GMM_CONVERSION_REARRANGED,
                                     gmm_module_dtype(s->modules), rows, (size_t)s->count, "%s", name);
    if (!out)
        return gmm_conversion_no_memory(c);
    for (int64_t e = 0; e < s->count; e++) {
        gmm_piece *piece = &out->pieces[e];
        *piece = (gmm_piece){.rows = s->cols, .ways = from->ways, .transposed = true};
        for (int32_t w = 0; w < from->ways; w++)
            piece->views[w] = gmm_view_matrix(from->sources[w], module_of(from->sources[w], e), e);
    }
    return gmm_output_shape(out, 3, (const int64_t[]){s->count, s->cols, rows});
}

static gmm_status fuse(gmm_conversion *c, const pair *from, const char *prefix, const char *which)
{
    const gmm_source *s = from->sources[0];
    const gmm_tensor *bias = s->modules->bias;
    char name[160], bias_name[180];
    gmm_output *out;

    snprintf(name, sizeof name, "%sexperts.%s", prefix, which);
    gmm_status status = is_blocks(from) ? write_blocks(c, from, name) : write_transposed(c, from, name);
    for (int32_t w = 0; w < from->ways; w++) {
        const gmm_tensor *other = from->sources[w]->modules->bias;
        use_source(c, from->sources[w]);
        if (status == GMM_OK && (!bias != !other || (bias && bias->dtype != other->dtype)))
            status =
                gmm_fail(GMM_ERR_FORMAT, "%s: the biases of gate and up differ, so they cannot be one tensor", s->name);
    }
    if (status != GMM_OK || !bias)
        return status;
    snprintf(bias_name, sizeof bias_name, "%s_bias", name);
    return pair_part(c, from, BIAS, bias->dtype, 1, 2, (const int64_t[]){s->count, s->rows * from->ways}, bias_name,
                     &out);
}

static gmm_status experts_to_hf(gmm_conversion *c, const gmm_layer_record *record)
{
    const gmm_expert_sources *from = &record->experts;
    const gmm_source *const sources[] = {&from->gate, &from->up, &from->down};
    const gmm_expert_names *names = &c->checkpoint->family->names;
    char prefix[80];
    gmm_status status = GMM_OK;

    gmm_family_prefix(record->layer.number, names->block, prefix, sizeof prefix);
    for (size_t p = 0; p < 3 && names->hf && status == GMM_OK; p++)
        status = split(c, sources[p], prefix, names->hf[p]);
    if (names->hf)
        return status;
    status = fuse(c, &(pair){{&from->gate, &from->up}, 2}, prefix, "gate_up_proj");
    return status == GMM_OK ? fuse(c, &(pair){{&from->down}, 1}, prefix, "down_proj") : status;
}

gmm_status gmm_conversion_experts(gmm_conversion *c, const gmm_layer_record *record)
{
    bool is_mlx = strcmp(record->layer.layout, "mlx") == 0;

    if (is_mlx == c->to_mlx)
        return GMM_OK;
    return c->to_mlx ? experts_to_mlx(c, record) : experts_to_hf(c, record);
}
