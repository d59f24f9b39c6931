/* gguf.c - see gguf.h. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md describes the format. */
/* SPDX-License-Identifier: MIT */
#include "io/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "io/file_check.h"
#include "io/io_file.h"

#define DEFAULT_ALIGNMENT 32

/* The largest that is of any use: a page of the largest kind. */
#define MAX_ALIGNMENT ((int64_t)1 << 30)

/* Longer than those of any model. */
#define MAX_NAME_BYTES 65535

/* Arrays of arrays of ...; no key that is known has even two. */
#define MAX_DEPTH 4

#define MAX_DIMENSIONS 4

struct gmm_gguf {
    gmm_mapping mapping;
    gmm_gguf_value *values;
    size_t value_count, value_room;
    gmm_gguf_tensor *tensors;
    size_t tensor_count, tensor_room;
};

static const gmm_gguf_type types[] = {
#define TYPE(number, name, elements, bytes, dtype) {number, name, elements, bytes, (gmm_dtype)(dtype)},
#include "io/gguf_type_list.h"
#undef TYPE
};

/* ---- reading ---- */

typedef struct cursor {
    const char *path;
    const unsigned char *bytes;
    size_t size, at;
} cursor;

static gmm_status too_short(const cursor *c, const char *what)
{
    return gmm_malformed(c->path, "%s: it goes on past the end of the file, byte %zu", what, c->size);
}

/* Move past `size` bytes; NULL if there are fewer. */
static const unsigned char *take(cursor *c, uint64_t size)
{
    if (size > c->size - c->at)
        return NULL;
    c->at += (size_t)size;
    return c->bytes + (c->at - (size_t)size);
}

static bool take_u32(cursor *c, uint32_t *value)
{
    const unsigned char *bytes = take(c, sizeof *value);

    if (bytes)
        memcpy(value, bytes, sizeof *value);
    return bytes != NULL;
}

static bool take_u64(cursor *c, uint64_t *value)
{
    const unsigned char *bytes = take(c, sizeof *value);

    if (bytes)
        memcpy(value, bytes, sizeof *value);
    return bytes != NULL;
}

static bool take_text(cursor *c, const char **text, size_t *length)
{
    uint64_t size;

    if (!take_u64(c, &size))
        return false;
    *text = (const char *)take(c, size);
    *length = (size_t)size;
    return *text != NULL;
}

/* A name in memory of its own. */
static gmm_status take_name(cursor *c, const char *what, size_t number, char **name)
{
    const char *text;
    size_t length;
    char place[64];

    snprintf(place, sizeof place, "the name of %s %zu", what, number);
    if (!take_text(c, &text, &length))
        return too_short(c, place);
    if (length == 0 || length > MAX_NAME_BYTES || memchr(text, 0, length))
        return gmm_malformed(c->path, "%s: %zu bytes, or a 0 among them; it must have 1 to %d, all of them others",
                             place, length, MAX_NAME_BYTES);
    *name = malloc(length + 1);
    if (!*name)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for %s", c->path, place);
    memcpy(*name, text, length);
    (*name)[length] = '\0';
    return GMM_OK;
}

/* ---- metadata ---- */

/* What a file's type of a value is; 0 bytes: text or an array. */
static const struct {
    gmm_gguf_kind kind;
    int bytes;
    bool is_signed;
} value_types[] = {
    {GMM_GGUF_INTEGER, 1, false}, {GMM_GGUF_INTEGER, 1, true},  {GMM_GGUF_INTEGER, 2, false},
    {GMM_GGUF_INTEGER, 2, true},  {GMM_GGUF_INTEGER, 4, false}, {GMM_GGUF_INTEGER, 4, true},
    {GMM_GGUF_REAL, 4, true},     {GMM_GGUF_FLAG, 1, false},    {GMM_GGUF_TEXT, 0, false},
    {GMM_GGUF_ARRAY, 0, false},   {GMM_GGUF_INTEGER, 8, false}, {GMM_GGUF_INTEGER, 8, true},
    {GMM_GGUF_REAL, 8, true},
};

static gmm_status check_value_type(const cursor *c, const char *key, uint32_t type)
{
    if (type < sizeof value_types / sizeof value_types[0])
        return GMM_OK;
    return gmm_malformed(c->path, "metadata " GMM_QUOTED ": type %" PRIu32 " is not known", key, type);
}

