/* convert_model.c - see convert_model.h. */
/* SPDX-License-Identifier: MIT */
#include "convert_model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"
#include "output.h"
#include "progress.h"
#include "stop_signals.h"

/* Bytes that are compared at a time; at least a row. */
#define PIECE_BYTES ((size_t)4 << 20)

/* ---- making ------------------------------------------------------------------------------------------------------ */

static int make(void *user, size_t index, size_t offset, size_t size_bytes, void *out)
{
    convert_job *job = user;
    gmm_converted tensor;

    gmm_conversion_at(job->conversion, index, &tensor);
    if (tensor.row_bytes == 0)
        return EXIT_FINE;
    gmm_status status = gmm_conversion_read(job->conversion, index, (int64_t)(offset / tensor.row_bytes),
                                            (int64_t)(size_bytes / tensor.row_bytes), out);
    return status ? complain_status(status) : EXIT_FINE;
}

/* ---- checking ---------------------------------------------------------------------------------------------------- */

/* Two ways to the same published numbers: from IN, and from what was written. */
typedef struct comparison {
    const gmm_conversion *before, *after;
    bool values; /* not after --quantize and --dtype: numbers are others then, and were compared one by one */
    progress *bar;
} comparison;

static int differs(const char *name, const char *what)
{
    char *shown = escape_text(name);

    complain("'%s' differs from its source when read back: %s", shown, what);
    free(shown);
    return EXIT_COULD_NOT_RUN;
}

static bool same_shape(const gmm_converted *a, const gmm_converted *b)
{
    return a->ndim == b->ndim && !memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape);
}

/* `size` bytes from `offset` on, which are whole rows. */
static gmm_status read_bytes(const gmm_conversion *conversion, size_t i, const gmm_converted *tensor, size_t offset,
                             size_t size, char *out)
{
    return gmm_conversion_read(conversion, i, (int64_t)(offset / tensor->row_bytes),
                               (int64_t)(size / tensor->row_bytes), out);
}

/* Rows of both may be of different sizes, where one is several of the other. */
static int compare_values(const comparison *c, size_t i, size_t j, const gmm_converted *a, const gmm_converted *b)
{
    size_t row = a->row_bytes > b->row_bytes ? a->row_bytes : b->row_bytes, total = a->size_bytes;
    size_t piece = row && row < PIECE_BYTES ? PIECE_BYTES / row * row : row;
    char *before = must_allocate(piece + 1, 1), *after = must_allocate(piece + 1, 1);
    int status = EXIT_FINE;

    for (size_t offset = 0; !status && offset < total; offset += piece) {
        size_t size = total - offset < piece ? total - offset : piece;
        gmm_status read = read_bytes(c->before, i, a, offset, size, before);
        if (!read)
            read = read_bytes(c->after, j, b, offset, size, after);
        if (read)
            status = complain_status(read);
        else if (memcmp(before, after, size))
            status = differs(a->name, "its values");
        progress_add(c->bar, size, a->name);
        if (!status && stop_signal())
            status = EXIT_COULD_NOT_RUN;
    }
    free(before);
    free(after);
    return status;
}

/* Was this tensor of IN, or what it is decoded from, left out? */
static bool is_left_out(const convert_job *job, const char *name)
{
    const char *left_out;

    for (size_t i = 0; (left_out = gmm_conversion_left_out_at(job->conversion, i)); i++)
        if (!strcmp(left_out, name))
            return true;
    return false;
}

/* Both lists are in the same order. */
static int compare(const convert_job *job, const comparison *c)
{
    gmm_converted a, b;
    size_t j = 0;
    int status = EXIT_FINE;

    for (size_t i = 0; !status && gmm_conversion_at(c->before, i, &a); i++) {
        if (is_left_out(job, a.name))
            continue;
        if (!gmm_conversion_at(c->after, j, &b) || strcmp(a.name, b.name))
            status = differs(a.name, "it is not there");
        else if (!same_shape(&a, &b))
            status = differs(a.name, "its shape");
        else if (c->values && a.dtype != b.dtype)
            status = differs(a.name, "its type");
        else if (c->values)
            status = compare_values(c, i, j, &a, &b);
        j++;
    }
    if (!status && gmm_conversion_at(c->after, j, &b))
        status = differs(b.name, "there is no such tensor in the source");
    return status;
}

/* Both as published. */
static int check(void *user, const char *folder, progress *bar)
{
    const convert_job *job = user;
    const quantize_request *request = &job->request->quantize;
    const gmm_conversion_options options = {.size = sizeof options, .layout = "hf", .decode_fp8 = true};
    gmm_checkpoint *written = NULL;
    gmm_conversion *before = NULL, *after = NULL;

    gmm_status status = gmm_checkpoint_open(folder, &written);
    if (!status)
        status = gmm_conversion_create(job->source, &options, &before);
    if (!status)
        status = gmm_conversion_create(written, &options, &after);
    int failed = status ? complain_status(status) : EXIT_FINE;
    if (!failed && gmm_checkpoint_layer_count(written) != gmm_checkpoint_layer_count(job->source))
        failed = differs(folder, "its layers of experts");
    if (!failed)
        failed = compare(job, &(comparison){before, after, !request->options.mode && !request->casts, bar});
    gmm_conversion_free(before);
    gmm_conversion_free(after);
    gmm_checkpoint_close(written);
    return failed;
}

/* ---- what is to be written --------------------------------------------------------------------------------------- */

static bool ends_weight(const char *name)
{
    return has_suffix(name, ".weight");
}

