/* test_blas_calls.c - calls as the guard sees them: lines, overlap, elements, trials, and .gmmcall files whole and
 * broken. */
/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blas/audit.h"
#include "blas/audit_memory.h"
#include "blas/call_file.h"
#include "blas/call_lines.h"
#include "cmocka_test.h"
#include "gathermm/guard.h"
#include "temp_folder.h"

enum {
    ROOM = 1 << 16
};

static _Alignas(64) double rooms[GMM_BLAS_OPERANDS][ROOM / sizeof(double)];

/* A legal call of any routine, of small sizes. */
static gmm_blas_call any_call(gmm_audit_random *random)
{
    static const char *const flags[] = {"LR", "UL", "NTC", "NTC", "NU"};
    gmm_blas_call c = {.routine = NULL};
    size_t count = 0;

    while (gmm_blas_routine_at(count))
        count++;
    do
        c.routine = gmm_blas_routine_at((size_t)gmm_audit_below(random, (int64_t)count));
    while (c.routine->complex_value); /* which the guard does not see */
    c.type = c.routine->types[gmm_audit_below(random, (int64_t)strlen(c.routine->types))];
    c.fortran = c.routine->fortran_void && gmm_audit_below(random, 2);
    c.row_major = gmm_audit_below(random, 2);
    c.side = flags[0][gmm_audit_below(random, 2)];
    c.uplo = flags[1][gmm_audit_below(random, 2)];
    c.transpose_a = gmm_blas_has_argument(c.routine, 't') ? flags[2][gmm_audit_below(random, 3)] : 'N';
    c.transpose_b = gmm_blas_has_argument(c.routine, 'r') ? flags[3][gmm_audit_below(random, 3)] : 'N';
    c.diag = flags[4][gmm_audit_below(random, 2)];
    c.m = gmm_audit_below(random, 9);
    c.n = gmm_audit_below(random, 9);
    c.k = gmm_audit_below(random, 9);
    c.kl = gmm_audit_below(random, 4);
    c.ku = gmm_audit_below(random, 4);
    c.alpha[0] = 0.5;
    c.beta[0] = (double)gmm_audit_below(random, 2);
    for (int o = 0; o < gmm_blas_operand_count(&c); o++) {
        bool vector = c.routine->operands[o].form == GMM_FORM_VECTOR;
        c.operands[o].step = gmm_blas_least_step(&c, o) + gmm_audit_below(random, 3);
        if (vector && gmm_audit_below(random, 2))
            c.operands[o].step = -c.operands[o].step;
        c.operands[o].data = rooms[o];
        c.operands[o].offset = 4 * gmm_audit_below(random, 16);
    }
    return c;
}

/* The lines are the elements that are stored, each once, in rising order. */
static void lines_are_the_elements(void **state)
{
    static unsigned char stored[ROOM], lined[ROOM];
    gmm_audit_random random = {7};
    char why[128];

    (void)state;
    for (int i = 0; i < 20000; i++) {
        gmm_blas_call c = any_call(&random);
        assert_true(gmm_call_is_legal(&c, why, sizeof why));
        for (int o = 0; o < gmm_blas_operand_count(&c); o++) {
            int64_t rows, columns, extent = gmm_blas_extent(&c, o), end = 0;
            gmm_blas_stored_shape(&c, o, &rows, &columns);
            memset(stored, 0, (size_t)extent + 1);
            memset(lined, 0, (size_t)extent + 1);
            for (int64_t r = 0; r < rows; r++)
                for (int64_t k = 0; k < columns; k++)
                    if (gmm_blas_where(&c, o, r, k) >= 0)
                        stored[gmm_blas_where(&c, o, r, k)] = 1;
            for (int64_t l = 0; l < gmm_call_line_count(&c, o); l++) {
                gmm_call_line line = gmm_call_line_at(&c, o, l);
                assert_true(line.length == 0 || line.start >= end);
                if (line.length > 0)
                    end = line.start + line.length;
                assert_true(end <= extent);
                memset(lined + line.start, 1, (size_t)line.length);
            }
            assert_memory_equal(stored, lined, (size_t)extent);
        }
    }
}

static gmm_blas_call product(int64_t m, int64_t n, int64_t k)
{
    char type;
    gmm_blas_call c = {.routine = gmm_blas_routine_find("dgemm", &type), .type = 'd', .row_major = true};

    c.side = 'L';
    c.uplo = 'U';
    c.transpose_a = c.transpose_b = c.diag = 'N';
    c.m = m;
    c.n = n;
    c.k = k;
    c.alpha[0] = 1;
    c.operands[0] = (struct gmm_blas_place){rooms[0], k, 0};
    c.operands[1] = (struct gmm_blas_place){rooms[1], n, 0};
    c.operands[2] = (struct gmm_blas_place){rooms[2], n, 0};
    return c;
}

