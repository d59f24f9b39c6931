/* test_safetensors.c - safetensors files: what is read, what is refused and in which words. */
/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmocka_test.h"
#include "gathermm/io.h"
#include "temp_folder.h"

/* ---- helpers ---- */

/* A file of this header, with its true size before it, and `data_bytes` bytes 0, 1, 2, ... */
static const char *file_of(const char *header, size_t data_bytes)
{
    uint64_t size = strlen(header);
    unsigned char *bytes = malloc(8 + size + data_bytes);

    assert_non_null(bytes);
    memcpy(bytes, &size, 8);
    memcpy(bytes + 8, header, size);
    for (size_t i = 0; i < data_bytes; i++)
        bytes[8 + size + i] = (unsigned char)i;
    const char *path = gmm_temp_file("case.safetensors", bytes, 8 + size + data_bytes);
    free(bytes);
    return path;
}

static gmm_safetensors *open_ok(const char *path)
{
    gmm_safetensors *file = NULL;
    gmm_status status = gmm_safetensors_open(path, &file);

    if (status != GMM_OK)
        fail_msg("%s: status %d: %s", path, (int)status, gmm_error_detail());
    return file;
}

/* The file is refused with this status, and the message names it and holds `words`. */
static void assert_refused(const char *path, gmm_status wanted, const char *words)
{
    gmm_safetensors *file = (gmm_safetensors *)(uintptr_t)&wanted; /* to see that it is not written */
    gmm_status status = gmm_safetensors_open(path, &file);

    if (status != wanted || !strstr(gmm_error_detail(), words) || !strstr(gmm_error_detail(), path))
        fail_msg("status %d, not %d with \"%s\": %s", (int)status, (int)wanted, words, gmm_error_detail());
    assert_ptr_equal(file, &wanted);
}

static void assert_header_refused(const char *header, size_t data_bytes, const char *words)
{
    assert_refused(file_of(header, data_bytes), GMM_ERR_MALFORMED, words);
}

#define ENTRY(dtype, shape, begin, end)                                                                                \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

/* ---- reading ---- */

static void reads_what_is_there(void **state)
{
    (void)state;
    /* The header's order is not that of the data; empty tensors lie at the start, between, and at the end. */
    gmm_safetensors *file = open_ok(file_of(
        "{\"b\\u00e9\\n\":" ENTRY("U8", "[3]", "4", "7") ",\"a\":" ENTRY("F32", "[]", "0", "4") ",\"none\":" ENTRY(
            "F64", "[0,9223372036854775807]", "7",
            "7") ", \"\" : " ENTRY("I8", "[2,0]", "0",
                                   "0") ",\"half\":" ENTRY("F4", "[2,1,3]", "7",
                                                           "10") ",\"six\":" ENTRY("F6_E3M2", "[4]", "10",
                                                                                   "13") ",\"__metadata__\":{"
                                                                                         "\"format\":\"mlx\",\"\":"
                                                                                         "\"\\u0001\"}} \n ",
        13));
    static const char *names[] = {"", "a", "b\xc3\xa9\n", "none", "half", "six"};
    static const size_t sizes[] = {0, 4, 3, 0, 3, 3};
    const char *key, *value;
    size_t at = 0;
    gmm_tensor tensor, found;
    gmm_array array;

    assert_int_equal(gmm_safetensors_count(file), 6);
    for (size_t i = 0; i < 6; i++) {
        assert_true(gmm_safetensors_at(file, i, &tensor));
        assert_string_equal(tensor.name, names[i]);
        assert_int_equal(tensor.size_bytes, sizes[i]);
        for (size_t b = 0; b < sizes[i]; b++)
            assert_int_equal(((const unsigned char *)tensor.data)[b], at++);
        assert_true(gmm_safetensors_find(file, names[i], &found));
        assert_memory_equal(&tensor, &found, sizeof tensor);
    }
    assert_int_equal(tensor.dtype, GMM_F6_E3M2);
    assert_true(gmm_safetensors_find(file, "none", &tensor));
    assert_int_equal(tensor.ndim, 2);
    assert_int_equal(tensor.shape[0], 0);
    assert_true(tensor.shape[1] == INT64_MAX);
    assert_true(gmm_safetensors_find(file, "a", &tensor));
    gmm_tensor_array(&tensor, &array);
    assert_ptr_equal(array.data, tensor.data);
    assert_int_equal(array.ndim, 0);
    assert_int_equal(array.dtype, GMM_F32);
    assert_null(array.strides);
    assert_int_equal(array.byte_offset, 0);

    assert_false(gmm_safetensors_at(file, 6, &tensor));
    assert_false(gmm_safetensors_at(file, SIZE_MAX, &tensor));
    assert_false(gmm_safetensors_find(file, "b", &tensor));
    assert_false(gmm_safetensors_find(file, "__metadata__", &tensor));
    assert_false(gmm_safetensors_find(file, NULL, &tensor));
    assert_true(gmm_safetensors_metadata_at(file, 0, &key, &value));
    assert_string_equal(key, "format");
    assert_string_equal(value, "mlx");
    assert_true(gmm_safetensors_metadata_at(file, 1, &key, &value));
    assert_string_equal(key, "");
    assert_string_equal(value, "\x01");
    assert_false(gmm_safetensors_metadata_at(file, 2, &key, &value));
    gmm_safetensors_close(file);
}

