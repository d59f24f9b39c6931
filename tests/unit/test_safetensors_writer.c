/* test_safetensors_writer.c - safetensors files: what is written, what is refused, and that no half file stays. */
/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmocka_test.h"
#include "gathermm/io.h"
#include "random.h"
#include "temp_folder.h"

static gmm_safetensors *open_ok(const char *path)
{
    gmm_safetensors *file = NULL;
    gmm_status status = gmm_safetensors_open(path, &file);

    if (status != GMM_OK)
        fail_msg("%s: status %d: %s", path, (int)status, gmm_error_detail());
    return file;
}

static void writes_the_python_layout(void **state)
{
    /* What safetensors 0.8.0 (Python) writes for these tensors in this order. */
    static const char header[] =
        "{\"__metadata__\":{\"z\":\"1\",\"a\":\"/\"},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"c\\\"\xc3\xa9\\n/\x7f\\u001f\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[8,12]},"
        "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[12,15]},"
        "\"d\":{\"dtype\":\"BOOL\",\"shape\":[0,2],\"data_offsets\":[15,15]}}";
    static const int64_t two[] = {2}, three[] = {3}, none[] = {0, 2};
    static const gmm_tensor tensors[] = {{.name = "b", .dtype = GMM_F32, .ndim = 1, .shape = two},
                                         {.name = "c\"\xc3\xa9\n/\x7f\x1f", .dtype = GMM_F32},
                                         {.name = "a", .dtype = GMM_U8, .ndim = 1, .shape = three},
                                         {.name = "d", .dtype = GMM_BOOL, .ndim = 2, .shape = none}};
    static const char *const metadata[] = {"z", "1", "a", "/"};
    const char *path = gmm_temp_path("python.safetensors");
    gmm_safetensors_writer *writer;
    uint64_t header_bytes;
    size_t size, padded = (sizeof header - 1 + 7) / 8 * 8;

    (void)state;
    assert_int_equal(gmm_safetensors_create(path, tensors, 4, metadata, 2, &writer), GMM_OK);
    assert_int_equal(gmm_safetensors_append(writer, "0123456", 7), GMM_OK);
    assert_int_equal(gmm_safetensors_append(writer, NULL, 0), GMM_OK);
    assert_int_equal(gmm_safetensors_append(writer, "789abcde", 8), GMM_OK);
    assert_int_equal(access(path, F_OK), -1); /* nothing under this name until the end */
    assert_int_equal(gmm_safetensors_finish(writer), GMM_OK);

    unsigned char *bytes = gmm_temp_read(path, &size);
    assert_int_equal(size, 8 + padded + 15);
    memcpy(&header_bytes, bytes, 8);
    assert_int_equal(header_bytes, padded);
    assert_memory_equal(bytes + 8, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < padded; i++)
        assert_int_equal(bytes[8 + i], ' ');
    assert_memory_equal(bytes + 8 + padded, "0123456789abcde", 15);
    free(bytes);
    gmm_safetensors_close(open_ok(path));
    assert_int_equal(unlink(path), 0);
}

