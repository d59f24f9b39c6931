/* npy.c - npy files: a magic string, a version, the text of a Python dictionary, the elements. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "gathermm/io.h"
#include "io/file_check.h"
#include "io/io_file.h"

#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6
#define ALIGNMENT 64 /* NumPy's, of the elements within the file */

struct gmm_npy {
    gmm_mapping mapping;
    size_t data; /* where the elements begin */
    gmm_dtype dtype;
    int32_t ndim;
    bool fortran_order;
    int64_t shape[GMM_MAX_NDIM];
    int64_t strides[GMM_MAX_NDIM]; /* in Fortran order only */
};

/* NumPy has no bfloat16; ml_dtypes' one is saved as raw 2-byte items. */
static const struct {
    const char *code;
    gmm_dtype dtype;
} codes[] = {
    {"b1", GMM_BOOL}, {"u1", GMM_U8},  {"i1", GMM_I8},  {"u2", GMM_U16}, {"i2", GMM_I16},
    {"u4", GMM_U32},  {"i4", GMM_I32}, {"u8", GMM_U64}, {"i8", GMM_I64}, {"f2", GMM_F16},
    {"V2", GMM_BF16}, {"f4", GMM_F32}, {"f8", GMM_F64}, {"c8", GMM_C64},
};

#define CODE_COUNT (sizeof codes / sizeof codes[0])

/* ---- the dictionary ---- */

typedef struct literal {
    const char *path;
    const char *text;
    size_t size, at;
} literal;

static bool next_is(literal *l, char wanted)
{
    while (l->at < l->size && memchr(" \t\n\r", l->text[l->at], 4))
        l->at++;
    if (l->at == l->size || l->text[l->at] != wanted)
        return false;
    l->at++;
    return true;
}

static bool next_is_word(literal *l, const char *word)
{
    size_t length = strlen(word);

    if (!next_is(l, *word))
        return false;
    l->at--;
    if (l->size - l->at < length || memcmp(l->text + l->at, word, length) != 0)
        return false;
    l->at += length;
    return true;
}

/* A string of at most `size` - 1 characters; NumPy writes none with escapes here. */
static bool next_string(literal *l, char *string, size_t size)
{
    char quote = next_is(l, '\'') ? '\'' : '"';

    if (quote == '"' && !next_is(l, '"'))
        return false;
    for (size_t used = 0; l->at < l->size && used < size; used++) {
        char character = l->text[l->at++];
        string[used] = character == quote ? '\0' : character;
        if (character == quote)
            return true;
        if (character == '\\' || character == '\0')
            return false;
    }
    return false;
}

static bool next_size(literal *l, int64_t *value)
{
    bool any = false;

    *value = 0;
    for (; l->at < l->size && l->text[l->at] >= '0' && l->text[l->at] <= '9'; l->at++) {
        if (gmm_mul_overflows(*value, 10, value) || gmm_add_overflows(*value, l->text[l->at] - '0', value))
            return false;
        any = true;
    }
    if (any && l->at < l->size && l->text[l->at] == 'L') /* as Python 2 wrote long integers */
        l->at++;
    return any;
}

static gmm_status read_descr(literal *l, gmm_npy *file)
{
    char descr[32];

    if (!next_string(l, descr, sizeof descr))
        return gmm_malformed(l->path, "descr is not a short string; arrays of structures are not supported");
    for (size_t i = 0; i < CODE_COUNT; i++) {
        if (!*descr || strcmp(codes[i].code, descr + 1) != 0)
            continue;
        bool one_byte = gmm_dtype_bits(codes[i].dtype) == 8;
        if (*descr == '>' && !one_byte)
            return gmm_malformed(l->path, "descr '%s': big-endian elements are not supported", descr);
        if (*descr != '<' && !(one_byte && (*descr == '|' || *descr == '>')) && strcmp(descr, "|V2") != 0)
            break;
        file->dtype = codes[i].dtype;
        return GMM_OK;
    }
    return gmm_malformed(l->path, "descr '%s' is not an element type that is supported", descr);
}

static gmm_status read_fortran_order(literal *l, gmm_npy *file)
{
    file->fortran_order = next_is_word(l, "True");
    if (!file->fortran_order && !next_is_word(l, "False"))
        return gmm_malformed(l->path, "fortran_order is neither True nor False");
    return GMM_OK;
}

static gmm_status read_shape(literal *l, gmm_npy *file)
{
    bool comma = true; /* "(3)" is a number, not a tuple */

    if (!next_is(l, '('))
        return gmm_malformed(l->path, "shape is not a tuple");
    for (file->ndim = 0; !next_is(l, ')'); file->ndim++) {
        if (file->ndim == GMM_MAX_NDIM)
            return gmm_malformed(l->path, "shape has more than %d sizes", GMM_MAX_NDIM);
        if (!comma || !next_size(l, &file->shape[file->ndim]))
            return gmm_malformed(l->path, "shape[%" PRId32 "] is not an integer from 0 to 2^63 - 1", file->ndim);
        comma = next_is(l, ',');
    }
    if (file->ndim == 1 && !comma)
        return gmm_malformed(l->path, "shape is not a tuple");
    return GMM_OK;
}