static void reads_files_without_tensors(void **state)
{
    static const char *headers[] = {"{}", "{ } ", "{\"__metadata__\":{}}", "{\"__metadata__\":{\"a\":\"b\"}}"};
    gmm_tensor tensor;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        gmm_safetensors *file = open_ok(file_of(headers[i], 0));
        assert_int_equal(gmm_safetensors_count(file), 0);
        assert_false(gmm_safetensors_at(file, 0, &tensor));
        assert_false(gmm_safetensors_find(file, "", &tensor));
        gmm_safetensors_close(file);
    }
    gmm_safetensors_close(NULL);
    assert_int_equal(gmm_safetensors_count(NULL), 0);
}

static void refuses_null(void **state)
{
    gmm_safetensors *file;

    (void)state;
    assert_int_equal(gmm_safetensors_open(NULL, &file), GMM_ERR_NULL);
    assert_int_equal(gmm_safetensors_open("x", NULL), GMM_ERR_NULL);
}

/* ---- refusals ---- */

static void refuses_what_is_no_file(void **state)
{
    char long_name[400];
    const char *path = gmm_temp_path("pipe");

    (void)state;
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_refused(gmm_temp_path("absent"), GMM_ERR_FILE, "No such file");
    assert_refused(gmm_temp_path(long_name), GMM_ERR_FILE, "too long");
    assert_refused("", GMM_ERR_FILE, "No such file");
    assert_refused(gmm_temp_path("."), GMM_ERR_FILE, "a directory, not a regular file");
    assert_refused("/dev/null", GMM_ERR_FILE, "a character device, not a regular file");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(path, GMM_ERR_FILE, "a pipe, not a regular file"); /* and does not wait for a writer */
    assert_int_equal(unlink(path), 0);
    path = file_of("{}", 0);
    assert_int_equal(chmod(path, 0), 0);
    if (geteuid() != 0) /* root may read all files */
        assert_refused(path, GMM_ERR_FILE, "Permission denied");
    assert_int_equal(unlink(path), 0);
}