static gmm_status no_end(const cursor *c, const char *key)
{
    char what[256];

    snprintf(what, sizeof what, "metadata " GMM_QUOTED, key);
    return too_short(c, what);
}

static gmm_status skip_array(cursor *c, const char *key, int depth)
{
    uint32_t type;
    uint64_t count;
    const char *text;
    size_t length;

    if (depth > MAX_DEPTH)
        return gmm_malformed(c->path, "metadata " GMM_QUOTED ": arrays nested more than %d deep", key, MAX_DEPTH);
    if (!take_u32(c, &type) || !take_u64(c, &count))
        return no_end(c, key);
    gmm_status status = check_value_type(c, key, type);
    if (status != GMM_OK)
        return status;
    uint64_t bytes = (uint64_t)value_types[type].bytes;
    if (bytes > 0)
        return count <= c->size / bytes && take(c, count * bytes) ? GMM_OK : no_end(c, key);
    for (uint64_t i = 0; i < count && status == GMM_OK; i++) /* each takes bytes, or is the last */
        if (value_types[type].kind == GMM_GGUF_ARRAY)
            status = skip_array(c, key, depth + 1);
        else if (!take_text(c, &text, &length))
            status = no_end(c, key);
    return status;
}

static void convert(const unsigned char *bytes, uint32_t type, gmm_gguf_value *value)
{
    int size = value_types[type].bytes;
    uint64_t bits = 0;
    float single;

    memcpy(&bits, bytes, (size_t)size);
    if (value->kind == GMM_GGUF_REAL && size == 4) {
        memcpy(&single, bytes, sizeof single);
        value->real = single;
    } else if (value->kind == GMM_GGUF_REAL) {
        memcpy(&value->real, bytes, sizeof value->real);
    } else if (!value_types[type].is_signed && bits > INT64_MAX) {
        value->kind = GMM_GGUF_REAL;
        value->real = (double)bits;
    } else {
        if (value_types[type].is_signed && size < 8 && bits >> (8 * size - 1))
            bits |= UINT64_MAX << (8 * size);
        memcpy(&value->integer, &bits, sizeof value->integer);
    }
}

static gmm_status read_value(cursor *c, gmm_gguf_value *value)
{
    uint32_t type;

    if (!take_u32(c, &type))
        return no_end(c, value->key);
    gmm_status status = check_value_type(c, value->key, type);
    if (status != GMM_OK)
        return status;
    value->kind = value_types[type].kind;
    if (value->kind == GMM_GGUF_ARRAY)
        return skip_array(c, value->key, 1);
    if (value->kind == GMM_GGUF_TEXT)
        return take_text(c, &value->text, &value->length) ? GMM_OK : no_end(c, value->key);
    const unsigned char *bytes = take(c, (uint64_t)value_types[type].bytes);
    if (!bytes)
        return no_end(c, value->key);
    if (value->kind == GMM_GGUF_FLAG && *bytes > 1)
        return gmm_malformed(c->path, "metadata " GMM_QUOTED ": %d is neither true nor false", value->key, *bytes);
    convert(bytes, type, value);
    return GMM_OK;
}

/* Room for one more element, zero; NULL without memory. Counts in files are not believed: lists grow as they are read.
 */
static void *grow(void **list, size_t *count, size_t *room, size_t element_bytes)
{
    if (*count == *room) {
        size_t more = *room ? 2 * *room : 64;
        void *grown = more <= SIZE_MAX / element_bytes ? realloc(*list, more * element_bytes) : NULL;
        if (!grown)
            return NULL;
        *list = grown;
        *room = more;
    }
    void *place = (char *)*list + *count * element_bytes;
    memset(place, 0, element_bytes);
    ++*count;
    return place;
}

static gmm_status read_values(cursor *c, gmm_gguf *file, uint64_t count)
{
    gmm_status status = GMM_OK;

    for (uint64_t i = 0; i < count && status == GMM_OK; i++) {
        gmm_gguf_value *value =
            grow((void **)&file->values, &file->value_count, &file->value_room, sizeof *file->values);
        if (!value)
            return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for %" PRIu64 " entries of metadata", c->path, count);
        status = take_name(c, "metadata entry", (size_t)i, &value->key);
        if (status == GMM_OK)
            status = read_value(c, value);
    }
    return status;
}

