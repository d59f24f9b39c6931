/* safetensors.c - reading safetensors files: 8 bytes of header size, the header, the data of all tensors end to end. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "gathermm/io.h"
#include "io/file_check.h"
#include "io/io_file.h"
#include "io/safetensors_header.h"

#define SIZE_FIELD_BYTES 8

struct gmm_safetensors {
    gmm_mapping mapping;
    gmm_header header;          /* owns names, shapes and metadata */
    gmm_tensor *tensors;        /* in the order of their data */
    const gmm_tensor **by_name; /* the same, sorted by name */
};

static int by_offset(const void *left, const void *right)
{
    const gmm_tensor_record *a = left, *b = right;

    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end) /* empty tensors first */
        return a->end < b->end ? -1 : 1;
    return a->name < b->name ? -1 : a->name > b->name;
}

static int by_name(const void *left, const void *right)
{
    const gmm_tensor *const *a = left, *const *b = right;

    return strcmp((*a)->name, (*b)->name);
}

static int name_against(const void *name, const void *tensor)
{
    const gmm_tensor *const *t = tensor;

    return strcmp(name, (*t)->name);
}

static int by_text(const void *left, const void *right)
{
    const char *const *a = left, *const *b = right;

    return strcmp(*a, *b);
}

static const char *text_at(const gmm_safetensors *file, size_t at)
{
    return (const char *)file->header.text.data + at;
}

/* The tensors must tile the data: no overlap, no gap, nothing after the last. Sorts them. */
static gmm_status check_layout(const char *path, gmm_safetensors *file, int64_t data_bytes)
{
    gmm_tensor_record *records = file->header.records.data;
    size_t count = file->header.records.used;
    int64_t end = 0;

    if (count > 0)
        qsort(records, count, sizeof *records, by_offset);
    for (size_t i = 0; i < count; i++) {
        const char *name = text_at(file, records[i].name);
        if (records[i].begin > end)
            return gmm_malformed(
                path, "bytes %" PRId64 " to %" PRId64 " of the data, before tensor " GMM_QUOTED ", belong to no tensor",
                end, records[i].begin, name);
        if (records[i].begin < end)
            return gmm_malformed(path,
                                 "tensor " GMM_QUOTED ": data_offsets [%" PRId64 ", %" PRId64 "] overlap [%" PRId64
                                 ", %" PRId64 "] of tensor " GMM_QUOTED,
                                 name, records[i].begin, records[i].end, records[i - 1].begin, records[i - 1].end,
                                 text_at(file, records[i - 1].name));
        end = records[i].end;
    }
    if (end != data_bytes)
        return gmm_malformed(path, "%" PRId64 " bytes of data, but the tensors end at %" PRId64, data_bytes, end);
    return GMM_OK;
}

static gmm_status index_tensors(const char *path, gmm_safetensors *file, const unsigned char *data)
{
    const gmm_tensor_record *records = file->header.records.data;
    size_t count = file->header.records.used;

    if (count == 0)
        return GMM_OK;
    file->tensors = malloc(count * sizeof *file->tensors);
    file->by_name = malloc(count * sizeof *file->by_name);
    if (!file->tensors || !file->by_name)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for an index of %zu tensors", path, count);
    for (size_t i = 0; i < count; i++) {
        const gmm_tensor_record *r = &records[i];
        file->tensors[i] = (gmm_tensor){
            .name = text_at(file, r->name),
            .dtype = r->dtype,
            .ndim = r->ndim,
            .shape = r->ndim ? (const int64_t *)file->header.shapes.data + r->shape : NULL,
            .data = data + r->begin,
            .size_bytes = (size_t)(r->end - r->begin),
        };
        file->by_name[i] = &file->tensors[i];
    }
    qsort(file->by_name, count, sizeof *file->by_name, by_name);
    for (size_t i = 1; i < count; i++)
        if (by_name(&file->by_name[i - 1], &file->by_name[i]) == 0)
            return gmm_malformed(path, "tensor " GMM_QUOTED " appears twice", file->by_name[i]->name);
    return GMM_OK;
}