static void refuses_every_truncation(void **state)
{
    size_t size, extra = 0;
    unsigned char *bytes = gmm_temp_read(
        file_of("{\"x\":" ENTRY("F32", "[2,1]", "0", "8") ",\"y\":" ENTRY("U8", "[5]", "8", "13") "}", 13), &size);

    (void)state;
    for (size_t kept = 0; kept < size; kept++) {
        gmm_safetensors *file;
        const char *path = gmm_temp_file("cut.safetensors", bytes, kept);
        assert_int_equal(gmm_safetensors_open(path, &file), GMM_ERR_MALFORMED);
        assert_non_null(strstr(gmm_error_detail(), path));
    }
    unsigned char *longer = calloc(size + 1, 1);
    assert_non_null(longer);
    memcpy(longer, bytes, size);
    assert_refused(gmm_temp_file("long.safetensors", longer, size + 1), GMM_ERR_MALFORMED,
                   "14 bytes of data, but the tensors end at 13");
    /* Every single changed byte of the file gives a status, whatever it is. */
    for (size_t i = 0; i < 8 * size; i++) {
        gmm_safetensors *file = NULL;
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        extra += gmm_safetensors_open(gmm_temp_file("bit.safetensors", bytes, size), &file) == GMM_OK;
        gmm_safetensors_close(file);
        bytes[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    assert_in_range(extra, 13 * 8, size * 8 / 2); /* those in the data at least */
    free(longer);
    free(bytes);
}

static void refuses_header_sizes(void **state)
{
    static const uint64_t sizes[] = {
        3,          100000001,      (uint64_t)1 << 31, (uint64_t)1 << 32, (uint64_t)1 << 63,
        UINT64_MAX, UINT64_MAX - 7, UINT64_MAX - 8};
    unsigned char bytes[10] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};

    (void)state;
    assert_refused(gmm_temp_file("empty", bytes, 0), GMM_ERR_MALFORMED, "0 bytes");
    assert_refused(gmm_temp_file("other", "GGUF\3\0\0\0", 8), GMM_ERR_MALFORMED, "a GGUF file");
    assert_refused(gmm_temp_file("zero", bytes, 10), GMM_ERR_MALFORMED, "does not begin with '{'");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char words[64];
        memcpy(bytes, &sizes[i], 8);
        snprintf(words, sizeof words, "a header of %" PRIu64 " bytes", sizes[i]);
        assert_refused(gmm_temp_file("header", bytes, 10), GMM_ERR_MALFORMED, words);
    }
}