/* ---- tensors ---- */

static const gmm_gguf_type *type_numbered(uint32_t number)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].number == number)
            return &types[i];
    return NULL;
}

static gmm_status read_shape(cursor *c, gmm_gguf_tensor *t, char *what)
{
    uint64_t size;
    uint32_t ndim;

    if (!take_u32(c, &ndim))
        return too_short(c, what);
    if (ndim > MAX_DIMENSIONS)
        return gmm_malformed(c->path, "%s: rank %" PRIu32 "; at most %d is possible", what, ndim, MAX_DIMENSIONS);
    t->tensor.ndim = (int32_t)ndim;
    for (uint32_t d = 0; d < ndim; d++) {
        if (!take_u64(c, &size))
            return too_short(c, what);
        if (size == 0 || size > INT64_MAX)
            return gmm_malformed(c->path, "%s: size %" PRIu32 " is %" PRIu64, what, d, size);
        t->shape[ndim - 1 - d] = (int64_t)size;
    }
    return GMM_OK;
}

static gmm_status read_type(cursor *c, gmm_gguf_tensor *t, const char *what)
{
    int64_t blocks = 1;
    uint32_t number;
    bool overflow = false;

    if (!take_u32(c, &number))
        return too_short(c, what);
    t->type = type_numbered(number);
    if (!t->type)
        return gmm_malformed(c->path, "%s: type %" PRIu32 " is not known", what, number);
    t->tensor.dtype = t->type->dtype;
    int64_t last = t->tensor.ndim > 0 ? t->shape[t->tensor.ndim - 1] : 1;
    if (last % t->type->block_elements != 0)
        return gmm_malformed(c->path, "%s: rows of %" PRId64 " elements are no whole blocks of %" PRId32 " (%s)", what,
                             last, t->type->block_elements, t->type->name);
    for (int32_t d = 0; d < t->tensor.ndim; d++)
        overflow |=
            gmm_mul_overflows(blocks, d == t->tensor.ndim - 1 ? last / t->type->block_elements : t->shape[d], &blocks);
    int64_t elements, bytes;
    if (overflow || gmm_mul_overflows(blocks, t->type->block_elements, &elements) ||
        gmm_mul_overflows(blocks, t->type->block_bytes, &bytes))
        return gmm_malformed(c->path, "%s: its shape has more than 2^63 elements or bytes", what);
    t->tensor.size_bytes = (size_t)bytes;
    return GMM_OK;
}

/* *end: where the data of the tensors before it end, from the beginning of all data on; and then where its own do. */
static gmm_status read_tensor(cursor *c, gmm_gguf_tensor *t, size_t number, int64_t alignment, uint64_t *end)
{
    uint64_t offset, begin;
    char *name, what[256];

    gmm_status status = take_name(c, "tensor", number, &name);
    if (status != GMM_OK)
        return status;
    t->tensor.name = name;
    snprintf(what, sizeof what, "tensor " GMM_QUOTED, name);
    if ((status = read_shape(c, t, what)) != GMM_OK || (status = read_type(c, t, what)) != GMM_OK)
        return status;
    if (!take_u64(c, &offset))
        return too_short(c, what);
    begin = (*end + (uint64_t)alignment - 1) / (uint64_t)alignment * (uint64_t)alignment;
    if (offset != begin)
        return gmm_malformed(c->path, "%s: its data begin at %" PRIu64 "; after the tensor before it that is %" PRIu64,
                             what, offset, begin);
    *end = begin + t->tensor.size_bytes;
    if (*end > c->size) /* so that sums of them stay in 64 bits */
        return gmm_malformed(c->path, "%s: its data end at byte %" PRIu64 " of the data; the file has %zu bytes", what,
                             *end, c->size);
    t->tensor.data = (const void *)(uintptr_t)begin; /* until the beginning of the data is known */
    return GMM_OK;
}

