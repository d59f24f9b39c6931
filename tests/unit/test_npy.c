/* test_npy.c - npy files: what is read, what is refused and in which words, what is written. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmocka_test.h"
#include "gathermm/io.h"
#include "random.h"
#include "temp_folder.h"

/* ---- helpers ---- */

/* A file of this version and dictionary, with its true size before it, and bytes 0, 1, 2, ... as elements. */
static const char *file_of(int version, const char *dictionary, size_t data_bytes)
{
    static const char magic[] = "\x93NUMPY";
    size_t size = strlen(dictionary), at = version == 1 ? 10 : 12;
    unsigned char *bytes = calloc(at + size + data_bytes, 1);

    assert_non_null(bytes);
    memcpy(bytes, magic, 6);
    bytes[6] = (unsigned char)version;
    for (size_t i = 8; i < at; i++)
        bytes[i] = (unsigned char)(size >> (8 * (i - 8)));
    memcpy(bytes + at, dictionary, size);
    for (size_t i = 0; i < data_bytes; i++)
        bytes[at + size + i] = (unsigned char)i;
    const char *path = gmm_temp_file("case.npy", bytes, at + size + data_bytes);
    free(bytes);
    return path;
}

static gmm_npy *open_ok(const char *path)
{
    gmm_npy *file = NULL;
    gmm_status status = gmm_npy_open(path, &file);

    if (status != GMM_OK)
        fail_msg("%s: status %d: %s", path, (int)status, gmm_error_detail());
    return file;
}

static void assert_refused(const char *path, gmm_status wanted, const char *words)
{
    gmm_npy *file = (gmm_npy *)(uintptr_t)&wanted; /* to see that it is not written */
    gmm_status status = gmm_npy_open(path, &file);

    if (status != wanted || !strstr(gmm_error_detail(), words) || !strstr(gmm_error_detail(), path))
        fail_msg("status %d, not %d with \"%s\": %s", (int)status, (int)wanted, words, gmm_error_detail());
    assert_ptr_equal(file, &wanted);
}

#define DICTIONARY(descr, order, shape) "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }"

/* ---- reading ---- */