static void refuses_bad_json(void **state)
{
    static const struct {
        const char *header, *words;
    } cases[] = {
        {" {}", "does not begin with '{'"},
        {"[]", "does not begin with '{'"},
        {"null", "does not begin with '{'"},
        {"\xEF\xBB\xBF{}", "does not begin with '{'"},
        {"{", "a name in quotes is missing at byte 1"},
        {"{]", "a name in quotes is missing"},
        {"{,}", "a name in quotes is missing"},
        {"{1:2}", "a name in quotes is missing"},
        {"{'a':2}", "a name in quotes is missing"},
        {"{}{}", "2 bytes after its end"},
        {"{} x", "1 bytes after its end"},
        {"{\"a", "a name in quotes is missing"},
        {"{\"a\\", "a name in quotes is missing"},
        {"{\"a\\\"", "a name in quotes is missing"},
        {"{\"a\"", "no ':' after \"a\""},
        {"{\"a\"}", "no ':' after \"a\""},
        {"{\"a\":", "\"a\": a value without an end"},
        {"{\"a\":}", "tensor \"a\""},
        {"{\"a\":,}", "tensor \"a\""},
        {"{\"a\":\"}", "\"a\": a value without an end"},
        {"{\"a\":{]}", "tensor \"a\""},
        {"{\"a\":[}}", "tensor \"a\""},
        {"{\"a\":{\"dtype\":NaN}}", "tensor \"a\""},
        {"{\"a\":" ENTRY("U8", "[0]", "0", "0"), "a value without an end"},
        {"{\"a\":" ENTRY("U8", "[0]", "0", "0") "]", "',' or '}' is missing"},
        {"{\"a\":" ENTRY("U8", "[0]", "0", "0") ",}", "a name in quotes is missing"},
        {"{\"a\":" ENTRY("U8", "[0,]", "0", "0") "}", "tensor \"a\""},
        {"{\"a\":" ENTRY("U8", "[00]", "0", "0") "}", "tensor \"a\""},
        {"{\"a\":" ENTRY("U8", "[0]", "0", "0") " /* */}", "tensor \"a\""},
        {"{\"\xFF\":0}", "unable to decode byte"},
        {"{\"\xC0\x80\":0}", "unable to decode byte"},
        {"{\"\xED\xA0\x80\":0}", "unable to decode byte"},
        {"{\"\xF4\x90\x80\x80\":0}", "unable to decode byte"},
        {"{\"a\":{\"\xFF\":0}}", "tensor \"a\""},
        {"{\"\\ud800\":0}", "the header"},
        {"{\"a\\u0000b\":" ENTRY("U8", "[0]", "0", "0") "}", "\\u0000"},
        {"{\"a\":{\"dty\\u0000pe\":0}}", "tensor \"a\""},
        {"{\"a\nb\":0}", "unexpected newline"},
        {"{\"a\tb\":0}", "control character"},
        {"{\"\\x\":0}", "invalid escape"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_header_refused(cases[i].header, 0, cases[i].words);
}

static void refuses_bad_entries(void **state)
{
    static const struct {
        const char *header, *words; /* 4 bytes of data */
    } cases[] = {
        {"{\"t\":1}", "its entry is not a JSON object"},
        {"{\"t\":[]}", "its entry is not a JSON object"},
        {"{\"t\":null}", "its entry is not a JSON object"},
        {"{\"t\":{}}", "no dtype"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[4]}}", "no data_offsets"},
        {"{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", "no shape"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"x\":0}}", "unknown field \"x\""},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"dtype\":\"I8\"}}", "duplicate"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"shap\\u0065\":[4]}}", "duplicate"},
        {"{\"t\":" ENTRY("U8", "[4]", "0", "4") ",\"t\":" ENTRY("U8", "[4]", "0", "4") "}", "overlap"},
        {"{\"t\":" ENTRY("U8", "[4]", "0", "4") ",\"t\":" ENTRY("U8", "[0]", "4", "4") "}", "appears twice"},
        {"{\"t\":" ENTRY("U8", "[4]", "0", "4") ",\"\\u0074\":" ENTRY("U8", "[0]", "4", "4") "}", "appears twice"},
        {"{\"t\":{\"dtype\":8,\"shape\":[4],\"data_offsets\":[0,4]}}", "dtype is not a string"},
        {"{\"t\":" ENTRY("u8", "[4]", "0", "4") "}", "unknown dtype \"u8\""},
        {"{\"t\":" ENTRY("F128", "[4]", "0", "4") "}", "unknown dtype \"F128\""},
        {"{\"t\":" ENTRY("", "[4]", "0", "4") "}", "unknown dtype \"\""},
        {"{\"t\":" ENTRY("U8", "4", "0", "4") "}", "shape is not an array"},
        {"{\"t\":" ENTRY("U8", "[4.0]", "0", "4") "}", "shape[0] is not an integer of 0 or more"},
        {"{\"t\":" ENTRY("U8", "[1,-4]", "0", "4") "}", "shape[1] is not an integer of 0 or more"},
        {"{\"t\":" ENTRY("U8", "[\"4\"]", "0", "4") "}", "shape[0] is not an integer of 0 or more"},
        {"{\"t\":" ENTRY("U8", "[[4]]", "0", "4") "}", "shape[0] is not an integer of 0 or more"},
        {"{\"t\":" ENTRY("U8", "[9223372036854775808]", "0", "4") "}", "too big integer"},
        {"{\"t\":" ENTRY("U8", "[18446744073709551620]", "0", "4") "}", "too big integer"},
        {"{\"t\":" ENTRY("U8", "[1e400]", "0", "4") "}", "tensor \"t\""},
        {"{\"t\":" ENTRY("U8", "[4294967296,4294967296]", "0", "4") "}", "more than 2^63 bits"},
        {"{\"t\":" ENTRY("F32", "[2305843009213693952]", "0", "4") "}", "more than 2^63 bits"},
        {"{\"t\":" ENTRY("F32", "[2]", "0", "4") "}", "(2) F32 takes 8 bytes, but data_offsets [0, 4] have 4"},
        {"{\"t\":" ENTRY("F32", "[]", "0", "2") "}", "() F32 takes 4 bytes, but data_offsets [0, 2] have 2"},
        {"{\"t\":" ENTRY("U8", "[0]", "0", "4") "}", "takes 0 bytes"},
        {"{\"t\":" ENTRY("F4", "[7]", "0", "4") "}", "28 bits of F4 elements are not whole bytes"},
        {"{\"t\":" ENTRY("F6_E2M3", "[5]", "0", "4") "}", "30 bits of F6_E2M3 elements are not whole bytes"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":4}}", "data_offsets are not two integers"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4]}}", "data_offsets are not two integers"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,4]}}", "data_offsets are not two integers"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":{\"0\":0,\"1\":4}}}", "not two integers"},
        {"{\"t\":" ENTRY("U8", "[4]", "0", "4.0") "}", "data_offsets are not two integers"},
        {"{\"t\":" ENTRY("U8", "[4]", "0.5", "4.5") "}", "data_offsets are not two integers"},
        {"{\"t\":" ENTRY("U8", "[4]", "null", "4") "}", "data_offsets are not two integers"},
        {"{\"t\":" ENTRY("U8", "[4]", "4", "0") "}", "[4, 0] are no part of 4 bytes"},
        {"{\"t\":" ENTRY("U8", "[4]", "-1", "3") "}", "[-1, 3] are no part of 4 bytes"},
        {"{\"t\":" ENTRY("U8", "[4]", "-4", "0") "}", "[-4, 0] are no part of 4 bytes"},
        {"{\"t\":" ENTRY("U8", "[4]", "1", "5") "}", "[1, 5] are no part of 4 bytes"},
        {"{\"t\":" ENTRY("U8", "[4]", "9223372036854775803", "9223372036854775807") "}", "no part of 4 bytes"},
        {"{\"t\":" ENTRY("U8", "[4]", "9223372036854775804", "9223372036854775808") "}", "too big integer"},
        {"{\"t\":" ENTRY("U8", "[4]", "18446744073709551616", "18446744073709551620") "}", "too big integer"},
        {"{\"t\":" ENTRY("U8", "[4]", "0", "9999999999999999999999999999999999999999") "}", "too big integer"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = file_of(cases[i].header, 4);
        assert_refused(path, GMM_ERR_MALFORMED, cases[i].words);
        if (!strstr(gmm_error_detail(), "tensor \"t\""))
            fail_msg("the tensor is not named: %s", gmm_error_detail());
    }
}

