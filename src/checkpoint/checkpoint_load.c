/* checkpoint_load.c - the arrays of a layer: views of its files, and memory of its own where views do not do. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "checkpoint/checkpoint_open.h"
#include "checkpoint/fp8_blocks.h"
#include "cpu/fp_env.h"

/* Weights begin where no vector of them crosses a cache line. */
#define ALIGNMENT 64

typedef struct block {
    struct block *next;
    void *bytes;
} block;

/* What gmm_checkpoint_layer_load gives out is the first member. */
typedef struct loaded {
    gmm_checkpoint_layer layer;
    block *blocks;
} loaded;

typedef struct loading {
    loaded *to;
    bool stack;
    gmm_dtype fp8_dtype;
} loading;

typedef struct held_array {
    gmm_array array;
    int64_t shape[3], strides[3];
} held_array;

typedef struct held_quantized {
    gmm_quantized quantized;
    held_array w, scales, biases;
} held_quantized;

/* ---- memory ---- */

/* `size_bytes` bytes that live as long as the layer; NULL without memory. */
static void *hold(loaded *to, size_t size_bytes)
{
    block *made = malloc(sizeof *made);
    void *bytes = NULL;

    if (made && posix_memalign(&bytes, ALIGNMENT, size_bytes ? size_bytes : 1) != 0)
        bytes = NULL;
    if (!bytes) {
        free(made);
        return NULL;
    }
    *made = (block){to->blocks, bytes};
    to->blocks = made;
    return bytes;
}

static gmm_status no_memory(const gmm_source *source)
{
    return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for the arrays of %lld matrices", source->name,
                    (long long)source->count);
}

static void free_loaded(loaded *to)
{
    while (to->blocks) {
        block *first = to->blocks;
        to->blocks = first->next;
        free(first->bytes);
        free(first);
    }
    free(to);
}

/* ---- arrays ---- */

/* (lead, rows, cols), less the sizes that are negative, row-major. */
static void fill_array(held_array *held, const gmm_tensor *tensor, gmm_dtype dtype, int64_t lead, int64_t rows,
                       int64_t cols)
{
    int32_t ndim = 0;

    if (lead >= 0)
        held->shape[ndim++] = lead;
    if (rows >= 0)
        held->shape[ndim++] = rows;
    held->shape[ndim++] = cols;
    held->array =
        (gmm_array){.data = (void *)(uintptr_t)tensor->data, .dtype = dtype, .ndim = ndim, .shape = held->shape};
}

static bool view_dense(loaded *to, const gmm_source *source, const gmm_module *module, int64_t lead,
                       const gmm_array **rhs)
{
    held_array *held = hold(to, sizeof *held);

    if (!held)
        return false;
    fill_array(held, module->weight, module->weight->dtype, lead, source->rows, source->cols);
    if (module->storage == GMM_STORAGE_TRANSPOSED) {
        int32_t axis = 0;
        if (lead >= 0)
            held->strides[axis++] = source->rows * source->cols;
        held->strides[axis++] = 1;
        held->strides[axis] = source->rows;
        held->array.strides = held->strides;
    }
    *rhs = &held->array;
    return true;
}

static bool view_quantized(loaded *to, const gmm_source *source, const gmm_module *module, int64_t lead,
                           const gmm_quantized **quantized)
{
    held_quantized *held = hold(to, sizeof *held);
    int64_t groups = source->cols / module->group_size;

    if (!held)
        return false;
    held->quantized = (gmm_quantized){
        .w = &held->w.array,
        .scales = &held->scales.array,
        .biases = module->biases ? &held->biases.array : NULL,
        .mode = module->mode,
        .group_size = module->group_size,
        .bits = module->bits,
    };
    /* gpt-oss's blocks are U8 and its scales may be E8M0: the same bytes. */
    gmm_dtype scales_dtype = module->scales->dtype == GMM_F8_E8M0 ? GMM_U8 : module->scales->dtype;
    fill_array(&held->w, module->weight, GMM_U32, lead, source->rows, source->cols * module->bits / 32);
    fill_array(&held->scales, module->scales, scales_dtype, lead, source->rows, groups);
    if (module->biases)
        fill_array(&held->biases, module->biases, module->biases->dtype, lead, source->rows, groups);
    *quantized = &held->quantized;
    return true;
}

