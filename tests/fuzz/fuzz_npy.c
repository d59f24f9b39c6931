/* fuzz_npy.c - fuzz target: any bytes as an npy file; what opens must be whole, and survive being written again. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "fuzz_file.h"
#include "gathermm/io.h"

static size_t elements(const gmm_array *array)
{
    size_t count = 1;

    for (int32_t d = 0; d < array->ndim; d++)
        if (array->shape[d] == 0)
            return 0;
    for (int32_t d = 0; d < array->ndim; d++)
        count *= (size_t)array->shape[d];
    return count;
}

static const unsigned char *element(const gmm_array *array, size_t flat)
{
    size_t bytes = (size_t)gmm_dtype_bits(array->dtype) / 8, row_major = 1, offset = 0;

    for (int32_t d = array->ndim - 1; d >= 0; d--) {
        size_t size = (size_t)array->shape[d];
        offset += flat % size * (array->strides ? (size_t)array->strides[d] : row_major);
        row_major *= size;
        flat /= size;
    }
    return (const unsigned char *)array->data + offset * bytes;
}

/* The file as it is, or a dictionary with the magic string, the version, and its true size before it. */
static const char *make_file(const uint8_t *data, size_t size)
{
    const uint8_t *zero;
    unsigned char head[12] = "\x93NUMPY";

    if (size == 0 || data[0] == 0)
        return fuzz_file_write("in", NULL, 0, size ? data + 1 : NULL, size ? size - 1 : 0);
    zero = memchr(data + 1, 0, size - 1);
    size_t dictionary = zero ? (size_t)(zero - data - 1) : size - 1, skip = zero != NULL;
    head[6] = data[0] % 4;
    for (int i = 0; i < 4; i++)
        head[8 + i] = (unsigned char)(dictionary >> (8 * i));
    uint8_t *text = malloc(size);
    FUZZ_REQUIRE(text, "out of memory");
    memcpy(text, data + 1, dictionary);
    memcpy(text + dictionary, data + 1 + dictionary + skip, size - 1 - dictionary - skip);
    const char *path = fuzz_file_write("in", head, head[6] == 1 ? 10 : 12, text, size - 1 - skip);
    free(text);
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = make_file(data, size);
    gmm_npy *file = NULL, *copy = NULL;
    gmm_array array, other;

    gmm_status status = gmm_npy_open(path, &file);
    if (status != GMM_OK) {
        FUZZ_REQUIRE(status == GMM_ERR_MALFORMED && !file, "status %d", (int)status);
        FUZZ_REQUIRE(strstr(gmm_error_detail(), path), "the file is not named: %s", gmm_error_detail());
        return 0;
    }
    gmm_npy_array(file, &array);
    FUZZ_REQUIRE(gmm_npy_write(fuzz_file_path("out"), &array) == GMM_OK, "%s", gmm_error_detail());
    FUZZ_REQUIRE(gmm_npy_open(fuzz_file_path("out"), &copy) == GMM_OK, "%s", gmm_error_detail());
    gmm_npy_array(copy, &other);
    FUZZ_REQUIRE(array.dtype == other.dtype && array.ndim == other.ndim && !other.strides, "another type or rank");
    for (int32_t d = 0; d < array.ndim; d++)
        FUZZ_REQUIRE(array.shape[d] == other.shape[d], "another shape");
    for (size_t i = 0, n = elements(&array); i < n; i++)
        FUZZ_REQUIRE(!memcmp(element(&array, i), element(&other, i), (size_t)gmm_dtype_bits(array.dtype) / 8),
                     "element %zu has changed", i);
    gmm_npy_close(copy);
    gmm_npy_close(file);
    return 0;
}
