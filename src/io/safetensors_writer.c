/* safetensors_writer.c - writing safetensors files as a stream, byte for byte as the Python package lays them out. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "gathermm/io.h"
#include "io/file_check.h"
#include "io/io_file.h"
#include "io/safetensors_header.h"

struct gmm_safetensors_writer {
    gmm_new_file *file;
    char *path;
    int64_t announced, written; /* bytes of data */
    bool failed;
};

/* The header's text while it grows. */
typedef struct text_buffer {
    char *text;
    size_t used, capacity;
    bool failed; /* out of memory */
} text_buffer;

static void put(text_buffer *buffer, const char *text, size_t size)
{
    if (buffer->failed)
        return;
    if (size > buffer->capacity - buffer->used) {
        size_t capacity = 2 * buffer->capacity + size + 4096;
        char *grown = realloc(buffer->text, capacity);
        if (!grown) {
            buffer->failed = true;
            return;
        }
        buffer->text = grown;
        buffer->capacity = capacity;
    }
    memcpy(buffer->text + buffer->used, text, size);
    buffer->used += size;
}

__attribute__((format(printf, 2, 3))) static void put_format(text_buffer *buffer, const char *format, ...)
{
    char text[64];
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    put(buffer, text, (size_t)size);
}

/* Escapes are those of Rust's serde_json, which the Python package uses; jansson's differ in the case of hexadecimal
 * digits. */
static void put_string(text_buffer *buffer, const char *string)
{
    static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";

    put(buffer, "\"", 1);
    for (const char *c = string; *c; c++) {
        const char *found = strchr(escaped, *c);
        if (found)
            put(buffer, (const char[]){'\\', letters[found - escaped]}, 2);
        else if ((unsigned char)*c < 0x20)
            put_format(buffer, "\\u%04x", (unsigned)*c);
        else
            put(buffer, c, 1);
    }
    put(buffer, "\"", 1);
}

/* jansson refuses a string for two reasons; the unchecked call tells them apart. */
static gmm_status check_utf8(const char *path, const char *what, size_t i, const char *string)
{
    json_t *checked = json_string(string);
    json_t *unchecked = checked ? NULL : json_string_nocheck(string);
    gmm_status status = GMM_OK;

    if (unchecked)
        status = gmm_fail(GMM_ERR_ARGUMENT, "%s: %s %zu is not UTF-8", path, what, i);
    else if (!checked)
        status = gmm_fail(GMM_ERR_MEMORY, "%s: no memory for its header", path);
    json_decref(checked);
    json_decref(unchecked);
    return status;
}

static int by_text(const void *left, const void *right)
{
    const char *const *a = left, *const *b = right;

    return strcmp(*a, *b);
}

/* Sorts the strings. */
static gmm_status check_distinct(const char *path, const char *what, const char **strings, size_t count)
{
    if (count > 1)
        qsort(strings, count, sizeof *strings, by_text);
    for (size_t i = 1; i < count; i++)
        if (strcmp(strings[i - 1], strings[i]) == 0)
            return gmm_fail(GMM_ERR_ARGUMENT, "%s: two %s are named " GMM_QUOTED, path, what, strings[i]);
    return GMM_OK;
}

static gmm_status check_tensor(const char *path, size_t i, const gmm_tensor *tensor, int64_t *size_bytes)
{
    char what[1024];

    if (!tensor->name)
        return gmm_fail(GMM_ERR_NULL, "%s: tensor %zu has no name", path, i);
    if (strcmp(tensor->name, "__metadata__") == 0)
        return gmm_fail(GMM_ERR_ARGUMENT, "%s: tensor %zu has the reserved name __metadata__", path, i);
    gmm_status status = check_utf8(path, "the name of tensor", i, tensor->name);
    if (status != GMM_OK)
        return status;
    snprintf(what, sizeof what, "%s: tensor " GMM_QUOTED, path, tensor->name);
    if (!gmm_dtype_name(tensor->dtype))
        return gmm_fail(GMM_ERR_DTYPE, "%s: %d is not an element type", what, (int)tensor->dtype);
    if (tensor->ndim < 0 || tensor->ndim > GMM_MAX_NDIM)
        return gmm_fail(GMM_ERR_SHAPE, "%s: rank %" PRId32 "; it may be 0 to %d", what, tensor->ndim, GMM_MAX_NDIM);
    if (tensor->ndim > 0 && !tensor->shape)
        return gmm_fail(GMM_ERR_NULL, "%s: shape is NULL", what);
    return gmm_tensor_bytes(what, tensor->dtype, tensor->ndim, tensor->shape, size_bytes);
}

static gmm_status put_metadata(const char *path, const char *const *metadata, size_t count, text_buffer *header)
{
    put(header, "\"__metadata__\":{", 16);
    for (size_t i = 0; i < 2 * count; i++) {
        if (!metadata[i])
            return gmm_fail(GMM_ERR_NULL, "%s: metadata[%zu] is NULL", path, i);
        gmm_status status = check_utf8(path, "metadata string", i, metadata[i]);
        if (status != GMM_OK)
            return status;
        if (i > 0)
            put(header, i % 2 ? ":" : ",", 1);
        put_string(header, metadata[i]);
    }
    put(header, "}", 1);
    return GMM_OK;
}