static gmm_status check_metadata(const char *path, const gmm_safetensors *file)
{
    const size_t *pairs = file->header.metadata.data;
    size_t count = file->header.metadata.used / 2;

    if (count < 2)
        return GMM_OK;
    const char **keys = malloc(count * sizeof *keys);
    if (!keys)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for an index of %zu metadata entries", path, count);
    for (size_t i = 0; i < count; i++)
        keys[i] = text_at(file, pairs[2 * i]);
    qsort(keys, count, sizeof *keys, by_text);
    gmm_status status = GMM_OK;
    for (size_t i = 1; i < count && status == GMM_OK; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            status = gmm_malformed(path, "__metadata__ " GMM_QUOTED " appears twice", keys[i]);
    free(keys);
    return status;
}

static gmm_status read_header(const char *path, gmm_safetensors *file)
{
    const gmm_mapping *mapping = &file->mapping;
    uint64_t header_bytes = 0;

    if (mapping->size < SIZE_FIELD_BYTES)
        return gmm_malformed(path, "%zu bytes; the size of the header alone takes %d", mapping->size, SIZE_FIELD_BYTES);
    memcpy(&header_bytes, mapping->bytes, SIZE_FIELD_BYTES);
    size_t rest = mapping->size - SIZE_FIELD_BYTES;
    if (memcmp(mapping->bytes, "GGUF", 4) == 0)
        return gmm_malformed(path, "this is a GGUF file, not a safetensors file");
    if (header_bytes > GMM_SAFETENSORS_MAX_HEADER_BYTES)
        return gmm_malformed(path, "a header of %" PRIu64 " bytes; at most %d are allowed", header_bytes,
                             GMM_SAFETENSORS_MAX_HEADER_BYTES);
    if (header_bytes > rest)
        return gmm_malformed(path, "a header of %" PRIu64 " bytes; the file has %zu after its size", header_bytes,
                             rest);

    const char *header = (const char *)mapping->bytes + SIZE_FIELD_BYTES;
    int64_t data_bytes = (int64_t)(rest - header_bytes);
    gmm_status status = gmm_header_parse(path, header, (size_t)header_bytes, data_bytes, &file->header);
    if (status == GMM_OK)
        status = check_layout(path, file, data_bytes);
    if (status == GMM_OK)
        status = index_tensors(path, file, mapping->bytes + SIZE_FIELD_BYTES + header_bytes);
    if (status == GMM_OK)
        status = check_metadata(path, file);
    return status;
}

gmm_status gmm_safetensors_open(const char *path, gmm_safetensors **file)
{
    if (!path || !file)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", path ? "file" : "path");
    gmm_safetensors *opened = calloc(1, sizeof *opened);
    if (!opened)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for %zu bytes", path, sizeof *opened);
    gmm_status status = gmm_mapping_open(path, &opened->mapping);
    if (status == GMM_OK)
        status = read_header(path, opened);
    if (status != GMM_OK) {
        gmm_safetensors_close(opened);
        return status;
    }
    *file = opened;
    return GMM_OK;
}

void gmm_safetensors_close(gmm_safetensors *file)
{
    if (!file)
        return;
    gmm_mapping_close(&file->mapping);
    gmm_header_free(&file->header);
    free(file->tensors);
    free(file->by_name);
    free(file);
}

size_t gmm_safetensors_count(const gmm_safetensors *file)
{
    return file ? file->header.records.used : 0;
}

bool gmm_safetensors_at(const gmm_safetensors *file, size_t i, gmm_tensor *tensor)
{
    if (i >= gmm_safetensors_count(file))
        return false;
    *tensor = file->tensors[i];
    return true;
}

bool gmm_safetensors_find(const gmm_safetensors *file, const char *name, gmm_tensor *tensor)
{
    size_t count = gmm_safetensors_count(file);

    if (count == 0 || !name)
        return false;
    const gmm_tensor *const *found = bsearch(name, file->by_name, count, sizeof *file->by_name, name_against);
    if (!found)
        return false;
    *tensor = **found;
    return true;
}

bool gmm_safetensors_metadata_at(const gmm_safetensors *file, size_t i, const char **key, const char **value)
{
    if (!file || i >= file->header.metadata.used / 2)
        return false;
    const size_t *pairs = file->header.metadata.data;
    *key = text_at(file, pairs[2 * i]);
    *value = text_at(file, pairs[2 * i + 1]);
    return true;
}

void gmm_tensor_array(const gmm_tensor *tensor, gmm_array *array)
{
    *array = (gmm_array){
        .data = (void *)(uintptr_t)tensor->data,
        .dtype = tensor->dtype,
        .ndim = tensor->ndim,
        .shape = tensor->shape,
    };
}
