/* quantize_write.c - see quantize_write.h. */
/* SPDX-License-Identifier: MIT */
#include "quantize_write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cast.h"
#include "command.h"
#include "json_file.h"
#include "output.h"
#include "progress.h"
#include "stop_signals.h"
#include "work_dir.h"

/* Source bytes between two looks at the signal and the progress bar; memory for a piece is a small multiple of it. */
#define PIECE_BYTES ((size_t)16 << 20)

/* A source is mapped anew after so many bytes: pages that were read once would otherwise count as this process's
 * memory, up to the size of a shard. POSIX has no working way to hand back a part (glibc's posix_madvise ignores
 * POSIX_MADV_DONTNEED). */
#define MAPPED_BYTES ((size_t)64 << 20)

/* An internal status: a signal came. Never an exit status. */
#define STOPPED (-1)

typedef struct writing {
    const checkpoint *c;
    const quantize_request *request;
    gmm_context *context;
    gmm_safetensors *source; /* the shard at hand, in a mapping of its own; NULL: to be opened */
    size_t source_read_bytes;
    char *made; /* the piece at hand, of tensors that no file has */
    size_t made_bytes;
    gmm_safetensors_writer *file;
    FILE *written; /* comparing: a file that is read back; else NULL */
    progress bar;
    size_t overflows;
} writing;

static size_t element_bytes(gmm_dtype dtype)
{
    return (size_t)gmm_dtype_bits(dtype) / 8;
}

static void close_source(writing *w)
{
    gmm_safetensors_close(w->source);
    w->source = NULL;
    w->source_read_bytes = 0;
}

/* Find the `size_bytes` at `offset` of a planned tensor's data, in a fresh mapping if the old one has been read a lot.
 */
static int read_source(writing *w, const planned *p, size_t offset, size_t size_bytes, const char **data)
{
    const gmm_tensor *planned_tensor = &p->source->tensor;
    const char *path = w->c->shards[p->source->shard].path;
    gmm_tensor tensor;

    if (w->c->maker) {
        if (w->made_bytes < size_bytes) {
            w->made = must_grow(w->made, size_bytes, 1);
            w->made_bytes = size_bytes;
        }
        *data = w->made;
        return w->c->maker->make(w->c->maker->user, (size_t)(p->source - w->c->entries), offset, size_bytes, w->made);
    }
    if (w->source_read_bytes >= MAPPED_BYTES)
        close_source(w);
    gmm_status status = w->source ? GMM_OK : gmm_safetensors_open(path, &w->source);
    if (status)
        return complain_status(status);
    if (!gmm_safetensors_find(w->source, planned_tensor->name, &tensor) || tensor.dtype != planned_tensor->dtype ||
        tensor.size_bytes != planned_tensor->size_bytes) {
        complain("%s was changed while it was read", path);
        return EXIT_COULD_NOT_RUN;
    }
    w->source_read_bytes += size_bytes;
    *data = (const char *)tensor.data + offset;
    return EXIT_FINE;
}

/* Do the next bytes of the file that is read back agree? */
static int compare(writing *w, const char *data, size_t size_bytes)
{
    char buffer[1 << 14];

    for (size_t done = 0; done < size_bytes; done += sizeof buffer) {
        size_t count = size_bytes - done < sizeof buffer ? size_bytes - done : sizeof buffer;
        if (fread(buffer, 1, count, w->written) != count || memcmp(buffer, data + done, count)) {
            complain("%s: what was written is not what is read back", w->request->out);
            return EXIT_COULD_NOT_RUN;
        }
    }
    return EXIT_FINE;
}

/* Write, or compare with what was written. */
static int append(writing *w, const void *data, size_t size_bytes)
{
    if (w->written)
        return compare(w, data, size_bytes);
    gmm_status status = gmm_safetensors_append(w->file, data, size_bytes);

    return status ? complain_status(status) : EXIT_FINE;
}

/* `count` elements of a source, cast if --dtype asks for it: where they lie, or in *buffer, which has room. */
static const void *cast_piece(writing *w, const planned *p, const char *from, size_t count, void *buffer)
{
    if (p->dtype == p->source->tensor.dtype)
        return from;
    w->overflows += cast_elements(from, p->source->tensor.dtype, buffer, p->dtype, count);
    return buffer;
}

