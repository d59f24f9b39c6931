/* safetensors_header.c - see safetensors_header.h. */
/* SPDX-License-Identifier: MIT */
#include "io/safetensors_header.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "io/file_check.h"

/* A tensor's entry is about 100 bytes; 64 sizes of 19 digits make it 1400. */
#define MAX_ENTRY_BYTES 65536

/* Deeper than any legal header; what is in a value is jansson's to judge, within this. */
#define MAX_DEPTH 8

/* The header is cut into members here and only single strings and entries are given to jansson: as one document, 100 MB
 * of "0,0,0,..." would become 2.5 GB of JSON values. */
typedef struct cursor {
    const char *text;
    size_t size, at;
} cursor;

typedef struct parser {
    const char *path;
    int64_t data_bytes;
    gmm_header *header;
    bool has_metadata;
} parser;

typedef gmm_status member_handler(parser *p, const char *key, cursor value);

static gmm_status no_memory(const parser *p)
{
    return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for its header", p->path);
}

/* ---- pools ---- */

/* Room for `count` more elements, which count as used; NULL without memory. */
static void *append(gmm_pool *pool, size_t count)
{
    if (count > pool->capacity - pool->used) {
        size_t capacity = pool->capacity ? pool->capacity : 16;
        while (capacity < pool->used + count) /* cannot overflow: a header of 100 MB needs fewer than 2^27 elements */
            capacity *= 2;
        void *data = realloc(pool->data, capacity * pool->element_bytes);
        if (!data)
            return NULL;
        pool->data = data;
        pool->capacity = capacity;
    }
    void *place = (char *)pool->data + pool->used * pool->element_bytes;
    pool->used += count;
    return place;
}

static bool append_string(gmm_pool *text, const char *string, size_t *at)
{
    size_t size = strlen(string) + 1;

    *at = text->used;
    char *place = append(text, size);
    if (place)
        memcpy(place, string, size);
    return place != NULL;
}

void gmm_header_free(gmm_header *header)
{
    free(header->text.data);
    free(header->shapes.data);
    free(header->records.data);
    free(header->metadata.data);
}

/* ---- cutting ---- */

static void skip_space(cursor *c)
{
    while (c->at < c->size && memchr(" \t\n\r", c->text[c->at], 4))
        c->at++;
}

static bool next_is(cursor *c, char wanted)
{
    skip_space(c);
    if (c->at == c->size || c->text[c->at] != wanted)
        return false;
    c->at++;
    return true;
}

/* Move past a string whose opening quote has been read. */
static bool skip_string(cursor *c)
{
    while (c->at < c->size) {
        char character = c->text[c->at++];
        if (character == '"')
            return true;
        if (character == '\\' && c->at < c->size)
            c->at++;
    }
    return false;
}

/* Cut out a value: all up to the next comma or closing bracket that is not within it. False if it nests too deeply or
 * has no end. */
static bool cut_value(cursor *c, cursor *value)
{
    size_t begin = c->at;
    int depth = 0;

    while (c->at < c->size) {
        char character = c->text[c->at];
        if (depth == 0 && (character == ',' || character == '}' || character == ']')) {
            *value = (cursor){c->text + begin, c->at - begin, 0};
            return true;
        }
        c->at++;
        if (character == '"' && !skip_string(c))
            return false;
        depth += (character == '{' || character == '[') - (character == '}' || character == ']');
        if (depth > MAX_DEPTH)
            return false;
    }
    return false;
}