/* The module's weights and bias; lead: how many matrices are stacked in it, -1: one, without that axis. */
static bool view(loaded *to, const gmm_source *source, const gmm_module *module, int64_t lead,
                 gmm_checkpoint_matrix *matrix)
{
    *matrix = (gmm_checkpoint_matrix){0};
    if (module->bias) {
        held_array *held = hold(to, sizeof *held);
        if (!held)
            return false;
        fill_array(held, module->bias, module->bias->dtype, lead, -1, source->rows);
        matrix->bias = &held->array;
    }
    if (module->storage == GMM_STORAGE_QUANTIZED)
        return view_quantized(to, source, module, lead, &matrix->quantized);
    return view_dense(to, source, module, lead, &matrix->rhs);
}

/* ---- memory of the layer's own ---- */

/* Modules as they are viewed: those of the source, or with weights in the layer's memory. */
typedef struct working {
    size_t count;
    gmm_module *modules;
    gmm_tensor *tensors; /* four for each module, for those that are made here */
} working;

static bool all_fp8(const gmm_source *source, const working *w)
{
    for (size_t m = 0; m < w->count; m++)
        if (source->modules[m].storage != GMM_STORAGE_FP8)
            return false;
    return true;
}

/* Decode the fp8 modules, one after another. */
static gmm_status decode_fp8(const loading *l, const gmm_source *source, working *w)
{
    int64_t matrices = source->stacked ? source->count : 1, elements, size, all, fp8 = 0;
    int64_t rows = source->rows, cols = source->cols, element_bytes = gmm_dtype_bits(l->fp8_dtype) / 8;
    int64_t scales =
        (rows + source->block[0] - 1) / source->block[0] * ((cols + source->block[1] - 1) / source->block[1]);

    for (size_t m = 0; m < w->count; m++)
        fp8 += w->modules[m].storage == GMM_STORAGE_FP8;
    if (gmm_mul_overflows(rows, cols, &elements) || gmm_mul_overflows(elements, element_bytes * matrices, &size) ||
        gmm_mul_overflows(size, fp8, &all) || (uint64_t)all > SIZE_MAX)
        return gmm_fail(GMM_ERR_SIZE, "%s: more than 2^63 bytes when decoded", source->name);
    char *bytes = hold(l->to, (size_t)all);
    if (!bytes)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for %lld bytes of decoded weights", source->name,
                        (long long)all);
    l->to->layer.owned_bytes += all;
    for (size_t m = 0; m < w->count; m++) {
        gmm_module *module = &w->modules[m];
        if (module->storage != GMM_STORAGE_FP8)
            continue;
        int64_t scale_bytes = gmm_dtype_bits(module->scales->dtype) / 8;
        gmm_fp_env env = gmm_fp_enter();
        for (int64_t i = 0; i < matrices; i++)
            gmm_fp8_blocks_decode((const unsigned char *)module->weight->data + i * elements,
                                  (const char *)module->scales->data + i * scales * scale_bytes, module->scales->dtype,
                                  rows, cols, source->block, l->fp8_dtype, bytes + i * elements * element_bytes);
        gmm_fp_leave(env);
        w->tensors[4 * m] = (gmm_tensor){.dtype = l->fp8_dtype, .data = bytes, .size_bytes = (size_t)size};
        module->storage = GMM_STORAGE_DENSE;
        module->weight = &w->tensors[4 * m];
        module->scales = NULL;
        bytes += size;
    }
    return GMM_OK;
}