/* Every type, pieces of every size around the writer's buffer, and back. */
static void writes_and_reads_back(void **state)
{
    const char *path = gmm_temp_path("back.safetensors");
    gmm_tensor tensors[32], tensor;
    int64_t shapes[32][3];
    char names[32][16];
    gmm_safetensors_writer *writer;
    gmm_random random;
    size_t count = 0, total = 0;

    (void)state;
    gmm_random_start(&random, "writes_and_reads_back");
    for (int dtype = 0; dtype < 40; dtype++) {
        if (!gmm_dtype_name((gmm_dtype)dtype))
            continue;
        shapes[count][0] = gmm_random_between(&random, 0, 50);
        shapes[count][1] = gmm_random_between(&random, 1, 300);
        shapes[count][2] = 8; /* whole bytes of any type */
        snprintf(names[count], sizeof names[count], "%s", gmm_dtype_name((gmm_dtype)dtype));
        tensors[count] = (gmm_tensor){names[count], (gmm_dtype)dtype, 3, shapes[count], NULL, 0};
        total += (size_t)(shapes[count][0] * shapes[count][1] * gmm_dtype_bits((gmm_dtype)dtype));
        count++;
    }
    unsigned char *data = malloc(total + 1);
    assert_non_null(data);
    for (size_t i = 0; i < total; i++)
        data[i] = (unsigned char)gmm_random_bits(&random);
    assert_int_equal(gmm_safetensors_create(path, tensors, count, NULL, 0, &writer), GMM_OK);
    for (size_t at = 0; at < total;) {
        size_t piece = (size_t)gmm_random_between(&random, 0, gmm_random_chance(&random, 20) ? 200000 : 2000);
        piece = piece < total - at ? piece : total - at;
        assert_int_equal(gmm_safetensors_append(writer, data + at, piece), GMM_OK);
        at += piece;
    }
    assert_int_equal(gmm_safetensors_finish(writer), GMM_OK);

    gmm_safetensors *file = open_ok(path);
    size_t at = 0;
    assert_int_equal(gmm_safetensors_count(file), count);
    for (size_t i = 0; i < count; i++) {
        assert_true(gmm_safetensors_find(file, names[i], &tensor));
        assert_int_equal(tensor.dtype, tensors[i].dtype);
        assert_memory_equal(tensor.shape, shapes[i], sizeof shapes[i]);
        assert_memory_equal(tensor.data, data + at, tensor.size_bytes);
        at += tensor.size_bytes;
    }
    assert_int_equal(at, total);
    gmm_safetensors_close(file);
    free(data);
    assert_int_equal(unlink(path), 0);
}

static void assert_create_refused(const gmm_tensor *tensors, size_t count, const char *const *metadata,
                                  size_t metadata_count, gmm_status wanted, const char *words)
{
    gmm_safetensors_writer *writer = (gmm_safetensors_writer *)(uintptr_t)&wanted;
    int before = gmm_temp_count();
    gmm_status status =
        gmm_safetensors_create(gmm_temp_path("refused.safetensors"), tensors, count, metadata, metadata_count, &writer);

    if (status != wanted || !strstr(gmm_error_detail(), words))
        fail_msg("status %d, not %d with \"%s\": %s", (int)status, (int)wanted, words, gmm_error_detail());
    assert_ptr_equal(writer, &wanted);
    assert_int_equal(gmm_temp_count(), before);
}

