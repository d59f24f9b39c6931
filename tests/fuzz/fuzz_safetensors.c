/* fuzz_safetensors.c - fuzz target: any bytes as a safetensors file; what opens must be whole, and survive being
 * written again. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "fuzz_file.h"
#include "gathermm/io.h"

static void check_tensor(const gmm_safetensors *file, const gmm_tensor *tensor, const unsigned char **data)
{
    gmm_tensor found;
    gmm_array array;
    int64_t count = 1;

    FUZZ_REQUIRE(!*data || tensor->data == *data, "%s: no neighbour of the tensor before it", tensor->name);
    *data = (const unsigned char *)tensor->data + tensor->size_bytes;
    fuzz_file_touch(tensor->data, tensor->size_bytes);
    FUZZ_REQUIRE(gmm_dtype_name(tensor->dtype), "%s: dtype %d", tensor->name, (int)tensor->dtype);
    FUZZ_REQUIRE(tensor->ndim >= 0 && tensor->ndim <= GMM_MAX_NDIM, "%s: rank %d", tensor->name, (int)tensor->ndim);
    for (int32_t d = 0; d < tensor->ndim; d++)
        FUZZ_REQUIRE(tensor->shape[d] >= 0, "%s: negative", tensor->name);
    for (int32_t d = 0; d < tensor->ndim && tensor->size_bytes > 0; d++)
        count *= tensor->shape[d];
    FUZZ_REQUIRE(tensor->size_bytes == 0 ||
                     (uint64_t)count * (uint64_t)gmm_dtype_bits(tensor->dtype) == 8 * (uint64_t)tensor->size_bytes,
                 "%s: %zu bytes", tensor->name, tensor->size_bytes);
    FUZZ_REQUIRE(gmm_safetensors_find(file, tensor->name, &found) && found.data == tensor->data &&
                     found.shape == tensor->shape && found.name == tensor->name,
                 "%s is not found", tensor->name);
    gmm_tensor_array(tensor, &array);
    FUZZ_REQUIRE(array.data == tensor->data && array.ndim == tensor->ndim, "%s: another array", tensor->name);
}

/* Write what was read and compare. */
static void check_copy(const gmm_safetensors *file, size_t metadata_count)
{
    size_t count = gmm_safetensors_count(file);
    gmm_tensor *tensors = calloc(count + 1, sizeof *tensors), other;
    const char **metadata = calloc(2 * metadata_count + 1, sizeof *metadata), *key, *value;
    gmm_safetensors_writer *writer;
    gmm_safetensors *copy;

    FUZZ_REQUIRE(tensors && metadata, "out of memory");
    for (size_t i = 0; i < count; i++)
        gmm_safetensors_at(file, i, &tensors[i]);
    for (size_t i = 0; i < metadata_count; i++)
        gmm_safetensors_metadata_at(file, i, &metadata[2 * i], &metadata[2 * i + 1]);
    gmm_status status =
        gmm_safetensors_create(fuzz_file_path("out"), tensors, count, metadata, metadata_count, &writer);
    FUZZ_REQUIRE(status == GMM_OK, "%d: %s", (int)status, gmm_error_detail());
    for (size_t i = 0; i < count; i++)
        FUZZ_REQUIRE(gmm_safetensors_append(writer, tensors[i].data, tensors[i].size_bytes) == GMM_OK, "%s",
                     gmm_error_detail());
    FUZZ_REQUIRE(gmm_safetensors_finish(writer) == GMM_OK, "%s", gmm_error_detail());
    FUZZ_REQUIRE(gmm_safetensors_open(fuzz_file_path("out"), &copy) == GMM_OK, "%s", gmm_error_detail());
    FUZZ_REQUIRE(gmm_safetensors_count(copy) == count, "%zu tensors", gmm_safetensors_count(copy));
    for (size_t i = 0; i < count; i++) {
        const gmm_tensor *t = &tensors[i];
        FUZZ_REQUIRE(gmm_safetensors_at(copy, i, &other), "%s is lost", t->name);
        FUZZ_REQUIRE(!strcmp(t->name, other.name) && t->dtype == other.dtype && t->ndim == other.ndim &&
                         t->size_bytes == other.size_bytes && !memcmp(t->data, other.data, t->size_bytes) &&
                         (t->ndim == 0 || !memcmp(t->shape, other.shape, (size_t)t->ndim * sizeof *t->shape)),
                     "%s has changed", t->name);
    }
    for (size_t i = 0; i < metadata_count; i++)
        FUZZ_REQUIRE(gmm_safetensors_metadata_at(copy, i, &key, &value) && !strcmp(key, metadata[2 * i]) &&
                         !strcmp(value, metadata[2 * i + 1]),
                     "metadata %s has changed", metadata[2 * i]);
    gmm_safetensors_close(copy);
    free(tensors);
    free((void *)metadata);
}

/* The first byte chooses: 0, the rest is the file; else the rest is the header up to a 0, with its true size before it,
 * and the data. */
static const char *make_file(const uint8_t *data, size_t size)
{
    const uint8_t *zero;
    uint64_t header_bytes;

    if (size == 0 || data[0] == 0)
        return fuzz_file_write("in", NULL, 0, size ? data + 1 : NULL, size ? size - 1 : 0);
    zero = memchr(data + 1, 0, size - 1);
    header_bytes = zero ? (uint64_t)(zero - data - 1) : size - 1;
    uint8_t *text = malloc(size);
    FUZZ_REQUIRE(text, "out of memory");
    memcpy(text, data + 1, header_bytes);
    memcpy(text + header_bytes, zero ? zero + 1 : data, size - 1 - header_bytes - (zero != NULL));
    const char *path = fuzz_file_write("in", &header_bytes, 8, text, size - 1 - (zero != NULL));
    free(text);
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = make_file(data, size), *key, *value;
    const unsigned char *end = NULL;
    gmm_safetensors *file = NULL;
    gmm_tensor tensor;
    size_t i, metadata_count = 0;

    gmm_status status = gmm_safetensors_open(path, &file);
    if (status != GMM_OK) {
        FUZZ_REQUIRE(status == GMM_ERR_MALFORMED && !file, "status %d", (int)status);
        FUZZ_REQUIRE(strstr(gmm_error_detail(), path), "the file is not named: %s", gmm_error_detail());
        return 0;
    }
    for (i = 0; gmm_safetensors_at(file, i, &tensor); i++)
        check_tensor(file, &tensor, &end);
    FUZZ_REQUIRE(i == gmm_safetensors_count(file), "%zu tensors", i);
    while (gmm_safetensors_metadata_at(file, metadata_count, &key, &value)) {
        fuzz_file_touch(key, strlen(key));
        fuzz_file_touch(value, strlen(value));
        metadata_count++;
    }
    check_copy(file, metadata_count);
    gmm_safetensors_close(file);
    return 0;
}