/* At most `count` elements, but at least a row. */
static size_t whole_rows(size_t count, size_t row)
{
    if (row == 0)
        return count;
    return count < row ? row : count / row * row;
}

static int write_kept(writing *w, const planned *p)
{
    const gmm_tensor *tensor = &p->source->tensor;
    bool casts = p->dtype != tensor->dtype;
    size_t in_bytes = casts ? element_bytes(tensor->dtype) : 1, out_bytes = casts ? element_bytes(p->dtype) : 1;
    size_t total = tensor->size_bytes / in_bytes, row = p->source->row_bytes / in_bytes;
    size_t piece = whole_rows(PIECE_BYTES / in_bytes, row);
    void *buffer = casts ? must_allocate(piece < total ? piece : total, out_bytes) : NULL;
    int status = EXIT_FINE;

    for (size_t done = 0; !status && done < total; done += piece) {
        size_t count = total - done < piece ? total - done : piece;
        const char *from = NULL;
        status = read_source(w, p, done * in_bytes, count * in_bytes, &from);
        if (!status)
            status = append(w, cast_piece(w, p, from, count, buffer), count * out_bytes);
        progress_add(&w->bar, count * in_bytes, tensor->name);
        if (!status && stop_signal())
            status = STOPPED;
    }
    free(buffer);
    return status;
}

/* Outputs of one quantized tensor: codes of one piece, scales and biases of the whole tensor, which follow it in the
 * file. */
typedef struct parts {
    char *cast, *codes, *scales, *biases; /* biases may be NULL */
    size_t code_row_bytes, scale_row_bytes;
} parts;

/* Quantize rows [first, first + rows) and append their codes. */
static int quantize_rows(writing *w, const planned *p, parts *out, int64_t first, int64_t rows)
{
    const gmm_tensor *tensor = &p->source->tensor;
    int64_t columns = tensor->shape[tensor->ndim - 1];
    size_t row_bytes = (size_t)columns * element_bytes(tensor->dtype);
    const char *from = NULL;
    int found = read_source(w, p, (size_t)first * row_bytes, (size_t)rows * row_bytes, &from);
    if (found)
        return found;
    const void *numbers = cast_piece(w, p, from, (size_t)(rows * columns), out->cast);
    const int64_t shape[] = {rows, columns}, code_shape[] = {rows, p->words}, scale_shape[] = {rows, p->groups};
    gmm_dtype scale_dtype = w->request->has_biases ? p->dtype : GMM_U8;

    /* gmm_array has one kind of data pointer; the library does not write through that of an operand. */
    gmm_array in = {(void *)(uintptr_t)numbers, p->dtype, 2, shape, NULL, 0};
    gmm_array codes = {out->codes, GMM_U32, 2, code_shape, NULL, 0};
    size_t offset = (size_t)first * out->scale_row_bytes;
    gmm_array scales = {out->scales + offset, scale_dtype, 2, scale_shape, NULL, 0};
    gmm_array biases = {out->biases ? out->biases + offset : NULL, scale_dtype, 2, scale_shape, NULL, 0};
    gmm_status status =
        gmm_quantize(w->context, &in, &w->request->options, &codes, &scales, out->biases ? &biases : NULL);
    return status ? complain_status(status) : append(w, out->codes, (size_t)rows * out->code_row_bytes);
}

static int write_quantized(writing *w, const planned *p)
{
    const gmm_tensor *tensor = &p->source->tensor;
    int64_t columns = tensor->shape[tensor->ndim - 1], rows = tensor_elements(tensor) / columns;
    size_t row_bytes = (size_t)columns * element_bytes(tensor->dtype);
    int64_t piece = row_bytes < PIECE_BYTES ? (int64_t)(PIECE_BYTES / row_bytes) : 1;
    parts out = {.code_row_bytes = (size_t)p->words * 4};
    int status = EXIT_FINE;

    piece = piece < rows ? piece : rows;
    out.scale_row_bytes = (size_t)p->groups * (w->request->has_biases ? element_bytes(p->dtype) : 1);
    if (p->dtype != tensor->dtype)
        out.cast = must_allocate((size_t)(piece * columns), element_bytes(p->dtype));
    out.codes = must_allocate((size_t)piece, out.code_row_bytes);
    out.scales = must_allocate((size_t)rows, out.scale_row_bytes);
    if (w->request->has_biases)
        out.biases = must_allocate((size_t)rows, out.scale_row_bytes);
    for (int64_t first = 0; !status && first < rows; first += piece) {
        int64_t count = rows - first < piece ? rows - first : piece;
        status = quantize_rows(w, p, &out, first, count);
        progress_add(&w->bar, (size_t)count * row_bytes, tensor->name);
        if (!status && stop_signal())
            status = STOPPED;
    }
    if (!status)
        status = append(w, out.scales, (size_t)rows * out.scale_row_bytes);
    if (!status && out.biases)
        status = append(w, out.biases, (size_t)rows * out.scale_row_bytes);
    free(out.cast);
    free(out.codes);
    free(out.scales);
    free(out.biases);
    return status;
}