static void refuses_bad_layouts(void **state)
{
    (void)state;
    assert_header_refused("{\"a\":" ENTRY("U8", "[4]", "0", "4") ",\"b\":" ENTRY("U8", "[4]", "3", "7") "}", 7,
                          "tensor \"b\": data_offsets [3, 7] overlap [0, 4] of tensor \"a\"");
    assert_header_refused("{\"a\":" ENTRY("U8", "[4]", "0", "4") ",\"b\":" ENTRY("U8", "[4]", "5", "9") "}", 9,
                          "bytes 4 to 5 of the data, before tensor \"b\", belong to no tensor");
    assert_header_refused("{\"a\":" ENTRY("U8", "[4]", "1", "5") "}", 5, "bytes 0 to 1 of the data");
    assert_header_refused("{\"a\":" ENTRY("U8", "[4]", "0", "4") "}", 5, "5 bytes of data, but the tensors end at 4");
    assert_header_refused("{}", 1, "1 bytes of data, but the tensors end at 0");
    assert_header_refused("{\"a\":" ENTRY("U8", "[4]", "0", "4") ",\"e\":" ENTRY("U8", "[0]", "2", "2") "}", 4,
                          "tensor \"e\": data_offsets [2, 2] overlap [0, 4] of tensor \"a\"");
}