static gmm_status read_dictionary(literal *l, gmm_npy *file)
{
    static const struct {
        const char *key;
        gmm_status (*read)(literal *l, gmm_npy *file);
    } fields[] = {{"descr", read_descr}, {"fortran_order", read_fortran_order}, {"shape", read_shape}};
    enum {
        FIELD_COUNT = sizeof fields / sizeof fields[0]
    };
    bool seen[FIELD_COUNT] = {false}, comma = true;
    char key[32];

    if (!next_is(l, '{'))
        return gmm_malformed(l->path, "the header is not a Python dictionary");
    while (!next_is(l, '}')) {
        size_t i = 0;
        if (!comma || !next_string(l, key, sizeof key) || !next_is(l, ':'))
            return gmm_malformed(l->path, "the header is not a Python dictionary: byte %zu", l->at);
        while (i < FIELD_COUNT && strcmp(fields[i].key, key) != 0)
            i++;
        if (i == FIELD_COUNT || seen[i])
            return gmm_malformed(l->path, "the header has %s key '%s'", i < FIELD_COUNT ? "twice the" : "an unknown",
                                 key);
        seen[i] = true;
        next_is(l, '\n'); /* skips the space before the value */
        gmm_status status = fields[i].read(l, file);
        if (status != GMM_OK)
            return status;
        comma = next_is(l, ',');
    }
    for (size_t i = 0; i < FIELD_COUNT; i++)
        if (!seen[i])
            return gmm_malformed(l->path, "the header has no key '%s'", fields[i].key);
    if (next_is(l, '\n') || l->at < l->size)
        return gmm_malformed(l->path, "text after the header's dictionary: byte %zu", l->at);
    return GMM_OK;
}

/* ---- reading ---- */

/* Find the dictionary: after the magic string come the version and the dictionary's size, 2 bytes in version 1 and 4
 * later. */
static gmm_status find_dictionary(const char *path, const gmm_mapping *mapping, literal *l)
{
    const unsigned char *bytes = mapping->bytes;
    size_t field_bytes, header_bytes = 0;

    if (mapping->size < MAGIC_BYTES + 4 || memcmp(bytes, MAGIC, MAGIC_BYTES) != 0)
        return gmm_malformed(path, "not an npy file: %zu bytes that do not begin with \\x93NUMPY and a version",
                             mapping->size);
    if (bytes[6] < 1 || bytes[6] > 3 || bytes[7] != 0)
        return gmm_malformed(path, "npy version %u.%u; 1.0, 2.0 and 3.0 are supported", bytes[6], bytes[7]);
    field_bytes = bytes[6] == 1 ? 2 : 4;
    size_t begin = MAGIC_BYTES + 2 + field_bytes;
    for (size_t i = 0; i < field_bytes && begin <= mapping->size; i++)
        header_bytes |= (size_t)bytes[8 + i] << (8 * i);
    if (begin > mapping->size || header_bytes > mapping->size - begin)
        return gmm_malformed(path, "a header of %zu bytes; the file has %zu", header_bytes, mapping->size);
    *l = (literal){path, (const char *)bytes + begin, header_bytes, 0};
    return GMM_OK;
}

static gmm_status check_npy_size(const char *path, gmm_npy *file)
{
    char text[GMM_MAX_NDIM * 22], what[256];
    int64_t size_bytes, stride = 1;
    size_t held = file->mapping.size - file->data;

    gmm_shape_text(file->shape, file->ndim, text, sizeof text);
    snprintf(what, sizeof what, "shape %.200s of %s", text, gmm_dtype_name(file->dtype));
    if (gmm_tensor_bytes(what, file->dtype, file->ndim, file->shape, &size_bytes) != GMM_OK)
        return gmm_malformed(path, "%s has more than 2^63 bits", what);
    if ((uint64_t)size_bytes != held)
        return gmm_malformed(path, "%s takes %" PRId64 " bytes; the file has %zu after its header", what, size_bytes,
                             held);
    for (int32_t d = 0; d < file->ndim && size_bytes > 0; d++) {
        file->strides[d] = stride;
        stride *= file->shape[d]; /* cannot overflow: it divides the number of elements */
    }
    file->fortran_order &= size_bytes > 0;
    return GMM_OK;
}

static gmm_status read_npy(const char *path, gmm_npy *file)
{
    literal l;

    gmm_status status = find_dictionary(path, &file->mapping, &l);
    if (status == GMM_OK)
        status = read_dictionary(&l, file);
    if (status != GMM_OK)
        return status;
    file->data = (size_t)((const unsigned char *)l.text - file->mapping.bytes) + l.size;
    return check_npy_size(path, file);
}