static gmm_status find_alignment(const char *path, const gmm_gguf *file, int64_t *alignment)
{
    const gmm_gguf_value *value = gmm_gguf_find(file, "general.alignment");

    *alignment = DEFAULT_ALIGNMENT;
    if (!value)
        return GMM_OK;
    if (value->kind != GMM_GGUF_INTEGER || value->integer < 1 || value->integer > MAX_ALIGNMENT ||
        (value->integer & (value->integer - 1)) != 0)
        return gmm_malformed(path, "general.alignment is %" PRId64 "; it must be a power of two up to %" PRId64,
                             value->integer, MAX_ALIGNMENT);
    *alignment = value->integer;
    return GMM_OK;
}

static gmm_status read_tensors(cursor *c, gmm_gguf *file, uint64_t count)
{
    int64_t alignment;
    uint64_t end = 0;

    gmm_status status = find_alignment(c->path, file, &alignment);
    for (uint64_t i = 0; i < count && status == GMM_OK; i++) {
        gmm_gguf_tensor *t =
            grow((void **)&file->tensors, &file->tensor_count, &file->tensor_room, sizeof *file->tensors);
        if (!t)
            return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for %" PRIu64 " tensors", c->path, count);
        status = read_tensor(c, t, (size_t)i, alignment, &end);
    }
    if (status != GMM_OK)
        return status;
    uint64_t data = ((uint64_t)c->at + (uint64_t)alignment - 1) / (uint64_t)alignment * (uint64_t)alignment;
    if (count > 0 && (data > c->size || end > c->size - data))
        return gmm_malformed(c->path, "%zu bytes, of which %" PRIu64 " of data begin at byte %" PRIu64, c->size, end,
                             data);
    for (size_t i = 0; i < file->tensor_count; i++) {
        gmm_tensor *t = &file->tensors[i].tensor;
        t->shape = t->ndim ? file->tensors[i].shape : NULL;
        t->data = c->bytes + data + (uintptr_t)t->data;
    }
    return GMM_OK;
}

/* ---- the file ---- */

static gmm_status read_file(const char *path, gmm_gguf *file)
{
    cursor c = {path, file->mapping.bytes, file->mapping.size, 0};
    const unsigned char *magic = take(&c, 4);
    uint32_t version;
    uint64_t tensors, values;

    if (!magic || memcmp(magic, "GGUF", 4) != 0)
        return gmm_malformed(path, "it does not begin with \"GGUF\"");
    if (!take_u32(&c, &version))
        return too_short(&c, "the version");
    if (version > 0 && (version & 0xFFFFFF) == 0)
        return gmm_malformed(path, "version %" PRIu32 ": a big-endian file, which is not supported", version >> 24);
    if (version != 2 && version != 3)
        return gmm_malformed(path, "version %" PRIu32 "; 2 and 3 are supported", version);
    if (!take_u64(&c, &tensors) || !take_u64(&c, &values))
        return too_short(&c, "the numbers of tensors and entries");
    gmm_status status = read_values(&c, file, values);
    return status == GMM_OK ? read_tensors(&c, file, tensors) : status;
}

gmm_status gmm_gguf_open(const char *path, gmm_gguf **file)
{
    gmm_gguf *opened = calloc(1, sizeof *opened);

    if (!opened)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for %zu bytes", path, sizeof *opened);
    gmm_status status = gmm_mapping_open(path, &opened->mapping);
    if (status == GMM_OK)
        status = read_file(path, opened);
    if (status != GMM_OK) {
        gmm_gguf_close(opened);
        return status;
    }
    *file = opened;
    return GMM_OK;
}

void gmm_gguf_close(gmm_gguf *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->value_count; i++)
        free(file->values[i].key);
    for (size_t i = 0; i < file->tensor_count; i++)
        free((void *)(uintptr_t)file->tensors[i].tensor.name);
    free(file->values);
    free(file->tensors);
    gmm_mapping_close(&file->mapping);
    free(file);
}

const gmm_gguf_value *gmm_gguf_value_at(const gmm_gguf *file, size_t i)
{
    return i < file->value_count ? &file->values[i] : NULL;
}

const gmm_gguf_tensor *gmm_gguf_tensor_at(const gmm_gguf *file, size_t i)
{
    return i < file->tensor_count ? &file->tensors[i] : NULL;
}

const gmm_gguf_value *gmm_gguf_find(const gmm_gguf *file, const char *key)
{
    for (size_t i = 0; i < file->value_count; i++)
        if (strcmp(file->values[i].key, key) == 0)
            return &file->values[i];
    return NULL;
}
