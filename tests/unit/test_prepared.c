/* test_prepared.c - prepared weights: what they say of themselves, what is refused, files, threads that share them. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmocka_test.h"
#include "gathermm/prepared.h"
#include "random.h"
#include "temp_folder.h"

enum {
    EXPERTS = 3,
    N = 40,
    K = 96,
    TOKENS = 5,
    HEADER_BYTES = 4096
};

static float numbers[EXPERTS * N * K], x_data[TOKENS * K];
static uint32_t codes[EXPERTS * N * K / 8];
static uint8_t scales[EXPERTS * N * K / 32];

static const int64_t dense_shape[] = {EXPERTS, K, N}, transposed[] = {N * K, 1, K}, code_shape[] = {EXPERTS, N, K / 8},
                     scale_shape[] = {EXPERTS, N, K / 32}, x_shape[] = {TOKENS, 1, K}, index_shape[] = {TOKENS},
                     out_shape[] = {TOKENS, 1, N};
static const gmm_array dense = {numbers, GMM_F32, 3, dense_shape, transposed, 0};
static const gmm_array w = {codes, GMM_U32, 3, code_shape, NULL, 0}, s = {scales, GMM_U8, 3, scale_shape, NULL, 0};
static const gmm_quantized quantized = {.w = &w, .scales = &s, .mode = "mxfp4"};

static void fill_operands(void)
{
    gmm_random random;

    gmm_random_seed(&random, 1);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        numbers[i] = (float)gmm_random_unit(&random);
    for (size_t i = 0; i < sizeof x_data / sizeof x_data[0]; i++)
        x_data[i] = (float)gmm_random_unit(&random);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        codes[i] = (uint32_t)gmm_random_bits(&random);
    memset(scales, 127, sizeof scales);
}

static gmm_prepared *prepare_ok(const gmm_array *rhs, const gmm_quantized *packed)
{
    gmm_prepared *prepared = NULL;
    gmm_status status = gmm_prepare(NULL, rhs, packed, packed != NULL, &prepared);

    if (status != GMM_OK)
        fail_msg("status %d: %s", (int)status, gmm_error_detail());
    return prepared;
}

static void expect(gmm_status got, gmm_status wanted, const char *words)
{
    if (got != wanted || !strstr(gmm_error_detail(), words))
        fail_msg("status %d, not %d with \"%s\": %s", (int)got, (int)wanted, words, gmm_error_detail());
}

/* Each token times one of the experts. */
static gmm_status multiply(gmm_product product, float *out)
{
    static const int32_t experts[TOKENS] = {2, 0, 1, 2, 0};
    const gmm_array x = {x_data, GMM_F32, 3, x_shape, NULL, 0},
                    index = {(void *)(uintptr_t)experts, GMM_I32, 1, index_shape, NULL, 0};
    gmm_array result = {out, GMM_F32, 3, out_shape, NULL, 0};

    product.size = sizeof product;
    product.lhs = &x;
    product.rhs_indices = &index;
    return gmm_run(NULL, &product, &result);
}

static void says_what_it_is(void **state)
{
    gmm_prepared *prepared = prepare_ok(&dense, NULL);
    gmm_prepared_info info;
    char text[1024];
    const gmm_array x = {x_data, GMM_F32, 2, x_shape + 1, NULL, 0};
    const gmm_product product = {.size = sizeof product, .lhs = &x, .prepared = prepared};

    (void)state;
    gmm_prepared_describe(prepared, &info);
    assert_null(info.mode);
    assert_int_equal(info.dtype, GMM_F32);
    assert_int_equal(info.bits, 32);
    assert_int_equal(info.group_size, 0);
    assert_true(info.transpose);
    assert_int_equal(info.k, K);
    assert_int_equal(info.n, N);
    assert_int_equal(info.batch_ndim, 1);
    assert_int_equal(info.batch_shape[0], EXPERTS);
    assert_int_equal(info.raw_bytes, sizeof numbers);
    assert_int_equal(gmm_prepared_bytes(prepared), EXPERTS * 64 * K * 4); /* 40 columns take the room of 64 */
    assert_false(info.mapped);
    assert_int_equal(gmm_explain(NULL, &product, text, sizeof text), GMM_OK);
    assert_non_null(strstr(text, "weights: F32, along K (dot layout), prepared; 3 of 3 matrices used, 24.6 kB each"));
    gmm_prepared_free(prepared);

    prepared = prepare_ok(NULL, &quantized);
    gmm_prepared_describe(prepared, &info);
    assert_string_equal(info.mode, "mxfp4");
    assert_int_equal(info.dtype, GMM_U8);
    assert_int_equal(info.bits, 4);
    assert_int_equal(info.group_size, 32);
    assert_int_equal(info.raw_bytes, sizeof codes + sizeof scales);
    assert_int_equal(gmm_prepared_bytes(prepared), sizeof codes + EXPERTS * 128); /* scales: 120 bytes a matrix */
    gmm_prepared_free(prepared);
    gmm_prepared_free(NULL);
}

