/* cmd_inspect.c - 'gathermm inspect': what a safetensors file, a checkpoint directory or an npy file holds. */
/* SPDX-License-Identifier: MIT */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "json_file.h"
#include "output.h"
#include "shard_set.h"

enum {
    OPTION_JSON = 256,
    OPTION_TENSORS
};

static const struct option options[] = {
    {"json", no_argument, NULL, OPTION_JSON},
    {"tensors", required_argument, NULL, OPTION_TENSORS},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* A quantized module, checked: how its codes decode. */
typedef struct decoded {
    quantized_module module;
    char *mode; /* in memory of its own; NULL: not known */
    int32_t bits, group_size;
    gmm_array_spec shape; /* ndim is -1 when the parts do not fit together or the format is not known */
    bool ambiguous;       /* several formats have its shapes, and no config.json says which */
    char *note;           /* why; "" when all is well */
} decoded;

/* ---- quantized modules ------------------------------------------------------------------------------------------- */

/* The only format of this mode with this many words for a group: a config.json that says nothing leaves no more to go
 * by. */
static bool only_format(const char *mode, int64_t words, int64_t groups, int32_t *bits, int32_t *group_size)
{
    gmm_format_info format;
    int found = 0;

    for (size_t i = 0; gmm_format_at(i, &format); i++) {
        if (strcmp(format.mode, mode) || !format.quantized)
            continue;
        for (const int32_t *b = format.bits; *b; b++)
            for (const int32_t *g = format.group_sizes; *g; g++)
                if (words * 32 == groups * *g * *b) {
                    *bits = *b;
                    *group_size = *g;
                    found++;
                }
    }
    return found == 1;
}

/* Modes with u8 scales differ in words for a group: 2, 4 and 8. */
static char *mode_by_shape(const decoded *d, int32_t *bits, int32_t *group_size)
{
    const gmm_tensor *w = &d->module.weight->tensor, *scales = &d->module.scales->tensor;
    gmm_format_info format;

    if (w->ndim < 1 || scales->ndim < 1)
        return NULL;
    for (size_t i = 0; gmm_format_at(i, &format); i++)
        if (format.quantized && format.has_biases == (d->module.biases != NULL) &&
            only_format(format.mode, w->shape[w->ndim - 1], scales->shape[scales->ndim - 1], bits, group_size))
            return must_format("%s", format.mode);
    return NULL;
}

static void decode_shape(decoded *d)
{
    gmm_array w, scales, biases;

    gmm_tensor_array(&d->module.weight->tensor, &w);
    gmm_tensor_array(&d->module.scales->tensor, &scales);
    if (d->module.biases)
        gmm_tensor_array(&d->module.biases->tensor, &biases);
    gmm_quantized q = {&w, &scales, d->module.biases ? &biases : NULL, NULL, d->mode, d->group_size, d->bits};
    if (gmm_dequantize_spec(&q, &d->shape)) {
        d->shape.ndim = -1;
        d->note = must_format("%s", gmm_error_detail());
        return;
    }
    d->note = must_format("%s", "");
}

static decoded decode(const json_t *quantization, quantized_module module)
{
    decoded d = {.module = module, .shape = {.ndim = -1}};
    const char *mode;

    if (!quantization) {
        d.mode = mode_by_shape(&d, &d.bits, &d.group_size);
        if (d.mode)
            decode_shape(&d);
        else {
            d.bits = d.group_size = 0;
            d.note = must_format("%s", "");
            d.ambiguous = true;
        }
        return d;
    }
    if (!module_format(quantization, module.name, &mode, &d.bits, &d.group_size)) {
        d.bits = d.group_size = 0;
        d.note = must_format("the quantization entry says that it is not quantized");
        return d;
    }
    d.mode = must_format("%s", mode ? mode : "affine");
    decode_shape(&d);
    return d;
}

/* Every quantized module of a checkpoint. Parts that do not fit together are problems. */
static decoded *decode_all(checkpoint *c, size_t *count)
{
    json_t *quantization = quantization_entry(c->config);
    decoded *list = NULL;
    quantized_module module;

    *count = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (!quantized_module_of(c, &c->entries[i], &module))
            continue;
        list = must_grow(list, *count + 1, sizeof *list);
        decoded *d = &list[(*count)++];
        *d = decode(quantization, module);
        if (*d->note)
            checkpoint_problem(c, must_format("%s: %s", module.name, d->note));
    }
    return list;
}