static void reads_every_type(void **state)
{
    static const struct {
        const char *descr;
        gmm_dtype dtype;
        size_t bytes;
    } cases[] = {
        {"|b1", GMM_BOOL, 1}, {"|u1", GMM_U8, 1},  {"|i1", GMM_I8, 1},  {"<u2", GMM_U16, 2},  {"<i2", GMM_I16, 2},
        {"<u4", GMM_U32, 4},  {"<i4", GMM_I32, 4}, {"<u8", GMM_U64, 8}, {"<i8", GMM_I64, 8},  {"<f2", GMM_F16, 2},
        {"<f4", GMM_F32, 4},  {"<f8", GMM_F64, 8}, {"<c8", GMM_C64, 8}, {"<V2", GMM_BF16, 2}, {"|V2", GMM_BF16, 2},
        {"<u1", GMM_U8, 1},   {">i1", GMM_I8, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int version = 1; version <= 3; version++) {
            char dictionary[128];
            gmm_array array;
            snprintf(dictionary, sizeof dictionary, DICTIONARY("%s", "False", "(2, 3)") " \n", cases[i].descr);
            gmm_npy *file = open_ok(file_of(version, dictionary, 6 * cases[i].bytes));
            gmm_npy_array(file, &array);
            assert_int_equal(array.dtype, cases[i].dtype);
            assert_int_equal(array.ndim, 2);
            assert_int_equal(array.shape[0], 2);
            assert_int_equal(array.shape[1], 3);
            assert_null(array.strides);
            for (size_t b = 0; b < 6 * cases[i].bytes; b++)
                assert_int_equal(((const unsigned char *)array.data)[b], b);
            gmm_npy_close(file);
        }
    gmm_npy_close(NULL);
}

static void reads_layouts_and_spellings(void **state)
{
    gmm_array array;
    gmm_npy *file = open_ok(file_of(1, DICTIONARY("<i2", "True", "(2, 3, 4)"), 48));

    (void)state;
    gmm_npy_array(file, &array);
    assert_int_equal(array.strides[0], 1);
    assert_int_equal(array.strides[1], 2);
    assert_int_equal(array.strides[2], 6);
    gmm_npy_close(file);

    file = open_ok(file_of(1, DICTIONARY("<f4", "True", "()"), 4));
    gmm_npy_array(file, &array);
    assert_int_equal(array.ndim, 0);
    gmm_npy_close(file);

    /* Strides of an array without elements could exceed 64 bits; nobody needs them. */
    file = open_ok(file_of(1, DICTIONARY("<f4", "True", "(9223372036854775807, 9223372036854775807, 0)"), 0));
    gmm_npy_array(file, &array);
    assert_true(array.shape[1] == INT64_MAX);
    assert_null(array.strides);
    gmm_npy_close(file);

    gmm_npy_close(open_ok(file_of(1, "{\"shape\":(5L,),\"descr\":\"|u1\",\"fortran_order\":False}", 5)));
    gmm_npy_close(open_ok(file_of(2, " { 'shape' : ( 5 , 1 ) , 'fortran_order' :\tTrue , 'descr':\n'|u1' } ", 5)));
}

static void refuses_bad_files(void **state)
{
    static const struct {
        const char *dictionary, *words; /* 12 bytes of data */
    } cases[] = {
        {"", "not a Python dictionary"},
        {"[]", "not a Python dictionary"},
        {"{", "not a Python dictionary"},
        {"{}", "no key 'descr'"},
        {"{'descr': '<f4'}", "no key 'fortran_order'"},
        {"{'descr': '<f4', 'fortran_order': False}", "no key 'shape'"},
        {"{'descr': '<f4', 'descr': '<f4'}", "twice the key 'descr'"},
        {"{'descr': '<f4', 'more': 1}", "an unknown key 'more'"},
        {"{'descr': '<f4' 'shape': (3,)}", "not a Python dictionary"},
        {"{'descr' '<f4'}", "not a Python dictionary"},
        {"{descr: '<f4'}", "not a Python dictionary"},
        {"{'descr\": '<f4'}", "not a Python dictionary"},
        {"{'a key much longer than any that there may be': 1}", "not a Python dictionary"},
        {DICTIONARY("<f4", "False", "(3,)") "x", "text after the header's dictionary"},
        {DICTIONARY("<f4", "False", "(3,)") "{}", "text after the header's dictionary"},
        {DICTIONARY(">f4", "False", "(3,)"), "descr '>f4': big-endian elements are not supported"},
        {DICTIONARY("=f4", "False", "(3,)"), "descr '=f4' is not an element type that is supported"},
        {DICTIONARY("f4", "False", "(3,)"), "descr 'f4' is not"},
        {DICTIONARY("|f4", "False", "(3,)"), "descr '|f4' is not"},
        {DICTIONARY("|O", "False", "(3,)"), "descr '|O' is not"},
        {DICTIONARY("<V1", "False", "(3,)"), "descr '<V1' is not"},
        {DICTIONARY("<c16", "False", "(3,)"), "descr '<c16' is not"},
        {DICTIONARY("<f16", "False", "(3,)"), "descr '<f16' is not"},
        {DICTIONARY("<U3", "False", "(3,)"), "descr '<U3' is not"},
        {DICTIONARY("<M8[ns]", "False", "(3,)"), "descr '<M8[ns]' is not"},
        {DICTIONARY("", "False", "(3,)"), "descr '' is not"},
        {DICTIONARY("\x1b[2J", "False", "(3,)"), "descr '?[2J' is not"},
        {DICTIONARY("<f4aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "False", "(3,)"), "descr is not a short string"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", "arrays of structures"},
        {DICTIONARY("<f4", "false", "(3,)"), "fortran_order is neither True nor False"},
        {DICTIONARY("<f4", "0", "(3,)"), "fortran_order is neither True nor False"},
        {DICTIONARY("<f4", "Tru", "(3,)"), "fortran_order is neither True nor False"},
        {DICTIONARY("<f4", "False", "3"), "shape is not a tuple"},
        {DICTIONARY("<f4", "False", "[3]"), "shape is not a tuple"},
        {DICTIONARY("<f4", "False", "(3)"), "shape is not a tuple"},
        {DICTIONARY("<f4", "False", "(,)"), "shape[0] is not an integer"},
        {DICTIONARY("<f4", "False", "(3,,)"), "shape[1] is not an integer"},
        {DICTIONARY("<f4", "False", "(3 1)"), "shape[1] is not an integer"},
        {DICTIONARY("<f4", "False", "(1, -3)"), "shape[1] is not an integer"},
        {DICTIONARY("<f4", "False", "(3.0,)"), "shape[1] is not an integer"},
        {DICTIONARY("<f4", "False", "(None,)"), "shape[0] is not an integer"},
        {DICTIONARY("<f4", "False", "(9223372036854775808,)"), "shape[0] is not an integer"},
        {DICTIONARY("<f4", "False", "(18446744073709551619,)"), "shape[0] is not an integer"},
        {DICTIONARY("<f4", "False", "(4611686018427387904, 4)"), "more than 2^63 bits"},
        {DICTIONARY("<f4", "False", "(4611686018427387907,)"), "more than 2^63 bits"},
        {DICTIONARY("<f4", "False", "(4,)"), "shape (4) of F32 takes 16 bytes; the file has 12"},
        {DICTIONARY("<f4", "False", "(2,)"), "shape (2) of F32 takes 8 bytes; the file has 12"},
        {DICTIONARY("<f4", "False", "(0,)"), "takes 0 bytes; the file has 12"},
        {DICTIONARY("<f4", "False",
                    "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
                    "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,3)"),
         "more than 64 sizes"},
    };
    gmm_npy *file;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(file_of(1 + (int)i % 3, cases[i].dictionary, 12), GMM_ERR_MALFORMED, cases[i].words);
    assert_refused(file_of(4, DICTIONARY("<f4", "False", "(3,)"), 12), GMM_ERR_MALFORMED, "npy version 4.0");
    assert_refused(file_of(0, DICTIONARY("<f4", "False", "(3,)"), 12), GMM_ERR_MALFORMED, "npy version 0.0");
    assert_refused(gmm_temp_file("x", "PK\x03\x04 an npz file is a zip", 25), GMM_ERR_MALFORMED, "not an npy file");
    assert_refused(gmm_temp_path("absent"), GMM_ERR_FILE, "No such file");
    assert_refused(gmm_temp_path("."), GMM_ERR_FILE, "a directory");
    assert_int_equal(gmm_npy_open(NULL, &file), GMM_ERR_NULL);
    assert_int_equal(gmm_npy_open("x", NULL), GMM_ERR_NULL);
}

static void refuses_every_truncation(void **state)
{
    for (int version = 1; version <= 2; version++) {
        size_t size;
        unsigned char *bytes = gmm_temp_read(file_of(version, DICTIONARY("<f4", "False", "(3,)"), 12), &size);
        for (size_t kept = 0; kept < size; kept++)
            assert_refused(gmm_temp_file("cut.npy", bytes, kept), GMM_ERR_MALFORMED, "");
        for (size_t i = 0; i < 8 * size; i++) {
            gmm_npy *file = NULL;
            bytes[i / 8] ^= (unsigned char)(1 << i % 8);
            (void)gmm_npy_open(gmm_temp_file("bit.npy", bytes, size), &file);
            gmm_npy_close(file);
            bytes[i / 8] ^= (unsigned char)(1 << i % 8);
        }
        memset(bytes + 8, 0xFF, version == 1 ? 2 : 4);
        assert_refused(gmm_temp_file("big.npy", bytes, size), GMM_ERR_MALFORMED,
                       version == 1 ? "a header of 65535 bytes" : "a header of 4294967295 bytes");
        free(bytes);
    }
    (void)state;
}

/* ---- writing ---- */

/* What NumPy 2.4 writes for the same arrays. */
static void writes_as_numpy_does(void **state)
{
    static const int64_t three_five[] = {3, 1, 5}, one[] = {3}, large[] = {0, 1000000000};
    static const struct {
        gmm_array array;
        const char *header;
        size_t header_bytes;
    } cases[] = {
        {{.dtype = GMM_C64, .ndim = 0}, DICTIONARY("<c8", "False", "()"), 128},
        {{.dtype = GMM_BOOL, .ndim = 1, .shape = one}, DICTIONARY("|b1", "False", "(3,)"), 128},
        {{.dtype = GMM_BF16, .ndim = 1, .shape = one}, DICTIONARY("<V2", "False", "(3,)"), 128},
        {{.dtype = GMM_I64, .ndim = 3, .shape = three_five}, DICTIONARY("<i8", "False", "(3, 1, 5)"), 128},
        {{.dtype = GMM_F16, .ndim = 2, .shape = large}, DICTIONARY("<f2", "False", "(0, 1000000000)"), 128},
    };
    unsigned char data[120];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 7);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = gmm_temp_path("numpy.npy");
        gmm_array array = cases[i].array;
        size_t size, text = strlen(cases[i].header);
        array.data = data;
        assert_int_equal(gmm_npy_write(path, &array), GMM_OK);
        unsigned char *bytes = gmm_temp_read(path, &size);
        assert_memory_equal(bytes, "\x93NUMPY\x01\0\x76\0", 10);
        assert_memory_equal(bytes + 10, cases[i].header, text);
        for (size_t b = 10 + text; b < cases[i].header_bytes - 1; b++)
            assert_int_equal(bytes[b], ' ');
        assert_int_equal(bytes[cases[i].header_bytes - 1], '\n');
        assert_memory_equal(bytes + cases[i].header_bytes, data, size - cases[i].header_bytes);
        free(bytes);
        gmm_npy_close(open_ok(path));
        assert_int_equal(unlink(path), 0);
    }
}