/* Blocks become codes, scales and biases, each in one piece. A GGUF file has all matrices in one tensor. */
static gmm_status repack(const loading *l, const gmm_source *source, working *w)
{
    gmm_module *module = &w->modules[0];
    const gmm_tensor *from = module->weight;
    int64_t count = (int64_t)from->size_bytes / module->type->block_bytes; /* all sizes below follow from the file's */
    int64_t elements = count * module->type->block_elements, groups = elements / module->group_size;
    gmm_dtype dtype = gmm_blocks_scales_dtype(module->blocks, module->type, from->data, count);
    size_t sizes[] = {(size_t)(elements / 8 * module->bits), (size_t)(groups * gmm_dtype_bits(dtype) / 8), 0};
    void *parts[3] = {NULL};

    sizes[2] = dtype == GMM_U8 ? 0 : sizes[1]; /* biases: of affine alone */
    for (size_t p = 0; p < 3; p++) {
        parts[p] = hold(l->to, sizes[p]);
        if (!parts[p])
            return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for %zu bytes of repacked weights", source->name, sizes[p]);
        l->to->layer.owned_bytes += (int64_t)sizes[p];
        w->tensors[p] = (gmm_tensor){.dtype = p ? dtype : GMM_U32, .data = parts[p], .size_bytes = sizes[p]};
    }
    gmm_fp_env env = gmm_fp_enter();
    gmm_blocks_repack(module->blocks, module->type, from->data, count, dtype, parts[0], parts[1], parts[2]);
    gmm_fp_leave(env);
    module->storage = GMM_STORAGE_QUANTIZED;
    module->weight = &w->tensors[0];
    module->scales = &w->tensors[1];
    module->biases = sizes[2] ? &w->tensors[2] : NULL;
    return GMM_OK;
}

static bool same_part(const gmm_tensor *a, const gmm_tensor *b)
{
    return a && b ? a->dtype == b->dtype : a == b;
}

/* Copy one tensor of each module into a stack, and put it into the first module. */
static gmm_status stack_part(const loading *l, const gmm_source *source, const working *w, size_t offset,
                             gmm_tensor *stack)
{
    const gmm_tensor **first = (const gmm_tensor **)((char *)&w->modules[0] + offset);

    if (!*first)
        return GMM_OK;
    size_t size = (*first)->size_bytes; /* all have the same shape and type, so count of them fit into the files */
    char *bytes = hold(l->to, size * w->count);
    if (!bytes)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for a stack of %zu times %zu bytes", source->name, w->count,
                        size);
    l->to->layer.owned_bytes += (int64_t)(size * w->count);
    for (size_t m = 0; m < w->count; m++) {
        const gmm_tensor *const *part = (const gmm_tensor *const *)((const char *)&w->modules[m] + offset);
        memcpy(bytes + m * size, (*part)->data, size);
    }
    *stack = (gmm_tensor){.dtype = (*first)->dtype, .data = bytes, .size_bytes = size * w->count};
    *first = stack;
    return GMM_OK;
}

static gmm_status stack_modules(const loading *l, const gmm_source *source, const working *w)
{
    static const size_t parts[] = {offsetof(gmm_module, weight), offsetof(gmm_module, scales),
                                   offsetof(gmm_module, biases), offsetof(gmm_module, bias)};
    const gmm_module *a = w->modules;
    gmm_status status = GMM_OK;

    for (size_t m = 1; m < w->count; m++) {
        const gmm_module *b = &w->modules[m];
        if (a->storage != b->storage || a->mode != b->mode || a->bits != b->bits || a->group_size != b->group_size ||
            !same_part(a->weight, b->weight) || !same_part(a->scales, b->scales) || !same_part(a->biases, b->biases) ||
            !same_part(a->bias, b->bias))
            return gmm_fail(GMM_ERR_FORMAT,
                            "%s: expert %zu has another format than expert 0, so they cannot be stacked", source->name,
                            m);
    }
    for (size_t p = 0; p < sizeof parts / sizeof parts[0] && status == GMM_OK; p++)
        status = stack_part(l, source, w, parts[p], &w->tensors[4 * w->count + p]);
    return status;
}

/* ---- one projection ---- */

static gmm_status view_stack(const loading *l, const gmm_source *source, const gmm_module *module,
                             gmm_checkpoint_weights *weights)
{
    gmm_checkpoint_matrix matrix;

    if (!view(l->to, source, module, source->lone ? -1 : source->count, &matrix))
        return no_memory(source);
    weights->rhs = matrix.rhs;
    weights->quantized = matrix.quantized;
    weights->bias = matrix.bias;
    return GMM_OK;
}