static void free_decoded(decoded *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(list[i].module.name);
        free(list[i].mode);
        free(list[i].note);
    }
    free(list);
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

static bool selected(const char *glob, const entry *e)
{
    return !glob || !fnmatch(glob, e->tensor.name, 0);
}

static uint64_t total_bytes(const checkpoint *c)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < c->count; i++)
        bytes += c->entries[i].tensor.size_bytes;
    return bytes;
}

static void print_header(const checkpoint *c)
{
    char bytes[24], *path = escape_text(c->path);
    const char *key, *value;

    printf("%s: ", path);
    free(path);
    if (c->is_directory)
        printf("checkpoint %s, %zu file%s, ", c->has_index ? "with index" : "without index", c->shard_count,
               c->shard_count == 1 ? "" : "s");
    else
        printf("safetensors, ");
    printf("%zu tensor%s, %s\n", c->count, c->count == 1 ? "" : "s", bytes_text(total_bytes(c), bytes));

    table t = {.alignment = "rlr"};
    for (size_t s = 0; c->is_directory && s < c->shard_count; s++) {
        size_t tensors = gmm_safetensors_count(c->shards[s].file);
        table_add(&t, "%zu", s + 1);
        table_add(&t, "%s", c->shards[s].name);
        table_add(&t, "%zu tensor%s", tensors, tensors == 1 ? "" : "s");
    }
    table_print(&t, 2);
    for (size_t s = 0; s < c->shard_count; s++)
        for (size_t i = 0; gmm_safetensors_metadata_at(c->shards[s].file, i, &key, &value); i++) {
            char *shown_key = escape_text(key), *shown_value = escape_text(value);
            if (c->shard_count > 1)
                printf("  metadata of %zu: %s = %s\n", s + 1, shown_key, shown_value);
            else
                printf("  metadata: %s = %s\n", shown_key, shown_value);
            free(shown_key);
            free(shown_value);
        }
    printf("\n");
}

static void print_tensors(const checkpoint *c, const char *glob)
{
    table t = {.alignment = c->shard_count > 1 ? "lllrr" : "lllr"};
    char bytes[24];
    size_t shown = 0;

    table_add(&t, "tensor");
    table_add(&t, "dtype");
    table_add(&t, "shape");
    table_add(&t, "bytes");
    if (c->shard_count > 1)
        table_add(&t, "file");
    for (size_t i = 0; i < c->count; i++) {
        const gmm_tensor *tensor = &c->entries[i].tensor;
        if (!selected(glob, &c->entries[i]))
            continue;
        char *shape = shape_text(tensor->shape, tensor->ndim);
        table_add(&t, "%s", tensor->name);
        table_add(&t, "%s", gmm_dtype_name(tensor->dtype));
        table_add(&t, "%s", shape);
        table_add(&t, "%s", bytes_text(tensor->size_bytes, bytes));
        if (c->shard_count > 1)
            table_add(&t, "%zu", c->entries[i].shard + 1);
        free(shape);
        shown++;
    }
    table_print(&t, 0);
    if (glob && shown < c->count) {
        char *pattern = escape_text(glob);
        printf("%zu of %zu tensors match '%s'\n", shown, c->count, pattern);
        free(pattern);
    }
    printf("\n");
}