static void keeps_a_copy(void **state)
{
    float raw[TOKENS * N], ours[TOKENS * N];
    gmm_prepared *prepared = prepare_ok(&dense, NULL), *packed = prepare_ok(NULL, &quantized);

    (void)state;
    assert_int_equal(multiply((gmm_product){.rhs = &dense}, raw), GMM_OK);
    memset(numbers, 0xFF, sizeof numbers);
    assert_int_equal(multiply((gmm_product){.prepared = prepared}, ours), GMM_OK);
    assert_memory_equal(raw, ours, sizeof raw);
    assert_int_equal(multiply((gmm_product){.quantized = &quantized, .transpose = true}, raw), GMM_OK);
    memset(codes, 0xFF, sizeof codes);
    assert_int_equal(multiply((gmm_product){.prepared = packed}, ours), GMM_OK);
    assert_memory_equal(raw, ours, sizeof raw);
    fill_operands();
    gmm_prepared_free(prepared);
    gmm_prepared_free(packed);
}

static void refuses_to_prepare(void **state)
{
    static const int64_t huge[] = {INT64_MAX / 8, 3, 5}, zeros[] = {0, 0, 0}, wide[] = {1, INT64_MAX / 8},
                         along_n[] = {0, 1}, empty[] = {INT64_MAX, 0};
    gmm_prepared *untouched = (gmm_prepared *)(uintptr_t)&huge, *prepared = untouched;
    const gmm_array f64 = {numbers, GMM_F64, 3, dense_shape, NULL, 0}, scalar = {numbers, GMM_F32, 0, NULL, NULL, 0},
                    broadcast = {numbers, GMM_F32, 3, huge, zeros, 0}, padded = {numbers, GMM_F32, 2, wide, along_n, 0},
                    large = {numbers, GMM_F32, 2, wide, zeros, 0}, deep = {NULL, GMM_F32, 2, empty, NULL, 0};
    const gmm_quantized unknown = {.w = &w, .scales = &s, .mode = "mxfp5"};

    (void)state;
    expect(gmm_prepare(NULL, &dense, NULL, false, NULL), GMM_ERR_NULL, "prepared is NULL");
    expect(gmm_prepare(NULL, NULL, NULL, false, &prepared), GMM_ERR_ARGUMENT, "neither");
    expect(gmm_prepare(NULL, &dense, &quantized, false, &prepared), GMM_ERR_ARGUMENT, "both");
    expect(gmm_prepare(NULL, &dense, NULL, true, &prepared), GMM_ERR_ARGUMENT, "transpose is for quantized weights");
    expect(gmm_prepare(NULL, &f64, NULL, false, &prepared), GMM_ERR_DTYPE, "rhs is F64");
    expect(gmm_prepare(NULL, &scalar, NULL, false, &prepared), GMM_ERR_SHAPE, "no axes");
    expect(gmm_prepare(NULL, NULL, &unknown, true, &prepared), GMM_ERR_FORMAT, "mxfp5");
    expect(gmm_prepare(NULL, &broadcast, NULL, false, &prepared), GMM_ERR_SIZE, "2^63");
    expect(gmm_prepare(NULL, &padded, NULL, false, &prepared), GMM_ERR_SIZE, "2^63");
    expect(gmm_prepare(NULL, &deep, NULL, false, &prepared), GMM_ERR_SIZE, "2^63");
    expect(gmm_prepare(NULL, &large, NULL, false, &prepared), GMM_ERR_MEMORY, "bytes of prepared weights");
    assert_ptr_equal(prepared, untouched);
    expect(gmm_prepared_save(NULL, "x"), GMM_ERR_NULL, "prepared");
    expect(gmm_prepared_open(NULL, &prepared), GMM_ERR_NULL, "path");
    expect(gmm_prepared_open("x", NULL), GMM_ERR_NULL, "prepared");
    expect(gmm_prepared_verify(NULL), GMM_ERR_NULL, "prepared");
}