static void list_tensors(convert_job *job)
{
    checkpoint *made = &job->made;
    gmm_converted t;

    made->count = gmm_conversion_count(job->conversion);
    made->entries = must_allocate(made->count, sizeof *made->entries);
    made->by_name = must_allocate(made->count, sizeof *made->by_name);
    for (size_t i = 0; gmm_conversion_at(job->conversion, i, &t); i++) {
        made->entries[i] = (entry){.tensor = {t.name, t.dtype, t.ndim, t.shape, NULL, t.size_bytes},
                                   .row_bytes = t.row_bytes,
                                   .stays_dense = t.stays_dense};
        made->by_name[i] = &made->entries[i];
        if (!t.mode || strcmp(job->request->layout, "mlx") || !ends_weight(t.name))
            continue;
        char *module = must_format("%.*s", (int)(strlen(t.name) - strlen(".weight")), t.name);
        if (!made->packed)
            made->packed = json_object();
        json_object_set_new(made->packed, module,
                            json_pack("{s:i, s:i, s:s}", "group_size", t.group_size, "bits", t.bits, "mode", t.mode));
        free(module);
    }
    checkpoint_sort_names(made);
}

/* config.json without what is said of quantized modules; gpt-oss's blocks are named as in its release. */
static void make_config(convert_job *job)
{
    json_t *config = json_deep_copy(job->files.config);
    gmm_converted t;
    bool blocks = false;

    json_object_del(config, "quantization");
    json_object_del(config, "quantization_config");
    for (size_t i = 0; !blocks && gmm_conversion_at(job->conversion, i, &t); i++)
        blocks = t.mode && !strcmp(job->request->layout, "hf") && has_suffix(t.name, "_blocks");
    if (blocks)
        json_object_set_new(config, "quantization_config",
                            json_pack("{s:[s, s, s, s], s:s}", "modules_to_not_convert", "model.layers.*.self_attn",
                                      "model.layers.*.mlp.router", "model.embed_tokens", "lm_head", "quant_method",
                                      "mxfp4"));
    job->made.config = config;
}

/* Cut the list where a file would be too large. */
static void cut_into_shards(convert_job *job)
{
    checkpoint *made = &job->made;
    uint64_t used = 0;
    size_t s = 0;

    for (size_t i = 0; i < made->count; i++) {
        uint64_t size = job->plan.tensors[i].out_bytes;
        if (used > 0 && (size > job->request->shard_bytes || used > job->request->shard_bytes - size)) {
            s++;
            used = 0;
        }
        used += size;
        made->entries[i].shard = s;
    }
    made->shard_count = s + 1;
    made->shards = must_allocate(made->shard_count, sizeof *made->shards);
    for (s = 0; s < made->shard_count; s++)
        made->shards[s].name = made->shard_count == 1
                                   ? must_format("model.safetensors")
                                   : must_format("model-%05zu-of-%05zu.safetensors", s + 1, made->shard_count);
}

static int refuse_layout(const convert_job *job)
{
    complain("%s has the layout of %s already", job->request->quantize.in, job->first.layout);
    return EXIT_COULD_NOT_RUN;
}

static int open_source(convert_job *job)
{
    const convert_request *request = job->request;
    const gmm_conversion_options options = {.size = sizeof options, .layout = request->layout};

    gmm_status status = gmm_checkpoint_open(request->quantize.in, &job->source);
    if (status)
        return complain_status(status);
    if (!gmm_checkpoint_layer_at(job->source, 0, &job->first)) {
        complain("%s: no layer of experts in it, so its layout is not known", request->quantize.in);
        return EXIT_COULD_NOT_RUN;
    }
    if (!strcmp(job->first.layout, request->layout))
        return refuse_layout(job);
    status = gmm_conversion_create(job->source, &options, &job->conversion);
    return status ? complain_status(status) : EXIT_FINE;
}

int convert_open(convert_request *request, convert_job *job)
{
    struct stat info;
    int status = EXIT_FINE;

    *job = (convert_job){.request = request};
    if (stat(request->quantize.in, &info) == 0 && !S_ISDIR(info.st_mode)) {
        complain("%s is no folder; a checkpoint's is needed, with its " CONFIG_NAME, request->quantize.in);
        status = EXIT_COULD_NOT_RUN;
    }
    if (!status)
        status = checkpoint_open(request->quantize.in, &job->files);
    if (!status)
        status = open_source(job);
    if (status)
        return status;
    job->maker = (tensor_maker){job, make, check};
    job->made.path = must_format("%s", job->files.path);
    job->made.is_directory = true;
    job->made.origin = &job->files;
    job->made.maker = &job->maker;
    job->made.metadata_format = strcmp(request->layout, "hf") ? "mlx" : "pt";
    list_tensors(job);
    make_config(job);
    /* A problem of IN's files is one of OUT's. */
    for (size_t i = 0; i < job->files.problem_count; i++)
        checkpoint_problem(&job->made, must_format("%s", job->files.problems[i]));
    status = quantize_plan_make(&job->made, &request->quantize, &job->plan);
    if (status)
        return status;
    cut_into_shards(job);
    return quantize_list_files(&job->made, &job->outcome);
}

int convert_write(convert_job *job)
{
    return quantize_write(&job->made, &job->request->quantize, &job->plan, &job->outcome);
}

void convert_close(convert_job *job)
{
    quantize_outcome_free(&job->outcome);
    quantize_plan_free(&job->plan);
    checkpoint_close(&job->made);
    gmm_conversion_free(job->conversion);
    gmm_checkpoint_close(job->source);
    checkpoint_close(&job->files);
}