/* Tensors, elements and bytes of each type, or of all together; json or table, whichever is given. */
static void add_totals(const checkpoint *c, int dtype, table *t, json_t *totals)
{
    size_t tensors = 0;
    uint64_t elements = 0, bytes = 0;
    char text[24];

    for (size_t i = 0; i < c->count; i++)
        if (dtype < 0 || (int)c->entries[i].tensor.dtype == dtype) {
            tensors++;
            elements += (uint64_t)tensor_elements(&c->entries[i].tensor);
            bytes += c->entries[i].tensor.size_bytes;
        }
    if (dtype >= 0 && tensors == 0)
        return;
    const char *name = dtype < 0 ? "total" : gmm_dtype_name((gmm_dtype)dtype);
    if (totals)
        json_object_set_new(totals, name,
                            json_pack("{s:I, s:I, s:I}", "tensors", (json_int_t)tensors, "elements",
                                      (json_int_t)elements, "bytes", (json_int_t)bytes));
    if (t) {
        table_add(t, "%s", name);
        table_add(t, "%zu", tensors);
        table_add(t, "%" PRIu64, elements);
        table_add(t, "%s", bytes_text(bytes, text));
    }
}

static void add_all_totals(const checkpoint *c, table *t, json_t *totals)
{
    for (int dtype = 0; dtype <= GMM_F4; dtype++)
        if (gmm_dtype_name((gmm_dtype)dtype))
            add_totals(c, dtype, t, totals);
    add_totals(c, -1, t, totals);
}

static void print_totals(const checkpoint *c)
{
    table t = {.alignment = "lrrr"};

    table_add(&t, "dtype");
    table_add(&t, "tensors");
    table_add(&t, "elements");
    table_add(&t, "bytes");
    add_all_totals(c, &t, NULL);
    table_print(&t, 0);
}

static double bits_per_weight(const decoded *d)
{
    double weights = 1,
           bytes = (double)d->module.weight->tensor.size_bytes + (double)d->module.scales->tensor.size_bytes;

    if (d->module.biases)
        bytes += (double)d->module.biases->tensor.size_bytes;
    for (int32_t i = 0; i < d->shape.ndim; i++)
        weights *= (double)d->shape.shape[i];
    return weights > 0 ? bytes * 8 / weights : 0;
}

static void print_quantization_entry(json_t *quantization)
{
    static const char *const keys[] = {"mode", "bits", "group_size", "quant_method"};
    const char *key;
    json_t *value;
    size_t left_out = 0, overrides = 0;

    printf("\nquantization entry:");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if ((value = json_object_get(quantization, keys[i]))) {
            char *word = escape_text(json_is_string(value) ? json_string_value(value) : "");
            if (json_is_integer(value))
                printf(" %s %" JSON_INTEGER_FORMAT, keys[i], json_integer_value(value));
            else
                printf(" %s %s", keys[i], word);
            free(word);
        }
    json_object_foreach(quantization, key, value)
    {
        left_out += json_is_false(value);
        overrides += json_is_object(value);
    }
    printf("\n  %zu module%s left out, %zu with a format of their own\n", left_out, left_out == 1 ? "" : "s",
           overrides);
}

static void print_decoded(const decoded *list, size_t count, const char *glob)
{
    static const char *const titles[] = {"quantized module", "mode", "bits", "group", "decoded shape", "bits/weight"};
    table t = {.alignment = "llrrlr"};
    bool ambiguous = false;

    for (size_t i = 0; i < count; i++) {
        const decoded *d = &list[i];
        if (!selected(glob, d->module.weight))
            continue;
        for (size_t column = 0; t.count < 6; column++)
            table_add(&t, "%s", titles[column]);
        char *shape = d->shape.ndim < 0 ? must_format("?") : shape_text(d->shape.shape, d->shape.ndim);
        table_add(&t, "%s", d->module.name);
        table_add(&t, "%s", d->mode ? d->mode : "?");
        table_add(&t, d->bits ? "%d" : "?", (int)d->bits);
        table_add(&t, d->group_size ? "%d" : "?", (int)d->group_size);
        table_add(&t, "%s", shape);
        if (d->shape.ndim < 0)
            table_add(&t, "?");
        else
            table_add(&t, "%.3f", bits_per_weight(d));
        free(shape);
        ambiguous |= d->ambiguous;
    }
    if (t.count)
        printf("\n");
    table_print(&t, 0);
    if (ambiguous)
        printf("?: several formats have these shapes, and neither " CONFIG_NAME " nor metadata says which\n");
}