/* A product with prepared weights is refused in the words that raw ones get. */
static void refuses_products(void **state)
{
    gmm_prepared *prepared = prepare_ok(&dense, NULL), *packed = prepare_ok(NULL, &quantized);
    static const int64_t shallow_shape[] = {TOKENS, 1, K - 1};
    int32_t seven = 7;
    gmm_array shallow = {x_data, GMM_F32, 3, shallow_shape, NULL, 0}, index = {&seven, GMM_I32, 0, NULL, NULL, 0};
    gmm_array x = {x_data, GMM_F32, 3, x_shape, NULL, 0};
    gmm_product product = {.size = sizeof product, .lhs = &shallow, .prepared = prepared};
    gmm_array_spec spec;
    char raw[1024], text[64];
    float out[TOKENS * N];

    (void)state;
    expect(gmm_result_spec(&product, &spec), GMM_ERR_SHAPE, "lhs has 95 columns and rhs has 96 rows");
    snprintf(raw, sizeof raw, "%s", gmm_error_detail());
    product = (gmm_product){.size = sizeof product, .lhs = &shallow, .rhs = &dense};
    expect(gmm_result_spec(&product, &spec), GMM_ERR_SHAPE, raw);
    product = (gmm_product){.size = sizeof product, .lhs = &shallow, .prepared = packed};
    expect(gmm_result_spec(&product, &spec), GMM_ERR_SHAPE,
           "x has 95 columns; the weights, 40 x 96 and transposed, need 96");
    product = (gmm_product){.size = sizeof product, .lhs = &x, .prepared = prepared, .rhs_indices = &index};
    expect(gmm_explain(NULL, &product, text, sizeof text), GMM_ERR_INDEX, "rhs_indices[0] is 7; there are 3 matrices");
    expect(multiply((gmm_product){.prepared = prepared, .rhs = &dense}, out), GMM_ERR_ARGUMENT, "2 are");
    expect(multiply((gmm_product){.prepared = prepared, .quantized = &quantized}, out), GMM_ERR_ARGUMENT, "2 are");
    expect(multiply((gmm_product){.rhs = NULL}, out), GMM_ERR_ARGUMENT, "0 are");
    expect(multiply((gmm_product){.prepared = packed, .transpose = true}, out), GMM_ERR_ARGUMENT, "made with it");
    gmm_prepared_free(prepared);
    gmm_prepared_free(packed);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* The checksum of prepared_file.c's description, a second time. */
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

static void seal_header(unsigned char *file)
{
    uint64_t sum = chain(file, HEADER_BYTES - 8);

    memcpy(file + HEADER_BYTES - 8, &sum, 8);
}

static void expect_opened(const unsigned char *bytes, size_t size, const char *words)
{
    gmm_prepared *untouched = (gmm_prepared *)(uintptr_t)&size, *prepared = untouched;
    const char *path = gmm_temp_file("hostile", bytes, size);

    expect(gmm_prepared_open(path, &prepared), GMM_ERR_MALFORMED, words);
    assert_non_null(strstr(gmm_error_detail(), path));
    assert_ptr_equal(prepared, untouched);
}

static unsigned char *saved(const gmm_prepared *prepared, size_t *size)
{
    const char *path = gmm_temp_path("good");

    if (gmm_prepared_save(prepared, path) != GMM_OK)
        fail_msg("%s", gmm_error_detail());
    return gmm_temp_read(path, size);
}

/* A field of the header, at an offset of so many bytes, set to a value that no honest writer writes. */
typedef struct lie {
    size_t offset, size;
    int64_t value;
    const char *words;
} lie;

static void expect_lies_found(const unsigned char *good, size_t size, const lie *lies, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned char *bad = malloc(size);
        assert_non_null(bad);
        memcpy(bad, good, size);
        memcpy(bad + lies[i].offset, &lies[i].value, lies[i].size);
        seal_header(bad);
        expect_opened(bad, size, lies[i].words);
        free(bad);
    }
}