static void writes_any_strides(void **state)
{
    static const gmm_dtype dtypes[] = {GMM_BOOL, GMM_U8,  GMM_I8,  GMM_U16,  GMM_I16, GMM_U32, GMM_I32,
                                       GMM_U64,  GMM_I64, GMM_F16, GMM_BF16, GMM_F32, GMM_F64, GMM_C64};
    enum {
        ELEMENTS = 4096
    };
    unsigned char *memory = malloc(ELEMENTS * 8);
    gmm_random random;

    (void)state;
    assert_non_null(memory);
    gmm_random_start(&random, "writes_any_strides");
    for (size_t i = 0; i < ELEMENTS * 8; i++)
        memory[i] = (unsigned char)gmm_random_bits(&random);
    for (int64_t round = 0; round < gmm_test_rounds(300); round++) {
        gmm_dtype dtype = dtypes[gmm_random_between(&random, 0, 13)];
        int64_t shape[4], strides[4], lowest = 0, highest = 0, count = 1;
        int32_t ndim = (int32_t)gmm_random_between(&random, 0, 4);
        size_t element_bytes = (size_t)gmm_dtype_bits(dtype) / 8, at = 0;
        for (int32_t d = 0; d < ndim; d++) {
            shape[d] = gmm_random_between(&random, 0, 6);
            strides[d] = gmm_random_between(&random, -60, 60);
            int64_t reach = (shape[d] - 1) * strides[d];
            lowest += shape[d] && reach < 0 ? reach : 0;
            highest += shape[d] && reach > 0 ? reach : 0;
            count *= shape[d];
        }
        int64_t first = gmm_random_between(&random, -lowest, ELEMENTS - 1 - highest);
        gmm_array array = {memory, dtype, ndim, shape, strides, (uint64_t)first * element_bytes}, read;
        const char *path = gmm_temp_path("strides.npy");
        assert_int_equal(gmm_npy_write(path, &array), GMM_OK);

        gmm_npy *file = open_ok(path);
        gmm_npy_array(file, &read);
        assert_int_equal(read.dtype, dtype);
        assert_int_equal(read.ndim, ndim);
        if (ndim)
            assert_memory_equal(read.shape, shape, (size_t)ndim * sizeof *shape);
        for (int64_t flat = 0; flat < count; flat++, at += element_bytes) {
            int64_t offset = first, rest = flat;
            for (int32_t d = ndim - 1; d >= 0; rest /= shape[d], d--)
                offset += rest % shape[d] * strides[d];
            assert_memory_equal((const char *)read.data + at, memory + (size_t)offset * element_bytes, element_bytes);
        }
        gmm_npy_close(file);
    }
    free(memory);
}

