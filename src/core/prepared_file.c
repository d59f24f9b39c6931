/* prepared_file.c - prepared weights in files: a header of one page, then the weights as they are in memory.
 * SPDX-License-Identifier: MIT
 *
 * All numbers are little-endian. Version 1:
 *
 *     0     8 bytes: "GMMPREP" and a 0
 *     8     the rest of `header` below, the checksum of bytes 0 to 4087 last (at 4088); bytes between are 0
 *     4096  the weights: each part (core/prepared_weights.h) after the other
 *
 * A checksum is a chain over 64-bit words: it finds what disks, copies and cut downloads do, not what an enemy does.
 * Nothing in the weights can do harm: they are numbers, whatever their bits. */
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "core/prepared_weights.h"
#include "io/file_check.h"

enum {
    HEADER_BYTES = 4096, /* so that the weights begin with a page */
    VERSION = 1,
    BYTE_ORDER_MARK = 0x01020304,
    FORMAT_NAME = 32,
    MOST_BLOCK = 1 << 16
};

static const char magic[8] = "GMMPREP";

/* Members lie without gaps. */
typedef struct {
    char magic[8];
    uint32_t version, byte_order;
    int64_t header_bytes, data_bytes;
    uint64_t data_checksum;
    char format[FORMAT_NAME]; /* the mode of quantized weights; all 0: dense */
    int32_t dtype;            /* dense: of the elements */
    int32_t scales_dtype, biases_dtype, group_size, bits;
    uint32_t global_bits; /* nvfp4: the f32 that global_scale gives, gmm_weights.global */
    uint32_t dot, vector;
    int64_t k, n, block;
    int64_t batch_ndim;
    int64_t batch_shape[GMM_MAX_NDIM];
} header;

_Static_assert(offsetof(header, dtype) == 72 && offsetof(header, k) == 104 &&
                   sizeof(header) == 136 + 8 * GMM_MAX_NDIM && sizeof(header) <= HEADER_BYTES - 8,
               "the header has no gaps and fits");