static gmm_status view_each(const loading *l, const gmm_source *source, const working *w,
                            gmm_checkpoint_weights *weights)
{
    gmm_checkpoint_matrix *each = hold(l->to, w->count * sizeof *each);

    if (!each)
        return no_memory(source);
    for (size_t m = 0; m < w->count; m++)
        if (!view(l->to, source, &w->modules[m], -1, &each[m]))
            return no_memory(source);
    weights->each = each;
    return GMM_OK;
}

static gmm_status load_working(const loading *l, const gmm_source *source, working *w, gmm_checkpoint_weights *weights)
{
    bool any_bias = false, fp8 = false;
    gmm_status status = GMM_OK;

    for (size_t m = 0; m < w->count; m++) {
        any_bias |= source->modules[m].bias != NULL;
        fp8 |= source->modules[m].storage == GMM_STORAGE_FP8;
    }
    if (fp8)
        status = decode_fp8(l, source, w);
    else if (source->modules[0].storage == GMM_STORAGE_BLOCKS)
        status = repack(l, source, w);
    if (status != GMM_OK)
        return status;
    /* Decoded weights lie one after another, so that they are a stack already. */
    if (source->stacked || (all_fp8(source, w) && !any_bias))
        return view_stack(l, source, w->modules, weights);
    if (!l->stack)
        return view_each(l, source, w, weights);
    status = stack_modules(l, source, w);
    return status == GMM_OK ? view_stack(l, source, w->modules, weights) : status;
}

static gmm_status load_source(const loading *l, const gmm_source *source, gmm_checkpoint_weights *weights)
{
    working w = {source->stacked ? 1 : (size_t)source->count, NULL, NULL};

    if (source->count == 0)
        return GMM_OK;
    w.modules = malloc(w.count * sizeof *w.modules);
    w.tensors = calloc(4 * w.count + 4, sizeof *w.tensors);
    gmm_status status = w.modules && w.tensors ? GMM_OK : no_memory(source);
    if (status == GMM_OK) {
        memcpy(w.modules, source->modules, w.count * sizeof *w.modules);
        status = load_working(l, source, &w, weights);
    }
    free(w.modules);
    free(w.tensors);
    return status;
}

/* ---- a layer ---- */

static gmm_status read_options(const gmm_checkpoint_load_options *options, loading *l)
{
    l->fp8_dtype = GMM_BF16;
    if (!options)
        return GMM_OK;
    if (options->size != sizeof *options)
        return gmm_fail(GMM_ERR_ARGUMENT, "options->size is %zu; it must be %zu", options->size, sizeof *options);
    if (options->fp8_dtype != 0 && options->fp8_dtype != GMM_BF16 && options->fp8_dtype != GMM_F32)
        return gmm_fail(GMM_ERR_ARGUMENT, "fp8_dtype is %d; it must be GMM_F32 or GMM_BF16", (int)options->fp8_dtype);
    l->stack = options->stack;
    if (options->fp8_dtype != 0)
        l->fp8_dtype = options->fp8_dtype;
    return GMM_OK;
}

/* The part of a source that is one expert's: a lone matrix. */
typedef struct expert_part {
    gmm_source source;
    gmm_module module;
    gmm_tensor tensors[4];
} expert_part;

static void cut_expert(const gmm_source *from, int64_t expert, expert_part *part)
{
    part->source = *from;
    part->source.modules = &part->module;
    part->source.count = 1;
    part->source.stacked = part->source.lone = true;
    part->module = from->modules[from->stacked ? 0 : expert];
    if (!from->stacked)
        return;
    const gmm_tensor **tensors[] = {&part->module.weight, &part->module.scales, &part->module.biases,
                                    &part->module.bias};
    for (size_t t = 0; t < sizeof tensors / sizeof tensors[0]; t++) {
        if (!*tensors[t])
            continue;
        gmm_tensor *cut = &part->tensors[t];
        *cut = **tensors[t]; /* but for the shape, which is that of the source */
        cut->size_bytes /= (size_t)from->count;
        cut->data = (const char *)cut->data + (size_t)expert * cut->size_bytes;
        *tensors[t] = cut;
    }
}