/* The string at the cursor, decoded by jansson, which refuses what is not JSON, not UTF-8, or contains NUL. */
static gmm_status decode(const parser *p, const char *what, cursor text, json_t **value)
{
    json_error_t error;

    *value = json_loadb(text.text, text.size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    if (*value)
        return GMM_OK;
    if (json_error_code(&error) == json_error_out_of_memory || !error.text[0])
        return no_memory(p);
    return gmm_malformed(p->path, "%s: %s", what, error.text);
}

static gmm_status cut_member(parser *p, const char *what, cursor *c, member_handler *handle)
{
    json_t *key;
    cursor value;

    skip_space(c);
    size_t begin = c->at;
    if (!next_is(c, '"') || !skip_string(c))
        return gmm_malformed(p->path, "%s: a name in quotes is missing at byte %zu", what, begin);
    gmm_status status = decode(p, what, (cursor){c->text + begin, c->at - begin, 0}, &key);
    if (status != GMM_OK)
        return status;
    if (!next_is(c, ':'))
        status = gmm_malformed(p->path, "%s: no ':' after " GMM_QUOTED, what, json_string_value(key));
    else if (!cut_value(c, &value))
        status = gmm_malformed(p->path, "%s: " GMM_QUOTED ": a value without an end, or nested more than %d deep", what,
                               json_string_value(key), MAX_DEPTH);
    else
        status = handle(p, json_string_value(key), value);
    json_decref(key);
    return status;
}

/* Give each member of the object that is the whole of the text to a handler. */
static gmm_status each_member(parser *p, const char *what, cursor c, member_handler *handle)
{
    if (!next_is(&c, '{'))
        return gmm_malformed(p->path, "%s is not a JSON object", what);
    if (!next_is(&c, '}')) {
        do {
            gmm_status status = cut_member(p, what, &c, handle);
            if (status != GMM_OK)
                return status;
        } while (next_is(&c, ','));
        if (!next_is(&c, '}'))
            return gmm_malformed(p->path, "%s: ',' or '}' is missing at byte %zu", what, c.at);
    }
    skip_space(&c);
    if (c.at < c.size)
        return gmm_malformed(p->path, "%s: %zu bytes after its end", what, c.size - c.at);
    return GMM_OK;
}

/* ---- a tensor's entry ---- */

static gmm_dtype dtype_named(const char *name)
{
    for (int i = 1; i <= GMM_F4; i++) {
        const char *known = gmm_dtype_name((gmm_dtype)i);
        if (known && strcmp(known, name) == 0)
            return (gmm_dtype)i;
    }
    return (gmm_dtype)0;
}

static gmm_status read_dtype(const parser *p, const char *name, const json_t *value, gmm_tensor_record *record)
{
    if (!json_is_string(value))
        return gmm_malformed(p->path, "tensor " GMM_QUOTED ": dtype is not a string", name);
    record->dtype = dtype_named(json_string_value(value));
    if (!record->dtype)
        return gmm_malformed(p->path, "tensor " GMM_QUOTED ": unknown dtype " GMM_QUOTED, name,
                             json_string_value(value));
    return GMM_OK;
}

static gmm_status read_shape(const parser *p, const char *name, const json_t *value, gmm_tensor_record *record)
{
    size_t ndim = json_array_size(value); /* 0 if it is no array */

    if (!json_is_array(value))
        return gmm_malformed(p->path, "tensor " GMM_QUOTED ": shape is not an array", name);
    if (ndim > GMM_MAX_NDIM)
        return gmm_malformed(p->path, "tensor " GMM_QUOTED ": rank %zu; at most %d is supported", name, ndim,
                             GMM_MAX_NDIM);
    record->ndim = (int32_t)ndim;
    record->shape = p->header->shapes.used;
    int64_t *shape = ndim ? append(&p->header->shapes, ndim) : NULL;
    if (!shape && ndim > 0)
        return no_memory(p);
    for (size_t d = 0; d < ndim; d++) {
        const json_t *size = json_array_get(value, d);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return gmm_malformed(p->path, "tensor " GMM_QUOTED ": shape[%zu] is not an integer of 0 or more", name, d);
        shape[d] = json_integer_value(size);
    }
    return GMM_OK;
}

static gmm_status read_offsets(const parser *p, const char *name, const json_t *value, gmm_tensor_record *record)
{
    const json_t *begin = json_array_get(value, 0), *end = json_array_get(value, 1);

    if (!json_is_array(value) || json_array_size(value) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return gmm_malformed(p->path, "tensor " GMM_QUOTED ": data_offsets are not two integers", name);
    record->begin = json_integer_value(begin);
    record->end = json_integer_value(end);
    if (record->begin < 0 || record->end < record->begin || record->end > p->data_bytes)
        return gmm_malformed(p->path,
                             "tensor " GMM_QUOTED ": data_offsets [%" PRId64 ", %" PRId64 "] are no part of %" PRId64
                             " bytes of data",
                             name, record->begin, record->end, p->data_bytes);
    return GMM_OK;
}

static gmm_status check_size(const parser *p, const char *name, const gmm_tensor_record *record)
{
    const int64_t *shapes = p->header->shapes.data, *shape = record->ndim ? shapes + record->shape : NULL;
    char text[GMM_MAX_NDIM * 22], what[256];
    int64_t size_bytes;

    snprintf(what, sizeof what, "tensor " GMM_QUOTED, name);
    if (gmm_tensor_bytes(what, record->dtype, record->ndim, shape, &size_bytes) != GMM_OK) {
        char detail[512];
        snprintf(detail, sizeof detail, "%s", gmm_error_detail());
        return gmm_malformed(p->path, "%s", detail);
    }
    if (size_bytes != record->end - record->begin)
        return gmm_malformed(
            p->path, "%s: %.200s %s takes %" PRId64 " bytes, but data_offsets [%" PRId64 ", %" PRId64 "] have %" PRId64,
            what, gmm_shape_text(shape, record->ndim, text, sizeof text), gmm_dtype_name(record->dtype), size_bytes,
            record->begin, record->end, record->end - record->begin);
    return GMM_OK;
}

/* An unknown field may change what the known ones mean, so it is refused. */
static gmm_status read_fields(const parser *p, const char *name, json_t *entry, gmm_tensor_record *record)
{
    static const struct {
        const char *key;
        gmm_status (*read)(const parser *p, const char *name, const json_t *value, gmm_tensor_record *record);
    } fields[] = {{"dtype", read_dtype}, {"shape", read_shape}, {"data_offsets", read_offsets}};

    if (!json_is_object(entry))
        return gmm_malformed(p->path, "tensor " GMM_QUOTED ": its entry is not a JSON object", name);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const json_t *value = json_object_get(entry, fields[i].key);
        if (!value)
            return gmm_malformed(p->path, "tensor " GMM_QUOTED ": no %s", name, fields[i].key);
        gmm_status status = fields[i].read(p, name, value, record);
        if (status != GMM_OK)
            return status;
        json_object_del(entry, fields[i].key);
    }
    if (json_object_size(entry) > 0)
        return gmm_malformed(p->path, "tensor " GMM_QUOTED ": unknown field " GMM_QUOTED, name,
                             json_object_iter_key(json_object_iter(entry)));
    return check_size(p, name, record);
}

static gmm_status add_tensor(parser *p, const char *name, cursor text)
{
    gmm_tensor_record record = {0};
    json_t *entry;
    char what[256];

    if (text.size > MAX_ENTRY_BYTES)
        return gmm_malformed(p->path, "tensor " GMM_QUOTED ": an entry of %zu bytes; at most %d are supported", name,
                             text.size, MAX_ENTRY_BYTES);
    snprintf(what, sizeof what, "tensor " GMM_QUOTED, name);
    gmm_status status = decode(p, what, text, &entry);
    if (status != GMM_OK)
        return status;
    status = read_fields(p, name, entry, &record);
    json_decref(entry);
    if (status != GMM_OK)
        return status;
    gmm_tensor_record *place = append(&p->header->records, 1);
    if (!place || !append_string(&p->header->text, name, &record.name))
        return no_memory(p);
    *place = record;
    return GMM_OK;
}

/* ---- the header ---- */

static gmm_status add_metadata(parser *p, const char *key, cursor text)
{
    json_t *value;
    char what[256];

    snprintf(what, sizeof what, "__metadata__ " GMM_QUOTED, key);
    gmm_status status = decode(p, what, text, &value);
    if (status != GMM_OK)
        return status;
    if (!json_is_string(value)) {
        status = gmm_malformed(p->path, "%s: not a string", what);
    } else {
        size_t *pair = append(&p->header->metadata, 2);
        if (!pair || !append_string(&p->header->text, key, &pair[0]) ||
            !append_string(&p->header->text, json_string_value(value), &pair[1]))
            status = no_memory(p);
    }
    json_decref(value);
    return status;
}

static gmm_status add_member(parser *p, const char *key, cursor value)
{
    if (strcmp(key, "__metadata__") != 0)
        return add_tensor(p, key, value);
    if (p->has_metadata)
        return gmm_malformed(p->path, "__metadata__ appears twice");
    p->has_metadata = true;
    return each_member(p, "__metadata__", value, add_metadata);
}

gmm_status gmm_header_parse(const char *path, const char *text, size_t size, int64_t data_bytes, gmm_header *header)
{
    parser p = {path, data_bytes, header, false};

    *header = (gmm_header){
        .text.element_bytes = 1,
        .shapes.element_bytes = sizeof(int64_t),
        .records.element_bytes = sizeof(gmm_tensor_record),
        .metadata.element_bytes = sizeof(size_t),
    };
    if (size == 0 || text[0] != '{')
        return gmm_malformed(path, "the header does not begin with '{'");
    return each_member(&p, "the header", (cursor){text, size, 0}, add_member);
}