static void overlap_is_of_elements(void **state)
{
    gmm_blas_call c = product(4, 4, 4);

    (void)state;
    assert_false(gmm_call_overlap(&c, 0, 2));
    /* Blocks of a 12 x 12 matrix. */
    for (int o = 0; o < 3; o++)
        c.operands[o] = (struct gmm_blas_place){rooms[0] + 4 * o, 12, 0};
    assert_false(gmm_call_overlap(&c, 0, 2));
    assert_false(gmm_call_overlap(&c, 1, 2));
    for (int at = 0; at < 60; at++) {
        bool shared = false;
        c.operands[2].data = rooms[0] + at;
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 16; j++)
                shared |= i / 4 * 12 + i % 4 == at + j / 4 * 12 + j % 4;
        assert_int_equal(gmm_call_overlap(&c, 0, 2), shared);
    }
}

static void finite_is_of_elements(void **state)
{
    gmm_blas_call c = product(3, 3, 3);
    const void *before[GMM_BLAS_OPERANDS] = {rooms[0], rooms[1], rooms[2]};

    (void)state;
    memset(rooms, 0, sizeof rooms);
    c.operands[0].step = 5;
    rooms[0][3] = NAN; /* a gap */
    assert_true(gmm_call_inputs_are_finite(&c, before));
    rooms[2][0] = INFINITY; /* beta is 0 */
    assert_true(gmm_call_inputs_are_finite(&c, before));
    assert_false(gmm_call_is_finite(&c, 2, rooms[2]));
    rooms[0][10] = -INFINITY;
    assert_false(gmm_call_inputs_are_finite(&c, before));
    c.alpha[0] = 0;
    assert_true(gmm_call_inputs_are_finite(&c, before));
    c.beta[0] = 1;
    assert_false(gmm_call_inputs_are_finite(&c, before));
}