/* Make a record that of one expert and nothing else, and load it. */
static gmm_status load_expert(const loading *l, gmm_layer_record *record, int64_t expert)
{
    gmm_source *const sources[] = {&record->experts.gate, &record->experts.up, &record->experts.gate_up,
                                   &record->experts.down};
    gmm_checkpoint_projections *p = &record->layer.projections;
    gmm_checkpoint_weights *const weights[] = {&p->gate, &p->up, &p->gate_up, &p->down};
    gmm_status status = GMM_OK;

    record->layer.router = (gmm_checkpoint_weights){0};
    record->layer.shared = (gmm_checkpoint_projections){0};
    record->layer.correction_bias = NULL;
    record->layer.file_bytes = 0;
    for (size_t s = 0; s < sizeof sources / sizeof sources[0] && status == GMM_OK; s++) {
        expert_part part;
        if (sources[s]->count == 0)
            continue;
        cut_expert(sources[s], expert, &part);
        weights[s]->format = gmm_module_format_name(&part.module);
        weights[s]->bits = part.module.bits;
        weights[s]->group_size = part.module.group_size;
        weights[s]->count = 1;
        weights[s]->file_bytes = gmm_source_bytes(&part.source);
        record->layer.file_bytes += weights[s]->file_bytes;
        status = load_source(l, &part.source, weights[s]);
    }
    return status;
}

/* expert -1: all, and the rest of the layer. */
static gmm_status load(const gmm_checkpoint *checkpoint, size_t i, int64_t expert,
                       const gmm_checkpoint_load_options *options, const gmm_checkpoint_layer **layer)
{
    loading l = {0};
    gmm_source *source;
    gmm_checkpoint_weights *weights;

    gmm_status status = layer ? read_options(options, &l) : gmm_fail(GMM_ERR_NULL, "layer is NULL");
    if (status == GMM_OK) /* which checks the expert */
        status = gmm_checkpoint_advise(checkpoint, i, expert, GMM_CHECKPOINT_WILL_NEED);
    if (status != GMM_OK)
        return status;
    l.to = calloc(1, sizeof *l.to);
    if (!l.to)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for a layer", checkpoint->set.path);
    /* A copy of the record, so that the weights are those of the loaded layer; its sources are the checkpoint's. */
    gmm_layer_record record = checkpoint->records[i];
    if (expert >= 0)
        status = load_expert(&l, &record, expert);
    else
        for (size_t s = 0; status == GMM_OK && gmm_record_source(&record, s, &source, &weights); s++)
            status = load_source(&l, source, weights);
    if (status != GMM_OK) {
        free_loaded(l.to);
        return status;
    }
    record.layer.owned_bytes = l.to->layer.owned_bytes;
    l.to->layer = record.layer;
    *layer = &l.to->layer;
    return GMM_OK;
}

gmm_status gmm_checkpoint_layer_load(const gmm_checkpoint *checkpoint, size_t i,
                                     const gmm_checkpoint_load_options *options, const gmm_checkpoint_layer **layer)
{
    gmm_status status = gmm_checkpoint_check_layer(checkpoint, i);

    return status == GMM_OK ? load(checkpoint, i, -1, options, layer) : status;
}

gmm_status gmm_checkpoint_expert_load(const gmm_checkpoint *checkpoint, size_t i, int64_t expert,
                                      const gmm_checkpoint_load_options *options, const gmm_checkpoint_layer **layer)
{
    gmm_status status = gmm_checkpoint_check_layer(checkpoint, i);

    if (status != GMM_OK)
        return status;
    if (expert < 0)
        return gmm_fail(GMM_ERR_ARGUMENT, "expert is %lld", (long long)expert);
    return load(checkpoint, i, expert, options, layer);
}

void gmm_checkpoint_layer_free(const gmm_checkpoint_layer *layer)
{
    if (layer)
        free_loaded((loaded *)(uintptr_t)layer);
}