gmm_status gmm_npy_open(const char *path, gmm_npy **file)
{
    if (!path || !file)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", path ? "file" : "path");
    gmm_npy *opened = calloc(1, sizeof *opened);
    if (!opened)
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for %zu bytes", path, sizeof *opened);
    gmm_status status = gmm_mapping_open(path, &opened->mapping);
    if (status == GMM_OK)
        status = read_npy(path, opened);
    if (status != GMM_OK) {
        gmm_npy_close(opened);
        return status;
    }
    *file = opened;
    return GMM_OK;
}

void gmm_npy_close(gmm_npy *file)
{
    if (!file)
        return;
    gmm_mapping_close(&file->mapping);
    free(file);
}

void gmm_npy_array(const gmm_npy *file, gmm_array *array)
{
    *array = (gmm_array){
        .data = (void *)(uintptr_t)(file->mapping.bytes + file->data),
        .dtype = file->dtype,
        .ndim = file->ndim,
        .shape = file->shape,
        .strides = file->fortran_order ? file->strides : NULL,
    };
}

/* ---- writing ---- */

/* What NumPy writes for the same array, to the byte: it leaves room for the first size to grow to 21 digits. */
static size_t format_header(gmm_dtype dtype, const char *code, int32_t ndim, const int64_t *shape, char *header,
                            size_t header_size)
{
    char order = gmm_dtype_bits(dtype) == 8 ? '|' : '<';
    size_t start = MAGIC_BYTES + 4, used = start;

    used += (size_t)snprintf(header + used, header_size - used, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                             order, code);
    for (int32_t d = 0; d < ndim; d++)
        used += (size_t)snprintf(header + used, header_size - used, "%s%" PRId64, d ? ", " : "", shape[d]);
    used += (size_t)snprintf(header + used, header_size - used, "%s), }", ndim == 1 ? "," : "");
    if (ndim > 0)
        used += 21 - (size_t)snprintf(NULL, 0, "%" PRId64, shape[0]);

    size_t end = (used / ALIGNMENT + 1) * ALIGNMENT; /* the closing newline comes before it */
    size_t text = strlen(header + start);
    memset(header + start + text, ' ', end - start - text);
    header[end - 1] = '\n';
    memcpy(header, MAGIC "\x01", MAGIC_BYTES + 2);
    header[8] = (char)((end - start) & 0xFF);
    header[9] = (char)((end - start) >> 8);
    return end;
}

/* Runs of elements that lie side by side, in row-major order. */
static gmm_status write_elements(const gmm_view *view, gmm_new_file *file)
{
    int64_t index[GMM_MAX_NDIM] = {0}, run = 1, offset = 0;
    int32_t outer = view->ndim;
    gmm_status status = GMM_OK;

    while (outer > 0 && (view->strides[outer - 1] == run || view->shape[outer - 1] == 1))
        run *= view->shape[--outer];
    for (int64_t written = 0; written < view->count && status == GMM_OK; written += run) {
        status = gmm_new_file_write(file, gmm_view_at(view, offset), (size_t)(run * view->element_bytes));
        for (int32_t d = outer - 1; d >= 0; d--) {
            offset += view->strides[d];
            if (++index[d] < view->shape[d])
                break;
            offset -= index[d] * view->strides[d];
            index[d] = 0;
        }
    }
    return status;
}

gmm_status gmm_npy_write(const char *path, const gmm_array *array)
{
    char header[GMM_MAX_NDIM * 22 +
                256]; /* of 64 sizes with 19 digits: version 1.0, whose limit is 65535 bytes, is enough */
    const char *code = NULL;
    gmm_new_file *file;
    gmm_view view;

    if (!path)
        return gmm_fail(GMM_ERR_NULL, "path is NULL");
    gmm_status status = gmm_view_make(array, "array", &view);
    if (status != GMM_OK)
        return status;
    for (size_t i = 0; i < CODE_COUNT && !code; i++)
        code = codes[i].dtype == view.dtype ? codes[i].code : NULL;
    if (!code)
        return gmm_fail(GMM_ERR_DTYPE, "%s: npy files have no type for %s", path, gmm_dtype_name(view.dtype));
    size_t header_bytes = format_header(view.dtype, code, view.ndim, view.shape, header, sizeof header);
    status = gmm_new_file_open(path, &file);
    if (status != GMM_OK)
        return status;
    status = gmm_new_file_write(file, header, header_bytes);
    if (status == GMM_OK && view.count > 0)
        status = write_elements(&view, file);
    if (status == GMM_OK)
        return gmm_new_file_finish(file);
    gmm_new_file_abandon(file);
    return status;
}