static void refuses_to_write(void **state)
{
    static const int64_t seven[] = {7}, negative[] = {1, -1}, huge[] = {INT64_MAX}, third[] = {INT64_MAX / 24};
    static const gmm_tensor good = {.name = "t", .dtype = GMM_U8, .ndim = 1, .shape = seven};
    static const char *const metadata[] = {"k", "1", "k", "2"}, *const bad[] = {"k", "\xFF"},
                             *const none[] = {"k", NULL};
    gmm_tensor tensors[3] = {good, good, good};
    gmm_safetensors_writer *writer;

    (void)state;
    assert_int_equal(gmm_safetensors_create(NULL, &good, 1, NULL, 0, &writer), GMM_ERR_NULL);
    assert_int_equal(gmm_safetensors_create("x", NULL, 1, NULL, 0, &writer), GMM_ERR_NULL);
    assert_int_equal(gmm_safetensors_create("x", &good, 1, NULL, 1, &writer), GMM_ERR_NULL);
    assert_int_equal(gmm_safetensors_create("x", &good, 1, NULL, 0, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_safetensors_append(NULL, "", 0), GMM_ERR_NULL);
    assert_int_equal(gmm_safetensors_finish(NULL), GMM_ERR_NULL);
    gmm_safetensors_abandon(NULL);

    assert_create_refused(tensors, 2, NULL, 0, GMM_ERR_ARGUMENT, "two tensors are named \"t\"");
    assert_create_refused(NULL, 0, metadata, 2, GMM_ERR_ARGUMENT, "two metadata entries are named \"k\"");
    assert_create_refused(NULL, 0, bad, 1, GMM_ERR_ARGUMENT, "metadata string 1 is not UTF-8");
    assert_create_refused(NULL, 0, none, 1, GMM_ERR_NULL, "metadata[1] is NULL");
    tensors[0].name = "__metadata__";
    assert_create_refused(tensors, 1, NULL, 0, GMM_ERR_ARGUMENT, "reserved name");
    tensors[0].name = "a\xC3";
    assert_create_refused(tensors, 1, NULL, 0, GMM_ERR_ARGUMENT, "the name of tensor 0 is not UTF-8");
    tensors[0].name = NULL;
    assert_create_refused(tensors, 1, NULL, 0, GMM_ERR_NULL, "tensor 0 has no name");
    tensors[0] = (gmm_tensor){.name = "t", .dtype = (gmm_dtype)15, .ndim = 1, .shape = seven};
    assert_create_refused(tensors, 1, NULL, 0, GMM_ERR_DTYPE, "15 is not an element type");
    tensors[0] = (gmm_tensor){.name = "t", .dtype = GMM_U8, .ndim = 65, .shape = seven};
    assert_create_refused(tensors, 1, NULL, 0, GMM_ERR_SHAPE, "rank 65");
    tensors[0].ndim = -1;
    assert_create_refused(tensors, 1, NULL, 0, GMM_ERR_SHAPE, "rank -1");
    tensors[0] = (gmm_tensor){.name = "t", .dtype = GMM_U8, .ndim = 1};
    assert_create_refused(tensors, 1, NULL, 0, GMM_ERR_NULL, "shape is NULL");
    tensors[0] = (gmm_tensor){.name = "t", .dtype = GMM_U8, .ndim = 2, .shape = negative};
    assert_create_refused(tensors, 1, NULL, 0, GMM_ERR_SHAPE, "shape[1] is -1");
    tensors[0] = (gmm_tensor){.name = "t", .dtype = GMM_U8, .ndim = 1, .shape = huge};
    assert_create_refused(tensors, 1, NULL, 0, GMM_ERR_SIZE, "more than 2^63");
    tensors[0] = (gmm_tensor){.name = "t", .dtype = GMM_F4, .ndim = 1, .shape = seven};
    assert_create_refused(tensors, 1, NULL, 0, GMM_ERR_SHAPE, "28 bits of F4 elements are not whole bytes");

    /* Legal one by one: the sum of sizes is what counts. */
    static char names[24][16];
    gmm_tensor many[24];
    for (int i = 0; i < 24; i++) {
        snprintf(names[i], sizeof names[i], "%d", i);
        many[i] = (gmm_tensor){.name = names[i], .dtype = GMM_U16, .ndim = 1, .shape = third};
    }
    assert_create_refused(many, 24, NULL, 0, GMM_ERR_SIZE, "its tensors have more than 2^63 bytes");
}

static void leaves_no_half_file(void **state)
{
    static const int64_t seven[] = {7};
    static const gmm_tensor tensor = {.name = "t", .dtype = GMM_U8, .ndim = 1, .shape = seven};
    const char *path = gmm_temp_file("kept.safetensors", "old", 3);
    gmm_safetensors_writer *writer;
    int before = gmm_temp_count();
    size_t size;

    (void)state;
    assert_int_equal(gmm_safetensors_create(path, &tensor, 1, NULL, 0, &writer), GMM_OK);
    assert_int_equal(gmm_safetensors_append(writer, "1234", 4), GMM_OK);
    assert_int_equal(gmm_safetensors_append(writer, "5678", 4), GMM_ERR_SIZE);
    assert_non_null(strstr(gmm_error_detail(), "4 more bytes after 4; its tensors take 7"));
    assert_int_equal(gmm_safetensors_append(writer, NULL, 3), GMM_ERR_NULL);
    assert_int_equal(gmm_safetensors_append(writer, "56", 2), GMM_OK);
    assert_int_equal(gmm_safetensors_finish(writer), GMM_ERR_SIZE);
    assert_non_null(strstr(gmm_error_detail(), "6 bytes of data; its tensors take 7"));
    assert_int_equal(gmm_temp_count(), before);

    assert_int_equal(gmm_safetensors_create(path, &tensor, 1, NULL, 0, &writer), GMM_OK);
    assert_int_equal(gmm_safetensors_append(writer, "1234567", 7), GMM_OK);
    gmm_safetensors_abandon(writer);
    assert_int_equal(gmm_temp_count(), before);

    /* A name where no file can be: nothing is left either. */
    assert_int_equal(gmm_safetensors_create(gmm_temp_path("no/folder"), &tensor, 1, NULL, 0, &writer), GMM_ERR_FILE);
    assert_int_equal(gmm_safetensors_create(gmm_temp_path("."), &tensor, 1, NULL, 0, &writer), GMM_ERR_FILE);
    assert_int_equal(gmm_safetensors_create("/dev/null", &tensor, 1, NULL, 0, &writer), GMM_ERR_FILE);
    assert_int_equal(gmm_safetensors_create("", &tensor, 1, NULL, 0, &writer), GMM_ERR_FILE);
    assert_int_equal(gmm_temp_count(), before);

    /* The name becomes a folder while the file is written: the rename fails. */
    const char *folder = gmm_temp_path("folder");
    assert_int_equal(gmm_safetensors_create(folder, &tensor, 1, NULL, 0, &writer), GMM_OK);
    assert_int_equal(gmm_safetensors_append(writer, "1234567", 7), GMM_OK);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(gmm_safetensors_finish(writer), GMM_ERR_FILE);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(gmm_temp_count(), before);

    unsigned char *bytes = gmm_temp_read(path, &size);
    assert_int_equal(size, 3);
    assert_memory_equal(bytes, "old", 3);
    free(bytes);
    assert_int_equal(unlink(path), 0);
}

/* A file at its limit stands for a full disk: with SIGXFSZ ignored, write says EFBIG. */
static void reports_a_full_disk(void **state)
{
    enum {
        TOTAL = 1 << 20
    };
    static const int64_t shape[] = {TOTAL};
    static const gmm_tensor tensor = {.name = "t", .dtype = GMM_U8, .ndim = 1, .shape = shape};
    static const char data[TOTAL];
    struct rlimit old, small;
    gmm_safetensors_writer *writer;
    int before = gmm_temp_count();

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 500000;
    for (int pieces = 1; pieces <= 1024; pieces *= 32) {
        gmm_status status = GMM_OK, finished;
        assert_int_equal(gmm_safetensors_create(gmm_temp_path("full"), &tensor, 1, NULL, 0, &writer), GMM_OK);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        for (int i = 0; i < pieces && status == GMM_OK; i++)
            status = gmm_safetensors_append(writer, data, TOTAL / (size_t)pieces);
        bool told = strstr(gmm_error_detail(), "File too large") != NULL;
        finished = gmm_safetensors_finish(writer);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, GMM_ERR_FILE);
        assert_true(told);
        assert_int_equal(finished, GMM_ERR_FILE);
        assert_int_equal(gmm_temp_count(), before);
    }
}

static void replaces_files_and_follows_links(void **state)
{
    const char *path = gmm_temp_file("real.safetensors", "old", 3), *link = gmm_temp_path("link.safetensors");
    gmm_safetensors_writer *writer;
    struct stat info;
    mode_t mask = umask(027);

    (void)state;
    assert_int_equal(symlink("real.safetensors", link), 0);
    assert_int_equal(gmm_safetensors_create(link, NULL, 0, NULL, 0, &writer), GMM_OK);
    assert_int_equal(gmm_safetensors_finish(writer), GMM_OK);
    umask(mask);
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    assert_int_equal(info.st_size, 16); /* "{}", padded */
    gmm_safetensors_close(open_ok(path));
    assert_int_equal(unlink(link), 0);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_python_layout), cmocka_unit_test(writes_and_reads_back),
        cmocka_unit_test(refuses_to_write),         cmocka_unit_test(leaves_no_half_file),
        cmocka_unit_test(reports_a_full_disk),      cmocka_unit_test(replaces_files_and_follows_links),
    };

    return cmocka_run_group_tests(tests, gmm_temp_folder_make, gmm_temp_folder_remove);
}