/* ---- a shard ----------------------------------------------------------------------------------------------------- */

/* The tensors of an output file; names and shapes of quantized ones are owned. */
typedef struct tensor_list {
    gmm_tensor *tensors;
    size_t count;
} tensor_list;

static void add_part(tensor_list *list, const planned *p, const char *suffix, gmm_dtype dtype, int64_t last)
{
    const gmm_tensor *source = &p->source->tensor;
    int64_t *shape = must_allocate((size_t)source->ndim, sizeof *shape);

    for (int32_t d = 0; d < source->ndim; d++)
        shape[d] = source->shape[d];
    if (last)
        shape[source->ndim - 1] = last;
    char *name = suffix ? must_format("%s%s", p->module, suffix) : must_format("%s", source->name);
    list->tensors[list->count++] = (gmm_tensor){name, dtype, source->ndim, shape, NULL, 0};
}

static tensor_list list_tensors(const quantize_plan *plan, const quantize_request *request, size_t s)
{
    tensor_list list = {must_allocate(3 * plan->count, sizeof *list.tensors), 0};

    for (size_t i = 0; i < plan->count; i++) {
        const planned *p = &plan->tensors[i];
        if (p->source->shard != s)
            continue;
        if (!p->quantize) {
            add_part(&list, p, NULL, p->dtype, 0);
            continue;
        }
        add_part(&list, p, ".weight", GMM_U32, p->words);
        add_part(&list, p, ".scales", request->has_biases ? p->dtype : GMM_U8, p->groups);
        if (request->has_biases)
            add_part(&list, p, ".biases", p->dtype, p->groups);
    }
    return list;
}

static void free_list(tensor_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free((void *)(uintptr_t)list->tensors[i].name);
        free((void *)(uintptr_t)list->tensors[i].shape);
    }
    free(list->tensors);
}

/* The source's metadata, with format "mlx" as MLX writes it. A file by itself has no config.json to say how it decodes,
 * so there the quantization entry goes into the metadata. */
static gmm_status create_file(writing *w, const quantize_plan *plan, size_t s, const char *path,
                              const tensor_list *list)
{
    const char **metadata = must_allocate(4, sizeof *metadata), *key, *value;
    char *quantization = NULL;
    size_t count = 1;

    metadata[0] = "format";
    metadata[1] = w->c->metadata_format ? w->c->metadata_format : "mlx";
    if (!w->c->is_directory) {
        json_t *config = quantize_config(w->c, w->request, plan);
        quantization = json_print_text(json_object_get(config, "quantization"), 0);
        json_decref(config);
        metadata[2] = "quantization";
        metadata[3] = quantization ? quantization : "";
        count++;
    }
    for (size_t i = 0; !w->c->maker && gmm_safetensors_metadata_at(w->c->shards[s].file, i, &key, &value); i++) {
        if (!strcmp(key, "format") || (quantization && !strcmp(key, "quantization")))
            continue;
        metadata = must_grow(metadata, 2 * (count + 1), sizeof *metadata);
        metadata[2 * count] = key;
        metadata[2 * count + 1] = value;
        count++;
    }
    gmm_status status = gmm_safetensors_create(path, list->tensors, list->count, metadata, count, &w->file);
    free(metadata);
    free(quantization);
    return status;
}