static gmm_status put_tensor(const char *path, size_t i, const gmm_tensor *tensor, text_buffer *header, int64_t *end)
{
    int64_t begin = *end, size_bytes;
    const char *dtype = gmm_dtype_name(tensor->dtype);

    gmm_status status = check_tensor(path, i, tensor, &size_bytes);
    if (status != GMM_OK)
        return status;
    if (gmm_add_overflows(begin, size_bytes, end))
        return gmm_fail(GMM_ERR_SIZE, "%s: its tensors have more than 2^63 bytes", path);
    put_string(header, tensor->name);
    put(header, ":{\"dtype\":\"", 11);
    put(header, dtype, strlen(dtype));
    put(header, "\",\"shape\":[", 11);
    for (int32_t d = 0; d < tensor->ndim; d++)
        put_format(header, "%s%" PRId64, d ? "," : "", tensor->shape[d]);
    put_format(header, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", begin, *end);
    return GMM_OK;
}

/* The header's text, padded with spaces so that the data begins at a multiple of 8. */
static gmm_status put_header(const char *path, const gmm_tensor *tensors, size_t count, const char *const *metadata,
                             size_t metadata_count, text_buffer *header, int64_t *data_bytes)
{
    gmm_status status = GMM_OK;

    *data_bytes = 0;
    put(header, "{", 1);
    if (metadata_count > 0)
        status = put_metadata(path, metadata, metadata_count, header);
    for (size_t i = 0; i < count && status == GMM_OK && !header->failed; i++) {
        if (i > 0 || metadata_count > 0)
            put(header, ",", 1);
        status = put_tensor(path, i, &tensors[i], header, data_bytes);
    }
    put(header, "}", 1);
    while (header->used % 8 && !header->failed)
        put(header, " ", 1);
    if (status != GMM_OK)
        return status;
    if (header->failed)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for its header", path);
    if (header->used > GMM_SAFETENSORS_MAX_HEADER_BYTES)
        return gmm_fail(GMM_ERR_SIZE, "%s: a header of %zu bytes; the format allows %d", path, header->used,
                        GMM_SAFETENSORS_MAX_HEADER_BYTES);
    return GMM_OK;
}

static gmm_status check_names(const char *path, const gmm_tensor *tensors, size_t count, const char *const *metadata,
                              size_t metadata_count)
{
    size_t most = count > metadata_count ? count : metadata_count;
    const char **names = calloc(most ? most : 1, sizeof *names);

    if (!names)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for %zu names", path, most);
    for (size_t i = 0; i < count; i++)
        names[i] = tensors[i].name;
    gmm_status status = check_distinct(path, "tensors", names, count);
    for (size_t i = 0; i < metadata_count; i++)
        names[i] = metadata[2 * i];
    if (status == GMM_OK)
        status = check_distinct(path, "metadata entries", names, metadata_count);
    free((void *)names);
    return status;
}

static void free_writer(gmm_safetensors_writer *writer)
{
    free(writer->path);
    free(writer);
}

static gmm_status begin_file(const char *path, const text_buffer *header, gmm_safetensors_writer *writer)
{
    uint64_t header_bytes = header->used;

    writer->path = strdup(path);
    if (!writer->path)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for its name", path);
    gmm_status status = gmm_new_file_open(path, &writer->file);
    if (status != GMM_OK)
        return status;
    status = gmm_new_file_write(writer->file, &header_bytes, sizeof header_bytes);
    if (status == GMM_OK)
        status = gmm_new_file_write(writer->file, header->text, header->used);
    if (status != GMM_OK)
        gmm_new_file_abandon(writer->file);
    return status;
}

gmm_status gmm_safetensors_create(const char *path, const gmm_tensor *tensors, size_t count,
                                  const char *const *metadata, size_t metadata_count, gmm_safetensors_writer **writer)
{
    text_buffer header = {0};
    int64_t data_bytes;

    if (!path || !writer || (!tensors && count > 0) || (!metadata && metadata_count > 0))
        return gmm_fail(GMM_ERR_NULL, "%s is NULL",
                        !path               ? "path"
                        : !writer           ? "writer"
                        : !tensors && count ? "tensors"
                                            : "metadata");
    gmm_safetensors_writer *made = calloc(1, sizeof *made);
    if (!made)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for %zu bytes", path, sizeof *made);
    gmm_status status = put_header(path, tensors, count, metadata, metadata_count, &header, &data_bytes);
    if (status == GMM_OK)
        status = check_names(path, tensors, count, metadata, metadata_count);
    if (status == GMM_OK)
        status = begin_file(path, &header, made);
    free(header.text);
    if (status != GMM_OK) {
        free_writer(made);
        return status;
    }
    made->announced = data_bytes;
    *writer = made;
    return GMM_OK;
}

gmm_status gmm_safetensors_append(gmm_safetensors_writer *writer, const void *data, size_t size_bytes)
{
    if (!writer || (!data && size_bytes > 0))
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", writer ? "data" : "writer");
    if (size_bytes > (uint64_t)(writer->announced - writer->written))
        return gmm_fail(GMM_ERR_SIZE, "%s: %zu more bytes after %" PRId64 "; its tensors take %" PRId64, writer->path,
                        size_bytes, writer->written, writer->announced);
    gmm_status status = gmm_new_file_write(writer->file, data, size_bytes);
    if (status == GMM_OK)
        writer->written += (int64_t)size_bytes;
    else
        writer->failed = true;
    return status;
}

gmm_status gmm_safetensors_finish(gmm_safetensors_writer *writer)
{
    gmm_status status;

    if (!writer)
        return gmm_fail(GMM_ERR_NULL, "writer is NULL");
    if (writer->failed || writer->written == writer->announced) {
        status = gmm_new_file_finish(writer->file);
    } else {
        status = gmm_fail(GMM_ERR_SIZE, "%s: %" PRId64 " bytes of data; its tensors take %" PRId64, writer->path,
                          writer->written, writer->announced);
        gmm_new_file_abandon(writer->file);
    }
    free_writer(writer);
    return status;
}

void gmm_safetensors_abandon(gmm_safetensors_writer *writer)
{
    if (!writer)
        return;
    gmm_new_file_abandon(writer->file);
    free_writer(writer);
}