/* Reading and writing the same name: the mapped old file stays as it was. */
static void replaces_the_file_it_reads(void **state)
{
    const char *path = file_of(1, DICTIONARY("<i2", "True", "(2, 3)"), 12);
    static const unsigned char row_major[] = {0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11};
    gmm_npy *file = open_ok(path), *again;
    gmm_array array;

    (void)state;
    for (int i = 0; i < 2; i++) {
        gmm_npy_array(file, &array);
        assert_int_equal(gmm_npy_write(path, &array), GMM_OK);
        again = open_ok(path);
        gmm_npy_close(file);
        file = again;
        gmm_npy_array(file, &array);
        assert_null(array.strides);
        assert_memory_equal(array.data, row_major, sizeof row_major);
    }
    gmm_npy_close(file);
}

static void refuses_to_write(void **state)
{
    static const int64_t shape[] = {2, 3}, negative[] = {-1}, huge[] = {INT64_MAX, 2};
    char data[64] = {0};
    const gmm_array good = {.data = data, .dtype = GMM_F32, .ndim = 2, .shape = shape};
    const char *path = gmm_temp_file("kept.npy", "old", 3);
    int before = gmm_temp_count();
    gmm_array array = good;
    size_t size;

    (void)state;
    assert_int_equal(gmm_npy_write(NULL, &good), GMM_ERR_NULL);
    assert_int_equal(gmm_npy_write(path, NULL), GMM_ERR_NULL);
    array.data = NULL;
    assert_int_equal(gmm_npy_write(path, &array), GMM_ERR_NULL);
    array = good;
    for (int dtype = -1; dtype < 40; dtype++) {
        array.dtype = (gmm_dtype)dtype;
        if (dtype >= GMM_BOOL && dtype <= GMM_C64)
            continue;
        assert_int_equal(gmm_npy_write(path, &array), GMM_ERR_DTYPE);
    }
    array = (gmm_array){.data = data, .dtype = GMM_F32, .ndim = 1, .shape = negative};
    assert_int_equal(gmm_npy_write(path, &array), GMM_ERR_SHAPE);
    array = (gmm_array){.data = data, .dtype = GMM_F32, .ndim = 65, .shape = shape};
    assert_int_equal(gmm_npy_write(path, &array), GMM_ERR_SHAPE);
    array = (gmm_array){.data = data, .dtype = GMM_F32, .ndim = 2, .shape = huge};
    assert_int_equal(gmm_npy_write(path, &array), GMM_ERR_SIZE);
    assert_int_equal(gmm_npy_write(gmm_temp_path("no/folder.npy"), &good), GMM_ERR_FILE);
    assert_int_equal(gmm_npy_write("/dev/null", &good), GMM_ERR_FILE);
    assert_int_equal(gmm_temp_count(), before);

    unsigned char *bytes = gmm_temp_read(path, &size);
    assert_int_equal(size, 3);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_type),           cmocka_unit_test(reads_layouts_and_spellings),
        cmocka_unit_test(refuses_bad_files),          cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(writes_as_numpy_does),       cmocka_unit_test(writes_any_strides),
        cmocka_unit_test(replaces_the_file_it_reads), cmocka_unit_test(refuses_to_write),
    };

    return cmocka_run_group_tests(tests, gmm_temp_folder_make, gmm_temp_folder_remove);
}