static void refuses_hostile_headers(void **state)
{
    static const lie dense_lies[] = {
        {0, 1, 'X', "does not begin with GMMPREP"},
        {8, 4, 2, "version 2 with a header of 4096 bytes; this library reads version 1"},
        {12, 4, 0x04030201, "byte order is another machine's: 0x04030201"},
        {16, 8, 8192, "with a header of 8192 bytes"},
        {24, 8, 7, "announces 7 bytes of weights, and its shape means 73728"},
        {72, 4, 15, "weights of type unknown (15)"},
        {72, 4, GMM_F64, "weights of type F64"},
        {72, 4, 0, "weights of type unknown (0)"},
        {72, 4, -5, "weights of type unknown (-5)"},
        {72, 4, GMM_BF16, "announces 73728 bytes of weights, and its shape means 36864"},
        {96, 4, 2, "layout 2"},
        {100, 4, 2, "vector 2"},
        {100, 4, 1, "a vector of 40 columns"},
        {104, 8, -1, "matrices of -1 x 40"},
        {104, 8, INT64_MAX, "matrices exceed 2^63 bytes"},
        {104, 8, INT64_MAX / 64, "matrices exceed 2^63 bytes"},
        {112, 8, INT64_MIN, "x -9223372036854775808"},
        {112, 8, INT64_MAX, "matrices exceed 2^63 bytes"},
        {120, 8, 0, "blocks of 0"},
        {120, 8, 129, "blocks of 129"},
        {120, 8, 1 << 20, "blocks of 1048576"},
        {128, 8, 63, "63 batch dimensions"},
        {128, 8, -1, "-1 batch dimensions"},
        {136, 8, -3, "batch dimension 0 is -3"},
        {136, 8, INT64_MAX, "matrices exceed 2^63 bytes"},
        {136, 8, 4, "its shape means 98304"},
        {136, 8, 0, "its shape means 0"},
    };
    static const lie packed_lies[] = {
        {40, 8, 0x3470666e, "no format is \"nfp4\""},
        {40, 8, 0x3270666e69666661, "no format is \"affinfp2\""},
        {40, 8, 0x3866786d, "no format is \"mxf8\""},
        {76, 4, GMM_F32, "scales and biases of types 12 and 0"},
        {80, 4, GMM_F32, "scales and biases of types 2 and 12"},
        {84, 4, 16, "groups of 16"},
        {84, 4, 0, "groups of 0"},
        {88, 4, 3, "3 bits"},
        {100, 4, 1, "a vector that is quantized"},
        {104, 8, 95, "rows of 95 are no whole groups of 32"},
        {104, 8, INT64_MAX / 32 * 32, "matrices exceed 2^63 bytes"},
        {96, 4, 0, "rows of 40 are no whole groups of 32"},
    };
    gmm_prepared *prepared = prepare_ok(&dense, NULL), *packed = prepare_ok(NULL, &quantized);
    size_t size;
    unsigned char *good = saved(prepared, &size);

    (void)state;
    expect_lies_found(good, size, dense_lies, sizeof dense_lies / sizeof dense_lies[0]);
    free(good);
    good = saved(packed, &size);
    expect_lies_found(good, size, packed_lies, sizeof packed_lies / sizeof packed_lies[0]);
    memset(good + 40, 'a', 32);
    seal_header(good);
    expect_opened(good, size, "the name of its format has no end");
    free(good);
    gmm_prepared_free(prepared);
    gmm_prepared_free(packed);
}