static int write_tensors(writing *w, const quantize_plan *plan, size_t s)
{
    int status = EXIT_FINE;

    for (size_t i = 0; !status && i < plan->count; i++)
        if (plan->tensors[i].source->shard == s)
            status =
                plan->tensors[i].quantize ? write_quantized(w, &plan->tensors[i]) : write_kept(w, &plan->tensors[i]);
    return status;
}

static int write_shard(writing *w, const quantize_plan *plan, size_t s)
{
    char *path = join_path(work_path(), w->c->shards[s].name);
    tensor_list list = list_tensors(plan, w->request, s);
    gmm_status created = create_file(w, plan, s, path, &list);
    int status = created ? complain_status(created) : EXIT_FINE;

    free_list(&list);
    free(path);
    if (created)
        return status;
    status = write_tensors(w, plan, s);
    close_source(w);
    if (status)
        gmm_safetensors_abandon(w->file);
    else {
        gmm_status finished = gmm_safetensors_finish(w->file);
        status = finished ? complain_status(finished) : EXIT_FINE;
    }
    return status;
}

/* Make the data of a shard again and compare them with the file: all that follows its header. */
static int compare_shard(writing *w, const quantize_plan *plan, size_t s)
{
    char *path = join_path(work_path(), w->c->shards[s].name);
    struct stat info;
    uint64_t data_bytes = 0;
    int status = EXIT_COULD_NOT_RUN;

    for (size_t i = 0; i < plan->count; i++)
        data_bytes += plan->tensors[i].source->shard == s ? plan->tensors[i].out_bytes : 0;
    w->written = fopen(path, "rb");
    if (w->written && fstat(fileno(w->written), &info) == 0 && (uint64_t)info.st_size > data_bytes &&
        fseeko(w->written, info.st_size - (off_t)data_bytes, SEEK_SET) == 0)
        status = write_tensors(w, plan, s);
    else
        complain("%s: cannot be read back: %s", path, w->written ? "wrong size" : strerror(errno));
    if (w->written)
        fclose(w->written);
    w->written = NULL;
    free(path);
    return status;
}

/* ---- other files ------------------------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Is it written anew instead of copied? */
static bool replaced(const checkpoint *c, const char *name)
{
    for (size_t s = 0; s < c->shard_count; s++)
        if (!strcmp(c->shards[s].name, name))
            return true;
    if (c->origin)
        return replaced(c->origin, name);
    return !strcmp(name, CONFIG_NAME) || !strcmp(name, INDEX_NAME);
}

int quantize_list_files(const checkpoint *c, quantize_outcome *outcome)
{
    struct dirent *found;
    struct stat info;

    if (!c->is_directory)
        return EXIT_FINE;
    DIR *directory = opendir(c->path);
    if (!directory) {
        complain("%s: %s", c->path, strerror(errno));
        return EXIT_COULD_NOT_RUN;
    }
    while ((found = readdir(directory))) {
        if (found->d_name[0] == '.' || replaced(c, found->d_name))
            continue;
        char *path = join_path(c->path, found->d_name);
        bool is_file = stat(path, &info) == 0 && S_ISREG(info.st_mode);
        char ***names = is_file ? &outcome->copied : &outcome->left_out;
        size_t *count = is_file ? &outcome->copied_count : &outcome->left_out_count;
        *names = must_grow(*names, *count + 1, sizeof **names);
        (*names)[(*count)++] = must_format("%s", found->d_name);
        free(path);
    }
    closedir(directory);
    if (outcome->copied_count)
        qsort(outcome->copied, outcome->copied_count, sizeof(char *), by_text);
    if (outcome->left_out_count)
        qsort(outcome->left_out, outcome->left_out_count, sizeof(char *), by_text);
    return EXIT_FINE;
}

void quantize_outcome_free(quantize_outcome *outcome)
{
    for (size_t i = 0; i < outcome->copied_count; i++)
        free(outcome->copied[i]);
    for (size_t i = 0; i < outcome->left_out_count; i++)
        free(outcome->left_out[i]);
    free(outcome->copied);
    free(outcome->left_out);
}

/* Flush to disk and close, for a file that a rename makes visible. */
static bool finish_stream(FILE *file)
{
    bool fine = !ferror(file) && fflush(file) == 0 && fsync(fileno(file)) == 0;

    return fclose(file) == 0 && fine;
}