static void wrong_arguments_are_told(void **state)
{
    gmm_blas_call c = product(3, 4, 5);
    char why[128] = "";

    (void)state;
    assert_true(gmm_call_is_legal(&c, why, sizeof why));
    c.operands[1].step = 3;
    assert_false(gmm_call_is_legal(&c, why, sizeof why));
    assert_string_equal(why, "ldb is 3, at least 4 is allowed");
    c.operands[1].step = 4;
    c.k = -1;
    assert_false(gmm_call_is_legal(&c, why, sizeof why));
    assert_string_equal(why, "k is -1");
    c.k = 5;
    c.transpose_b = 'X';
    assert_false(gmm_call_is_legal(&c, why, sizeof why));
    assert_string_equal(why, "the argument for a transpose has no meaning");
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static const char *write_call(const char *name)
{
    gmm_call_record record = {.kept = {.call = product(2, 3, 4), .integer_bits = 32},
                              .verdict = GMM_GUARD_VIOLATION,
                              .trial = GMM_TRIAL_NAN,
                              .operand = 2,
                              .row = 1,
                              .column = 2,
                              .detail = "a test",
                              .library = "/lib/libblas.so",
                              .symbol = "cblas_dgemm"};
    const char *path = gmm_temp_path(name);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    for (int o = 0; o < 3; o++) {
        record.kept.bytes[o] = (size_t)gmm_blas_extent(&record.kept.call, o) * sizeof(double);
        for (int i = 0; i < 16; i++)
            rooms[o][i] = i - 3 * o;
    }
    assert_true(file >= 0);
    assert_true(gmm_call_file_write(file, &record));
    close(file);
    return path;
}

static void files_come_back(void **state)
{
    const char *path = write_call("whole.gmmcall"), *text;
    gmm_replay *replay;
    gmm_replay_info info;
    gmm_call_record record;
    void *memory;

    (void)state;
    assert_int_equal(gmm_call_file_read(path, &record, &memory), GMM_OK);
    assert_int_equal(record.kept.call.n, 3);
    assert_int_equal(record.kept.bytes[2], 6 * sizeof(double));
    for (int o = 0; o < 3; o++)
        assert_memory_equal(record.kept.call.operands[o].data, rooms[o], record.kept.bytes[o]);
    free(memory);
    assert_int_equal(gmm_replay_open(path, &replay), GMM_OK);
    gmm_replay_describe(replay, &info);
    assert_string_equal(info.routine, "cblas_dgemm");
    assert_string_equal(info.call,
                        "cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 2, 3, 4, 1, a, 4, b, 3, 0, c, 3)");
    assert_string_equal(info.detail, "a test");
    assert_int_equal(info.shown_by, 3);
    assert_int_equal(info.operand_bytes, (8 + 12 + 6) * 8);
    assert_int_equal(gmm_replay_program(replay, &text), GMM_OK);
    assert_non_null(
        strstr(text, "cblas_dgemm(101, 111, 111, 2, 3, 4, (real)1, base[0], 4, base[1], 3, (real)0, base[2], 3)"));
    gmm_replay_control control;
    assert_int_equal(gmm_replay_run(replay, "/nonexistent/libblas.so", 0, &control), GMM_ERR_FILE);
    assert_int_equal(gmm_replay_run(replay, NULL, 99, &control), GMM_ERR_INDEX);
    assert_int_equal(gmm_replay_reduce(replay, "/nonexistent/libblas.so", 1), GMM_ERR_FILE);
    gmm_replay_close(replay);
    gmm_replay_close(NULL);
}

static void refuse(const char *name, const void *bytes, size_t size, const char *words)
{
    gmm_replay *replay = (gmm_replay *)rooms;

    assert_int_equal(gmm_replay_open(gmm_temp_file(name, bytes, size), &replay), GMM_ERR_MALFORMED);
    assert_null(replay);
    if (!strstr(gmm_error_detail(), words))
        fail_msg("'%s' does not say '%s'", gmm_error_detail(), words);
}

/* A file with one word changed, and a checksum that is right all the same. */
static void refuse_word(const unsigned char *whole, size_t size, size_t at, uint64_t value, const char *words)
{
    unsigned char *bytes = malloc(size);
    uint64_t sum = 0, word;

    assert_non_null(bytes);
    memcpy(bytes, whole, size);
    memcpy(bytes + at, &value, sizeof value);
    memset(bytes + 16, 0, 8);
    for (size_t i = 0; i < size; i += 8) {
        memcpy(&word, bytes + i, 8);
        sum = (sum ^ word) * 0x9E3779B97F4A7C15u;
        sum ^= sum >> 32;
    }
    memcpy(bytes + 16, &sum, sizeof sum);
    refuse("word.gmmcall", bytes, size, words);
    free(bytes);
}

static void broken_files_are_refused(void **state)
{
    size_t size;
    unsigned char *whole = gmm_temp_read(write_call("whole.gmmcall"), &size);
    gmm_replay *replay;

    (void)state;
    assert_int_equal(gmm_replay_open(gmm_temp_path("missing"), &replay), GMM_ERR_FILE);
    refuse("cut.gmmcall", whole, 2000, "2000 bytes; a .gmmcall file has 2048 at least");
    refuse("cut.gmmcall", whole, size - 64, "its header says");
    for (size_t at = 32; at < size; at += 100) { /* any bit */
        whole[at] ^= 4;
        refuse("bit.gmmcall", whole, size, "its checksum is");
        whole[at] ^= 4;
    }
    whole[0] ^= 1;
    refuse("magic.gmmcall", whole, size, "not a .gmmcall file");
    whole[0] ^= 1;
    whole[8] = 9;
    refuse("version.gmmcall", whole, size, "version 9");
    whole[8] = 1;
    refuse_word(whole, size, 32, 0x78787878, "no BLAS routine");
    refuse_word(whole, size, 64, UINT64_C(1) << 40, "a size of 1099511627776");
    refuse_word(whole, size, 64, 0x7FFFFFFF, "A has 8589934588 elements");
    refuse_word(whole, size, 72, (uint64_t)-1, "n is -1");
    refuse_word(whole, size, 136, 3, "lda is 3, at least 4");
    refuse_word(whole, size, 136, INT64_MAX, "leading dimension or increment of 9223372036854775807");
    refuse_word(whole, size, 144, 64, "64 from a 64-byte boundary");
    refuse_word(whole, size, 152, 1 << 20, "A has 64 bytes at 1048576");
    refuse_word(whole, size, 160, (uint64_t)-64, "A has -64 bytes");
    refuse_word(whole, size, 232, 77, "trial number 77");
    refuse_word(whole, size, 240, 3, "operand number 3");
    refuse_word(whole, size, 248, 2, "element (2, 2)");
    refuse_word(whole, size, 1072, 0x2922293B, "its symbol is no name");
    free(whole);
}

static void null_is_refused(void **state)
{
    gmm_guard *guard;

    (void)state;
    assert_int_equal(gmm_guard_create(NULL, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_guard_create(&(gmm_guard_options){.size = 1}, &guard), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_guard_create(&(gmm_guard_options){.size = sizeof(gmm_guard_options), .sample = -1}, &guard),
                     GMM_ERR_ARGUMENT);
    assert_null(guard);
    gmm_guard_destroy(NULL);
    assert_int_equal(gmm_replay_open(NULL, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_replay_run(NULL, NULL, 0, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_replay_program(NULL, NULL), GMM_ERR_NULL);
    assert_int_equal(gmm_replay_reduce(NULL, NULL, 1), GMM_ERR_NULL);
    assert_string_equal(gmm_guard_verdict_text(GMM_GUARD_CALLER), "CALLER");
    assert_string_equal(gmm_guard_verdict_text((gmm_guard_verdict)99), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_the_elements), cmocka_unit_test(overlap_is_of_elements),
        cmocka_unit_test(finite_is_of_elements),  cmocka_unit_test(wrong_arguments_are_told),
        cmocka_unit_test(files_come_back),        cmocka_unit_test(broken_files_are_refused),
        cmocka_unit_test(null_is_refused),
    };

    return cmocka_run_group_tests(tests, gmm_temp_folder_make, gmm_temp_folder_remove);
}