/* Cut anywhere, longer, any bit of the header turned: refused. A bit of the weights: found by gmm_prepared_verify. */
static void refuses_damaged_files(void **state)
{
    gmm_prepared *prepared = prepare_ok(NULL, &quantized), *opened;
    gmm_random random;
    size_t size;
    unsigned char *good = saved(prepared, &size), *longer = calloc(1, size + 1);

    (void)state;
    gmm_random_start(&random, __func__);
    assert_non_null(longer);
    expect_opened(good, 0, "has 0 bytes; prepared weights begin with 4096");
    expect_opened(good, HEADER_BYTES - 1, "has 4095 bytes");
    expect_opened(good, HEADER_BYTES, "has 4096 bytes and not");
    for (int i = 0; i < 20; i++)
        expect_opened(good, (size_t)gmm_random_between(&random, HEADER_BYTES, (int64_t)size - 1), "and not");
    memcpy(longer, good, size);
    expect_opened(longer, size + 1, "and not");
    for (int i = 0; i < 300; i++) {
        size_t bit = (size_t)gmm_random_between(&random, 8 * 16, 8 * (i % 2 ? 700 : HEADER_BYTES) - 1);
        memcpy(longer, good, size);
        longer[bit / 8] ^= (unsigned char)(1 << bit % 8);
        expect_opened(longer, size, bit < 8 * 24 ? "with a header of" : "its header is damaged: the checksum is 0x");
    }
    for (int i = 0; i < 100; i++) {
        size_t bit = (size_t)gmm_random_between(&random, 8 * HEADER_BYTES, 8 * (int64_t)size - 1);
        memcpy(longer, good, size);
        longer[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_int_equal(gmm_prepared_open(gmm_temp_file("hostile", longer, size), &opened), GMM_OK);
        expect(gmm_prepared_verify(opened), GMM_ERR_MALFORMED, "hostile: its weights are damaged: the checksum is 0x");
        gmm_prepared_free(opened);
    }
    assert_int_equal(gmm_prepared_verify(prepared), GMM_OK);
    free(longer);
    free(good);
    gmm_prepared_free(prepared);
}

static void maps_and_replaces_files(void **state)
{
    gmm_prepared *prepared = prepare_ok(&dense, NULL), *opened, *again;
    const char *path = gmm_temp_path("weights");
    float raw[TOKENS * N], ours[TOKENS * N];
    gmm_prepared_info info;
    int before;

    (void)state;
    assert_int_equal(gmm_prepared_save(prepared, path), GMM_OK);
    assert_int_equal(gmm_prepared_open(path, &opened), GMM_OK);
    gmm_prepared_free(prepared);
    gmm_prepared_describe(opened, &info);
    assert_true(info.mapped);
    assert_int_equal(info.k, K);
    before = gmm_temp_count();
    assert_int_equal(gmm_prepared_save(opened, path), GMM_OK); /* over the file that it is mapped from */
    assert_int_equal(gmm_temp_count(), before);
    assert_int_equal(gmm_prepared_verify(opened), GMM_OK);
    assert_int_equal(gmm_prepared_open(path, &again), GMM_OK);
    assert_int_equal(gmm_prepared_verify(again), GMM_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(multiply((gmm_product){.rhs = &dense}, raw), GMM_OK);
    assert_int_equal(multiply((gmm_product){.prepared = opened}, ours), GMM_OK);
    assert_memory_equal(raw, ours, sizeof raw);
    assert_int_equal(multiply((gmm_product){.prepared = again}, ours), GMM_OK);
    assert_memory_equal(raw, ours, sizeof raw);
    gmm_prepared_free(opened);
    gmm_prepared_free(again);
}

/* A file at its limit stands for a full disk: with SIGXFSZ ignored, write says EFBIG. */
static void leaves_no_half_file(void **state)
{
    gmm_prepared *prepared = prepare_ok(&dense, NULL), *opened = prepared;
    const char *path = gmm_temp_file("old", "old", 3);
    int before = gmm_temp_count();
    struct rlimit old, small;
    size_t size;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    for (rlim_t limit = 0; limit <= 50000; limit += 25000) {
        small = old;
        small.rlim_cur = limit;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        gmm_status status = gmm_prepared_save(prepared, path);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        expect(status, GMM_ERR_FILE, "File too large");
        assert_int_equal(gmm_temp_count(), before);
    }
    unsigned char *kept = gmm_temp_read(path, &size);
    assert_int_equal(size, 3);
    free(kept);
    expect(gmm_prepared_save(prepared, gmm_temp_path("no/folder")), GMM_ERR_FILE, "No such file");
    expect(gmm_prepared_save(prepared, "/dev/null"), GMM_ERR_FILE, "character device");
    expect(gmm_prepared_open(gmm_temp_path("nothing"), &opened), GMM_ERR_FILE, "No such file");
    expect(gmm_prepared_open(gmm_temp_path("."), &opened), GMM_ERR_FILE, "a directory");
    expect(gmm_prepared_open("/dev/zero", &opened), GMM_ERR_FILE, "a character device");
    assert_ptr_equal(opened, prepared);
    gmm_prepared_free(prepared);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

typedef struct {
    const gmm_prepared *prepared;
    const float *expected;
    int differences;
} sharer;

static void *share(void *arg)
{
    sharer *me = arg;
    float out[TOKENS * N];

    for (int i = 0; i < 50; i++) {
        gmm_status status = multiply((gmm_product){.prepared = me->prepared}, out);
        me->differences += status != GMM_OK || memcmp(out, me->expected, sizeof out) != 0;
    }
    return NULL;
}

static void is_shared_by_threads(void **state)
{
    gmm_prepared *prepared = prepare_ok(&dense, NULL);
    float expected[TOKENS * N];
    pthread_t threads[4];
    sharer sharers[4];

    (void)state;
    assert_int_equal(multiply((gmm_product){.rhs = &dense}, expected), GMM_OK);
    for (int i = 0; i < 4; i++) {
        sharers[i] = (sharer){prepared, expected, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, share, &sharers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(sharers[i].differences, 0);
    }
    gmm_prepared_free(prepared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_it_is),         cmocka_unit_test(keeps_a_copy),
        cmocka_unit_test(refuses_to_prepare),      cmocka_unit_test(refuses_products),
        cmocka_unit_test(refuses_hostile_headers), cmocka_unit_test(refuses_damaged_files),
        cmocka_unit_test(maps_and_replaces_files), cmocka_unit_test(leaves_no_half_file),
        cmocka_unit_test(is_shared_by_threads),
    };

    fill_operands();
    return cmocka_run_group_tests(tests, gmm_temp_folder_make, gmm_temp_folder_remove);
}