static int copy_file(const char *from_path, const char *to_path)
{
    FILE *from = fopen(from_path, "rb"), *to = from ? fopen(to_path, "wb") : NULL;
    char *buffer = must_allocate((size_t)1 << 20, 1);
    const char *failed = !from ? from_path : !to ? to_path : NULL;
    size_t count;
    struct stat info;

    while (!failed && !stop_signal() && (count = fread(buffer, 1, (size_t)1 << 20, from)) > 0)
        if (fwrite(buffer, 1, count, to) != count)
            failed = to_path;
    if (!failed && ferror(from))
        failed = from_path;
    if (!failed && fstat(fileno(from), &info) == 0)
        fchmod(fileno(to), info.st_mode & 0777);
    if (failed)
        complain("%s: %s", failed, strerror(errno));
    if (from)
        fclose(from);
    if (to && !finish_stream(to) && !failed) {
        complain("%s: %s", to_path, strerror(errno));
        failed = to_path;
    }
    free(buffer);
    return failed ? EXIT_COULD_NOT_RUN : stop_signal() ? STOPPED : EXIT_FINE;
}

static int copy_files(const checkpoint *c, const quantize_outcome *outcome)
{
    int status = EXIT_FINE;

    for (size_t i = 0; !status && i < outcome->copied_count; i++) {
        char *from = join_path(c->path, outcome->copied[i]), *to = join_path(work_path(), outcome->copied[i]);
        status = copy_file(from, to);
        free(from);
        free(to);
    }
    return status;
}

/* Write and release. */
static int write_json(json_t *value, const char *name)
{
    char *path = join_path(work_path(), name), *text = json_print_text(value, 4);
    FILE *file = fopen(path, "wb");
    bool fine = file && text && fprintf(file, "%s\n", text) > 0;

    if (file)
        fine = finish_stream(file) && fine;
    if (!fine)
        complain("%s: %s", path, text ? strerror(errno) : "out of memory");
    json_decref(value);
    free(path);
    free(text);
    return fine ? EXIT_FINE : EXIT_COULD_NOT_RUN;
}

/* ------------------------------------------------------------------------------------------------------------------ */

static int write_all(writing *w, const quantize_plan *plan, quantize_outcome *outcome)
{
    const quantize_request *request = w->request;
    int status = EXIT_FINE;

    for (size_t s = 0; !status && s < w->c->shard_count; s++)
        status = write_shard(w, plan, s);
    if (!status && w->c->is_directory) {
        status = write_json(quantize_config(w->c, request, plan), CONFIG_NAME);
        if (!status)
            status = write_json(quantize_index(w->c, request, plan), INDEX_NAME);
        if (!status)
            status = copy_files(w->c, outcome);
    }
    if (w->c->maker && (request->options.mode || request->casts))
        for (size_t s = 0; !status && s < w->c->shard_count; s++)
            status = compare_shard(w, plan, s);
    if (!status && w->c->maker)
        status = w->c->maker->check(w->c->maker->user, work_path(), &w->bar);
    if (!status && stop_signal())
        status = STOPPED;
    if (!status)
        status = w->c->is_directory ? work_publish_directory(request->out, request->replaces)
                                    : work_publish_file(w->c->shards[0].name, request->out);
    return status;
}

int quantize_write(const checkpoint *c, const quantize_request *request, const quantize_plan *plan,
                   quantize_outcome *outcome)
{
    const gmm_context_options wanted = {.size = sizeof wanted, .threads = request->threads};
    writing w = {.c = c, .request = request};
    double begin = monotonic_seconds();
    gmm_status created = gmm_context_create(&wanted, &w.context);

    if (created)
        return complain_status(created);
    int status = work_begin(request->out);
    if (!status) {
        /* What is made is made twice: once to compare. */
        progress_start(&w.bar, plan->bytes_before * (c->maker ? 2 : 1), NULL, request->quiet);
        status = write_all(&w, plan, outcome);
        progress_end(&w.bar);
    }
    gmm_context_destroy(w.context);
    free(w.made);
    work_remove();
    if (status && stop_signal()) {
        complain("stopped by a signal; nothing is left at %s", request->out);
        stop_die();
    }
    outcome->seconds = monotonic_seconds() - begin;
    outcome->overflows = w.overflows;
    return status;
}
