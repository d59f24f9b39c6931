/* fuzz_prepared.c - fuzz target: any bytes as a file of prepared weights; what opens must be fit for products. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "fuzz_file.h"
#include "gathermm/prepared.h"

enum {
    HEADER_BYTES = 4096,
    FIXED_BYTES = 24,   /* up to the size of the weights */
    CHOSEN_BYTES = 160, /* the header's fields up to the third batch dimension, */
    MOST = 1 << 12
};

/* The checksum of src/core/prepared_file.c. */
static uint64_t chain(const unsigned char *bytes, size_t size)
{
    uint64_t sum = size, word;

    for (size_t at = 0; at < size; at += 8) {
        memcpy(&word, bytes + at, 8);
        sum = (sum ^ word) * 0x9E3779B97F4A7C15;
        sum ^= sum >> 32;
    }
    return sum;
}

/* The first byte chooses: 0, the rest is the file; else the rest are the fields of a header with a true checksum, and
 * the weights; 2, with their true size. */
static const char *make_file(const uint8_t *data, size_t size)
{
    static const unsigned char fixed[FIXED_BYTES] = "GMMPREP\0\1\0\0\0\4\3\2\1\0\20\0\0\0\0\0";
    unsigned char header[HEADER_BYTES] = {0};
    uint64_t sum;

    if (size == 0 || data[0] == 0)
        return fuzz_file_write("in", NULL, 0, size ? data + 1 : NULL, size ? size - 1 : 0);
    size_t chosen = size - 1 < CHOSEN_BYTES ? size - 1 : CHOSEN_BYTES;
    uint64_t weights = size - 1 - chosen;
    memcpy(header, fixed, FIXED_BYTES);
    memcpy(header + FIXED_BYTES, data + 1, chosen);
    if (data[0] == 2)
        memcpy(header + FIXED_BYTES, &weights, sizeof weights);
    sum = chain(header, HEADER_BYTES - 8);
    memcpy(header + HEADER_BYTES - 8, &sum, sizeof sum);
    return fuzz_file_write("in", header, HEADER_BYTES, data + 1 + chosen, weights);
}

static bool is_empty(const gmm_prepared_info *info)
{
    bool empty = false;

    for (int32_t d = 0; d < info->batch_ndim; d++)
        empty |= info->batch_shape[d] == 0;
    return empty;
}

/* Two rows times the first matrix. */
static void check_product(const gmm_prepared *prepared, const gmm_prepared_info *info)
{
    static float x[2 * MOST], out[2 * MOST];
    int32_t zero = 0;
    const int64_t x_shape[] = {2, info->k}, out_shape[] = {1, 2, info->n}, one[] = {1};
    gmm_array lhs = {x, GMM_F32, 2, x_shape, NULL, 0}, index = {&zero, GMM_I32, 1, one, NULL, 0};
    gmm_array result = {out, GMM_F32, 3, out_shape, NULL, 0};
    gmm_product product = {.size = sizeof product, .lhs = &lhs, .prepared = prepared, .rhs_indices = &index};
    gmm_array_spec spec;

    if (info->k > MOST || info->n > MOST || is_empty(info))
        return;
    for (int i = 0; i < 2 * MOST; i++)
        x[i] = (float)(i % 7) - 3;
    FUZZ_REQUIRE(gmm_result_spec(&product, &spec) == GMM_OK, "%s", gmm_error_detail());
    result.ndim = spec.ndim; /* a vector has no columns */
    gmm_status status = gmm_run(NULL, &product, &result);
    FUZZ_REQUIRE(status == GMM_OK, "%d: %s", (int)status, gmm_error_detail());
}

static void check_copy(const gmm_prepared *prepared, const gmm_prepared_info *info)
{
    gmm_prepared *copy = NULL;
    gmm_prepared_info other;

    FUZZ_REQUIRE(gmm_prepared_save(prepared, fuzz_file_path("out")) == GMM_OK, "%s", gmm_error_detail());
    FUZZ_REQUIRE(gmm_prepared_open(fuzz_file_path("out"), &copy) == GMM_OK, "%s", gmm_error_detail());
    FUZZ_REQUIRE(gmm_prepared_verify(copy) == GMM_OK, "%s", gmm_error_detail());
    gmm_prepared_describe(copy, &other);
    FUZZ_REQUIRE(gmm_prepared_bytes(copy) == gmm_prepared_bytes(prepared) && other.raw_bytes == info->raw_bytes &&
                     other.dtype == info->dtype && other.bits == info->bits && other.group_size == info->group_size &&
                     other.transpose == info->transpose && other.k == info->k && other.n == info->n &&
                     other.batch_ndim == info->batch_ndim && !other.mode == !info->mode,
                 "the copy differs");
    gmm_prepared_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = make_file(data, size);
    gmm_prepared *prepared = NULL;
    gmm_prepared_info info;

    gmm_status status = gmm_prepared_open(path, &prepared);
    if (status != GMM_OK) {
        FUZZ_REQUIRE(status == GMM_ERR_MALFORMED && !prepared, "status %d", (int)status);
        FUZZ_REQUIRE(strstr(gmm_error_detail(), path), "the file is not named: %s", gmm_error_detail());
        return 0;
    }
    status = gmm_prepared_verify(prepared);
    FUZZ_REQUIRE(status == GMM_OK || status == GMM_ERR_MALFORMED, "status %d", (int)status);
    gmm_prepared_describe(prepared, &info);
    FUZZ_REQUIRE(info.raw_bytes <= gmm_prepared_bytes(prepared), "more raw bytes than there are");
    check_product(prepared, &info);
    check_copy(prepared, &info);
    gmm_prepared_free(prepared);
    return 0;
}