static void refuses_bad_metadata(void **state)
{
    static const struct {
        const char *header, *words;
    } cases[] = {
        {"{\"__metadata__\":null}", "__metadata__ is not a JSON object"},
        {"{\"__metadata__\":[]}", "__metadata__ is not a JSON object"},
        {"{\"__metadata__\":\"x\"}", "__metadata__ is not a JSON object"},
        {"{\"__metadata__\":{\"k\":1}}", "__metadata__ \"k\": not a string"},
        {"{\"__metadata__\":{\"k\":{\"a\":\"b\"}}}", "__metadata__ \"k\": not a string"},
        {"{\"__metadata__\":{\"k\":null}}", "__metadata__ \"k\": not a string"},
        {"{\"__metadata__\":{\"k\":\"1\",\"j\":\"\",\"k\":\"1\"}}", "__metadata__ \"k\" appears twice"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", "__metadata__ appears twice"},
        {"{\"__metadata__\":{\"k\":\"\\u0000\"}}", "__metadata__ \"k\""},
        {"{\"__metadata__\":{\"k\":\"\xFE\"}}", "__metadata__ \"k\""},
        {"{\"__metadata__\":{} {}}", "2 bytes after its end"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_header_refused(cases[i].header, 0, cases[i].words);
}

/* `count` copies of `unit` after `before`, then `after`. Freed by the caller. */
static char *repeated(const char *before, const char *unit, size_t count, const char *after)
{
    size_t used = strlen(before), length = strlen(unit);
    char *text = malloc(used + length * count + strlen(after) + 1);

    assert_non_null(text);
    memcpy(text, before, used);
    for (size_t i = 0; i < count; i++, used += length)
        memcpy(text + used, unit, length);
    memcpy(text + used, after, strlen(after) + 1);
    return text;
}

static void refuses_deep_and_long_headers(void **state)
{
    static const struct {
        const char *before, *unit, *after, *words;
        size_t count;
    } cases[] = {
        {"{\"t\":", "[", "}", "\"t\": a value without an end, or nested more than 8 deep", 1000000},
        {"{\"t\":", "{\"a\":", "}", "\"t\": a value without an end, or nested more than 8 deep", 1000000},
        {"{", "{", "", "a name in quotes is missing at byte 1", 1000000},
        {"{\"__metadata__\":", "{\"a\":", "}", "nested more than 8 deep", 1000000},
        {"{\"t\":[0", ",0", "]}", "an entry of 200003 bytes; at most 65536 are supported", 100000},
        {"{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,0],\"shape\":[0", ",0", "]}}", "rank 65; at most 64", 64},
        {"{\"", "n", "\":0}", "nnnnnnnnnn\": its entry is not a JSON object", 1000000},
        {"{\"t\":{\"dtype\":\"", "d", "\",\"shape\":[],\"data_offsets\":[0,1]}}", "unknown dtype \"dddd", 2000},
        {"{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,0],\"shape\":[", "9", "]}}", "tensor \"t\"", 5000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *header = repeated(cases[i].before, cases[i].unit, cases[i].count, cases[i].after);
        assert_header_refused(header, 0, cases[i].words);
        free(header);
    }
    char *rank_64 = repeated("{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,0],\"shape\":[0", ",0", 63, "]}}");
    gmm_safetensors_close(open_ok(file_of(rank_64, 0)));
    free(rank_64);
}

/* A message may be shown on a terminal, and a file may try to talk to it. */
static void cleans_messages(void **state)
{
    static const char *headers[] = {
        "{\"\\u001b[2J\\r\\u0007\x7f\xc2\x9b\":0}",
        "{\"a\":\x1b[2J}",
        "{\"a\":{\"dtype\":\"\\u001b[2J\",\"shape\":[],\"data_offsets\":[0,0]}}",
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        gmm_safetensors *file;
        assert_int_equal(gmm_safetensors_open(file_of(headers[i], 0), &file), GMM_ERR_MALFORMED);
        for (const char *c = gmm_error_detail(); *c; c++)
            assert_true((unsigned char)*c >= 0x20 && *c != 0x7F && (unsigned char)*c != 0x9B);
    }
}

/* ---- size ---- */

/* A hole of 3 GiB: no disk is used, and offsets pass 2^31. */
static void reads_beyond_two_gigabytes(void **state)
{
    const uint64_t elements = (uint64_t)3 << 30;
    const char *path = gmm_temp_path("sparse.safetensors");
    char header[256];
    gmm_tensor tensor;

    (void)state;
    snprintf(header, sizeof header,
             "{\"big\":{\"dtype\":\"U8\",\"shape\":[3,%u],\"data_offsets\":[0,%" PRIu64 "]},\"end\":{\"dtype\":\"U32\","
             "\"shape\":[1],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}}",
             1u << 30, elements, elements, elements + 4);
    uint64_t header_bytes = strlen(header);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, &header_bytes, 8), 8);
    assert_int_equal(write(fd, header, header_bytes), (ssize_t)header_bytes);
    assert_int_equal(pwrite(fd, "\x7b\0\0\0", 4, (off_t)(8 + header_bytes + elements)), 4);
    assert_int_equal(close(fd), 0);

    gmm_safetensors *file = open_ok(path);
    assert_true(gmm_safetensors_find(file, "big", &tensor));
    assert_true(tensor.size_bytes == elements);
    assert_int_equal(((const char *)tensor.data)[elements - 1], 0);
    assert_true(gmm_safetensors_find(file, "end", &tensor));
    assert_int_equal(*(const unsigned char *)tensor.data, 0x7b);
    gmm_safetensors_close(file);
    assert_int_equal(unlink(path), 0);
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* With a linear search in place of an index this would take minutes. */
static void finds_among_many(void **state)
{
    enum {
        COUNT = 100000
    };
    char(*names)[32] = malloc(COUNT * sizeof *names);
    gmm_tensor *tensors = calloc(COUNT, sizeof *tensors), tensor;
    const char *path = gmm_temp_path("many.safetensors");
    gmm_safetensors_writer *writer;
    static const int64_t shape[] = {2};

    (void)state;
    assert_non_null(names);
    assert_non_null(tensors);
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "model.layers.%d.weight", i);
        tensors[i] = (gmm_tensor){.name = names[i], .dtype = GMM_U16, .ndim = 1, .shape = shape};
    }
    assert_int_equal(gmm_safetensors_create(path, tensors, COUNT, NULL, 0, &writer), GMM_OK);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(gmm_safetensors_append(writer, &i, sizeof i), GMM_OK);
    assert_int_equal(gmm_safetensors_finish(writer), GMM_OK);

    double start = seconds();
    gmm_safetensors *file = open_ok(path);
    assert_int_equal(gmm_safetensors_count(file), COUNT);
    double opened = seconds();
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t value;
        assert_true(gmm_safetensors_find(file, names[i], &tensor));
        memcpy(&value, tensor.data, sizeof value);
        assert_int_equal(value, i);
    }
    double found = seconds();
    print_message("%d tensors: opened in %.3f s, found in %.3f s\n", COUNT, opened - start, found - opened);
    assert_true(found - opened < 10);
    gmm_safetensors_close(file);
    free(names);
    free(tensors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_there),
        cmocka_unit_test(reads_files_without_tensors),
        cmocka_unit_test(refuses_null),
        cmocka_unit_test(refuses_what_is_no_file),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(refuses_header_sizes),
        cmocka_unit_test(refuses_bad_json),
        cmocka_unit_test(refuses_bad_entries),
        cmocka_unit_test(refuses_bad_layouts),
        cmocka_unit_test(refuses_bad_metadata),
        cmocka_unit_test(refuses_deep_and_long_headers),
        cmocka_unit_test(cleans_messages),
        cmocka_unit_test(reads_beyond_two_gigabytes),
        cmocka_unit_test(finds_among_many),
    };

    return cmocka_run_group_tests(tests, gmm_temp_folder_make, gmm_temp_folder_remove);
}