static void print_problems(const checkpoint *c)
{
    if (c->problem_count)
        printf("\n%zu problem%s:\n", c->problem_count, c->problem_count == 1 ? "" : "s");
    for (size_t i = 0; i < c->problem_count; i++) {
        char *text = escape_text(c->problems[i]);
        printf("  %s\n", text);
        free(text);
    }
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static json_t *files_json(const checkpoint *c)
{
    json_t *files = json_array();
    const char *key, *value;

    for (size_t s = 0; s < c->shard_count; s++) {
        json_t *metadata = json_object();
        for (size_t i = 0; gmm_safetensors_metadata_at(c->shards[s].file, i, &key, &value); i++)
            json_object_set_new(metadata, key, json_text(value));
        json_array_append_new(files,
                              json_pack("{s:o, s:I, s:o}", "name", json_text(c->shards[s].name), "tensors",
                                        (json_int_t)gmm_safetensors_count(c->shards[s].file), "metadata", metadata));
    }
    return files;
}

static json_t *tensors_json(const checkpoint *c, const char *glob)
{
    json_t *tensors = json_array();

    for (size_t i = 0; i < c->count; i++) {
        const gmm_tensor *tensor = &c->entries[i].tensor;
        if (selected(glob, &c->entries[i]))
            json_array_append_new(tensors, json_pack("{s:s, s:s, s:o, s:I, s:o}", "name", tensor->name, "dtype",
                                                     gmm_dtype_name(tensor->dtype), "shape",
                                                     json_shape(tensor->shape, tensor->ndim), "bytes",
                                                     (json_int_t)tensor->size_bytes, "file",
                                                     json_text(c->shards[c->entries[i].shard].name)));
    }
    return tensors;
}

static json_t *decoded_json(const decoded *list, size_t count, const char *glob)
{
    json_t *modules = json_array();

    for (size_t i = 0; i < count; i++) {
        const decoded *d = &list[i];
        if (!selected(glob, d->module.weight))
            continue;
        json_array_append_new(modules,
                              json_pack("{s:s, s:s?, s:i, s:i, s:o}", "module", d->module.name, "mode", d->mode, "bits",
                                        d->bits, "group_size", d->group_size, "shape",
                                        d->shape.ndim < 0 ? json_null() : json_shape(d->shape.shape, d->shape.ndim)));
    }
    return modules;
}

static void print_checkpoint_json(const checkpoint *c, const decoded *list, size_t count, const char *glob)
{
    json_t *root = json_object(), *totals = json_object(), *problems = json_array();
    json_t *quantization = quantization_entry(c->config);

    add_all_totals(c, NULL, totals);
    for (size_t i = 0; i < c->problem_count; i++)
        json_array_append_new(problems, json_text(c->problems[i]));
    json_object_set_new(root, "path", json_text(c->path));
    json_object_set_new(root, "kind", json_string(c->is_directory ? "checkpoint" : "safetensors"));
    json_object_set_new(root, "files", files_json(c));
    json_object_set_new(root, "tensors", tensors_json(c, glob));
    json_object_set_new(root, "totals", totals);
    json_object_set_new(root, "quantization", quantization ? json_deep_copy(quantization) : json_null());
    json_object_set_new(root, "quantized", decoded_json(list, count, glob));
    json_object_set_new(root, "problems", problems);
    print_json(root);
}

/* ---- npy --------------------------------------------------------------------------------------------------------- */

static bool is_row_major(const gmm_array *array)
{
    int64_t stride = 1;

    for (int32_t d = array->ndim - 1; array->strides && d >= 0; d--) {
        if (array->shape[d] != 1 && array->strides[d] != stride)
            return false;
        stride *= array->shape[d];
    }
    return true;
}

static int inspect_npy(const char *path, bool json)
{
    gmm_npy *file;
    gmm_array array;
    char bytes[24];

    gmm_status status = gmm_npy_open(path, &file);
    if (status)
        return complain_status(status);
    gmm_npy_array(file, &array);
    const gmm_tensor tensor = {.ndim = array.ndim, .shape = array.shape};
    uint64_t size_bytes = (uint64_t)tensor_elements(&tensor) * (uint64_t)gmm_dtype_bits(array.dtype) / 8;
    const char *order = is_row_major(&array) ? "C" : "Fortran";
    if (json)
        print_json(json_pack("{s:o, s:s, s:s, s:o, s:I, s:s}", "path", json_text(path), "kind", "npy", "dtype",
                             gmm_dtype_name(array.dtype), "shape", json_shape(array.shape, array.ndim), "bytes",
                             (json_int_t)size_bytes, "order", order));
    else {
        char *shown = escape_text(path), *shape = shape_text(array.shape, array.ndim);
        printf("%s: npy, %s %s, %s order, %s\n", shown, gmm_dtype_name(array.dtype), shape, order,
               bytes_text(size_bytes, bytes));
        free(shown);
        free(shape);
    }
    gmm_npy_close(file);
    return EXIT_FINE;
}

/* ------------------------------------------------------------------------------------------------------------------ */

static int inspect_checkpoint(const char *path, bool json, const char *glob)
{
    checkpoint c;
    size_t count;
    int status = checkpoint_open(path, &c);

    if (status)
        return status;
    decoded *list = decode_all(&c, &count);
    if (json)
        print_checkpoint_json(&c, list, count, glob);
    else {
        print_header(&c);
        print_tensors(&c, glob);
        print_totals(&c);
        if (quantization_entry(c.config))
            print_quantization_entry(quantization_entry(c.config));
        print_decoded(list, count, glob);
        print_problems(&c);
    }
    status = c.problem_count ? EXIT_FOUND : EXIT_FINE;
    free_decoded(list, count);
    checkpoint_close(&c);
    return status;
}

static int run(int argc, char **argv)
{
    const char *glob = NULL;
    bool json = false;
    int option;

    while ((option = next_option(&cmd_inspect, argc, argv, options)) != -1)
        switch (option) {
        case OPTION_JSON:
            json = true;
            break;
        case OPTION_TENSORS:
            glob = optarg;
            break;
        case 'h':
            print_help(&cmd_inspect);
            return EXIT_FINE;
        default:
            return EXIT_USAGE;
        }
    if (argc - optind != 1)
        return usage_error(&cmd_inspect, "exactly one file or directory is expected, and there are %d", argc - optind);
    return is_npy(argv[optind]) ? inspect_npy(argv[optind], json) : inspect_checkpoint(argv[optind], json, glob);
}

const command cmd_inspect = {
    .name = "inspect",
    .arguments = "FILE|DIRECTORY [--json] [--tensors GLOB]",
    .summary = "show what a safetensors file, a checkpoint or an npy file holds",
    .help = "Show the tensors of a safetensors file or of a checkpoint directory (with\n"
            "model.safetensors.index.json or model*.safetensors files), their totals,\n"
            "metadata, and how quantized modules decode; or the array of an npy file.\n"
            "Exits 1 if shards and index disagree, or parts of a quantized module do not fit.\n\n"
            "options:\n"
            "  --json          print JSON\n"
            "  --tensors GLOB  show only tensors whose whole name matches (* ? [...])\n"
            "  -h, --help      show this text\n",
    .run = run,
};