/* Each step is a bijection of the state, so no change of a single word goes unseen. */
static uint64_t checksum(const void *data, size_t size_bytes)
{
    const unsigned char *bytes = data;
    uint64_t sum = size_bytes, word;

    for (size_t at = 0; at + 8 <= size_bytes; at += 8) {
        memcpy(&word, bytes + at, 8);
        sum = (sum ^ word) * 0x9E3779B97F4A7C15; /* 2^64 over the golden ratio, odd */
        sum ^= sum >> 32;
    }
    return sum;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void fill_header(const gmm_prepared *prepared, char page[HEADER_BYTES])
{
    const gmm_weights *weights = &prepared->weights;
    header h = {
        .version = VERSION,
        .byte_order = BYTE_ORDER_MARK,
        .header_bytes = HEADER_BYTES,
        .data_bytes = prepared->bytes,
        .data_checksum = checksum(prepared->data, (size_t)prepared->bytes),
        .dtype = prepared->quantized ? 0 : (int32_t)weights->dtype,
        .scales_dtype = (int32_t)weights->scales_dtype,
        .biases_dtype = (int32_t)weights->biases_dtype,
        .group_size = weights->group_size,
        .bits = weights->bits,
        .dot = prepared->dot,
        .vector = prepared->vector,
        .k = prepared->k,
        .n = prepared->n,
        .block = prepared->block,
        .batch_ndim = prepared->batch_ndim,
    };
    uint64_t sum;

    memcpy(h.magic, magic, sizeof magic);
    memcpy(&h.global_bits, &weights->global, sizeof h.global_bits);
    memcpy(h.batch_shape, prepared->batch_shape, (size_t)prepared->batch_ndim * sizeof h.batch_shape[0]);
    if (prepared->quantized)
        strncpy(h.format, weights->format->name, FORMAT_NAME - 1);
    memset(page, 0, HEADER_BYTES);
    memcpy(page, &h, sizeof h);
    sum = checksum(page, HEADER_BYTES - sizeof sum);
    memcpy(page + HEADER_BYTES - sizeof sum, &sum, sizeof sum);
}

gmm_status gmm_prepared_save(const gmm_prepared *prepared, const char *path)
{
    char page[HEADER_BYTES];
    gmm_new_file *file;
    gmm_status status;

    if (!prepared || !path)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", prepared ? "path" : "prepared");
    if ((status = gmm_new_file_open(path, &file)))
        return status;
    fill_header(prepared, page);
    if ((status = gmm_new_file_write(file, page, sizeof page)) ||
        (status = gmm_new_file_write(file, prepared->data, (size_t)prepared->bytes))) {
        gmm_new_file_abandon(file);
        return status;
    }
    return gmm_new_file_finish(file);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static gmm_status read_header(const char *path, const gmm_mapping *file, header *h)
{
    uint64_t sum;

    if (file->size < HEADER_BYTES)
        return gmm_malformed(path, "has %zu bytes; prepared weights begin with %d", file->size, HEADER_BYTES);
    memcpy(h, file->bytes, sizeof *h);
    if (memcmp(h->magic, magic, sizeof magic) != 0)
        return gmm_malformed(path, "no file of prepared weights: it does not begin with GMMPREP");
    if (h->byte_order != BYTE_ORDER_MARK)
        return gmm_malformed(path, "its byte order is another machine's: %#010" PRIx32, h->byte_order);
    if (h->version != VERSION || h->header_bytes != HEADER_BYTES)
        return gmm_malformed(path,
                             "version %" PRIu32 " with a header of %" PRId64
                             " bytes; this library reads version %d with %d: prepare the weights again",
                             h->version, h->header_bytes, VERSION, HEADER_BYTES);
    memcpy(&sum, file->bytes + HEADER_BYTES - sizeof sum, sizeof sum);
    if (sum != checksum(file->bytes, HEADER_BYTES - sizeof sum))
        return gmm_malformed(path, "its header is damaged: the checksum is %#018" PRIx64 " and not %#018" PRIx64,
                             checksum(file->bytes, HEADER_BYTES - sizeof sum), sum);
    return GMM_OK;
}

static gmm_status read_dense(const char *path, const header *h, gmm_prepared *made)
{
    const char *name = gmm_dtype_name((gmm_dtype)h->dtype);

    if (h->dtype == GMM_F64 || h->dtype < GMM_BOOL || h->dtype > GMM_F32)
        return gmm_malformed(path, "weights of type %s (%" PRId32 ")", name ? name : "unknown", h->dtype);
    if (h->block < 128 || h->block > MOST_BLOCK || h->block % 128)
        return gmm_malformed(path, "blocks of %" PRId64 "; they are multiples of 128 up to %d", h->block, MOST_BLOCK);
    if (h->vector && h->n != 1)
        return gmm_malformed(path, "a vector of %" PRId64 " columns", h->n);
    made->weights.dtype = (gmm_dtype)h->dtype;
    made->block = h->block;
    made->vector = h->vector;
    return GMM_OK;
}

static gmm_status read_quantized(const char *path, const header *h, gmm_prepared *made)
{
    gmm_weights *weights = &made->weights;
    int64_t columns = h->dot ? h->k : h->n;

    if (!memchr(h->format, 0, FORMAT_NAME))
        return gmm_malformed(path, "the name of its format has no end");
    if (gmm_format_resolve(h->format, h->group_size, h->bits, &weights->format, &weights->group_size, &weights->bits) ||
        weights->group_size != h->group_size || weights->bits != h->bits)
        return gmm_malformed(path, "no format is " GMM_QUOTED ", %" PRId32 " bits, groups of %" PRId32, h->format,
                             h->bits, h->group_size);
    weights->scales_dtype = (gmm_dtype)h->scales_dtype;
    weights->biases_dtype = (gmm_dtype)h->biases_dtype;
    if (weights->format->has_biases ? !gmm_is_float(weights->scales_dtype) || !gmm_is_float(weights->biases_dtype)
                                    : h->scales_dtype != GMM_U8 || h->biases_dtype != 0)
        return gmm_malformed(path, "scales and biases of types %" PRId32 " and %" PRId32, h->scales_dtype,
                             h->biases_dtype);
    if (columns % weights->group_size)
        return gmm_malformed(path, "rows of %" PRId64 " are no whole groups of %" PRId32, columns, weights->group_size);
    if (h->vector)
        return gmm_malformed(path, "a vector that is quantized");
    memcpy(&weights->global, &h->global_bits, sizeof weights->global);
    weights->code_stride = weights->scale_stride = 1;
    weights->bias_stride = weights->format->has_biases;
    made->quantized = true;
    return GMM_OK;
}

static gmm_status read_shape(const char *path, const header *h, gmm_prepared *made)
{
    if (h->k < 0 || h->n < 0 || h->batch_ndim < 0 || h->batch_ndim > GMM_MAX_NDIM - 2 || h->dot > 1 || h->vector > 1)
        return gmm_malformed(path,
                             "matrices of %" PRId64 " x %" PRId64 " with %" PRId64 " batch dimensions, layout %" PRIu32
                             ", vector %" PRIu32,
                             h->k, h->n, h->batch_ndim, h->dot, h->vector);
    made->k = h->k;
    made->n = h->n;
    made->dot = h->dot;
    made->batch_ndim = (int32_t)h->batch_ndim;
    for (int32_t d = 0; d < made->batch_ndim; d++) {
        if (h->batch_shape[d] < 0)
            return gmm_malformed(path, "batch dimension %" PRId32 " is %" PRId64, d, h->batch_shape[d]);
        made->batch_shape[d] = h->batch_shape[d];
    }
    return GMM_OK;
}

/* All that a call will rely on. */
static gmm_status read_weights(const char *path, gmm_prepared *made)
{
    header h;
    gmm_status status = read_header(path, &made->file, &h);

    if (status || (status = read_shape(path, &h, made)) ||
        (status = h.format[0] ? read_quantized(path, &h, made) : read_dense(path, &h, made)))
        return status;
    if (gmm_prepared_lay_out(made))
        return gmm_malformed(path, "%" PRId64 " x %" PRId64 " matrices exceed 2^63 bytes", h.k, h.n);
    if (h.data_bytes != made->bytes)
        return gmm_malformed(path, "its header announces %" PRId64 " bytes of weights, and its shape means %" PRId64,
                             h.data_bytes, made->bytes);
    if (made->file.size - HEADER_BYTES != (uint64_t)made->bytes)
        return gmm_malformed(path, "has %zu bytes and not %" PRIu64, made->file.size,
                             (uint64_t)made->bytes + HEADER_BYTES);
    made->checksum = h.data_checksum;
    gmm_prepared_place(made, (const char *)made->file.bytes + HEADER_BYTES);
    return GMM_OK;
}

gmm_status gmm_prepared_open(const char *path, gmm_prepared **prepared)
{
    gmm_status status;

    if (!path || !prepared)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", path ? "prepared" : "path");
    gmm_prepared *made = calloc(1, sizeof *made);
    if (!made || !(made->path = strdup(path))) {
        free(made);
        return gmm_fail(GMM_ERR_MEMORY, "%s: no memory for prepared weights", path);
    }
    if ((status = gmm_mapping_open(path, &made->file)) || (status = read_weights(path, made))) {
        gmm_prepared_free(made);
        return status;
    }
    *prepared = made;
    return GMM_OK;
}

gmm_status gmm_prepared_verify(const gmm_prepared *prepared)
{
    if (!prepared)
        return gmm_fail(GMM_ERR_NULL, "prepared is NULL");
    if (prepared->memory)
        return GMM_OK;
    uint64_t sum = checksum(prepared->data, (size_t)prepared->bytes);
    if (sum != prepared->checksum)
        return gmm_malformed(prepared->path,
                             "its weights are damaged: the checksum is %#018" PRIx64 " and not %#018" PRIx64, sum,
                             prepared->checksum);
    return GMM_OK;
}
