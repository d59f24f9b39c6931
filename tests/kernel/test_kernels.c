/* test_kernels.c - every kernel of the list: against double precision, at every tail, between guard pages, and against
 * its siblings. */
/* SPDX-License-Identifier: MIT */
#include "cmocka_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/cpu.h"
#include "guarded.h"
#include "kernels/kernel.h"
#include "random.h"

/* Lengths of K: every tail of 16, then several vectors, then what is cut into blocks. */
static const int64_t lengths[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,   10,  11,  12,  13,  14,  15,  16,  17, 18,
                                  19, 20, 21, 22, 23, 24, 25, 26, 27,  28,  29,  30,  31,  32,  33,  47,  48, 49,
                                  63, 64, 65, 79, 80, 81, 96, 97, 111, 128, 129, 144, 145, 255, 256, 257, 544};
enum {
    LENGTHS = sizeof lengths / sizeof lengths[0],
    MOST_ROWS = 20
};

/* Floats that end at a guard page, so that a read or write past them dies. */
static float *floats(gmm_guarded *memory, int64_t count)
{
    gmm_guarded_make(memory, (size_t)count * sizeof(float), GMM_GUARD_AFTER, 0);
    return (float *)(void *)memory->data;
}

static float *random_floats(gmm_guarded *memory, gmm_random *random, int64_t count)
{
    float *data = floats(memory, count);

    for (int64_t i = 0; i < count; i++)
        data[i] = (float)gmm_random_unit(random);
    return data;
}

/* As far as any order of adding can be from the exact sum: gamma(k + 5) * sum |x w|. */
static void check_sum(const gmm_kernel *kernel, int64_t k, const float *x, const float *w, int64_t w_stride, float got)
{
    double exact = 0, magnitude = 0, n = ((double)k + 5) * 0x1p-24;

    for (int64_t i = 0; i < k; i++) {
        exact += (double)x[i] * (double)w[i * w_stride];
        magnitude += fabs((double)x[i] * (double)w[i * w_stride]);
    }
    double bound = n / (1 - n) * magnitude + ((double)k + 2) * 0x1p-149;
    if (!(fabs((double)got - exact) <= bound))
        fail_msg("%s, k = %lld: %.9g is %.3g from %.9g; the bound is %.3g", kernel->name, (long long)k, (double)got,
                 fabs((double)got - exact), exact, bound);
}

/* rows x columns sums by a dot kernel, K cut at `cut` (a multiple of 16, or 0); out [rows][columns]. */
static void run_dot(const gmm_kernel *kernel, int64_t rows, int64_t columns, int64_t k, const float *x, const float *w,
                    int64_t cut, float *out)
{
    gmm_guarded sums_memory, out_memory;
    int64_t results = rows * GMM_DOT_COLUMNS;
    float *sums = floats(&sums_memory, results * GMM_CLASSES), *wide = floats(&out_memory, results);
    const float *at[MOST_ROWS];

    memset(sums, 0xff, (size_t)(results * GMM_CLASSES) * sizeof(float)); /* NaN: must not be read first */
    for (int64_t begin = 0; begin < k;) {
        int64_t end = begin == 0 && cut > 0 && cut < k ? cut : k;
        for (int64_t r = 0; r < rows; r++)
            at[r] = x + r * k + begin;
        kernel->dot(&(gmm_dot){
            .rows = rows,
            .columns = columns,
            .k = end - begin,
            .x = at,
            .w = w + begin,
            .w_stride = k,
            .sums = sums,
            .first = begin == 0,
            .last = end == k,
            .out = wide,
        });
        begin = end;
    }
    for (int64_t r = 0; r < rows; r++)
        memcpy(out + r * columns, wide + r * GMM_DOT_COLUMNS, (size_t)columns * sizeof(float));
    gmm_guarded_free(&sums_memory);
    gmm_guarded_free(&out_memory);
}

/* Pack elements [begin, end) of rows x k elements, `width` rows wide, as the planner does: 16 rows at a time. */
static float *pack(const gmm_kernel *kernel, gmm_guarded *memory, const float *x, int64_t rows, int64_t width,
                   int64_t classes, int64_t begin, int64_t end, int64_t k)
{
    float *to = floats(memory, gmm_class_offset(end - begin, classes, width, classes));
    const float *from[GMM_PANEL];

    for (int64_t r = 0; r < rows; r++)
        from[r] = x + r * k + begin;
    for (int64_t r = 0; r < width; r += GMM_MAX_MR)
        kernel->pack(&(gmm_pack){
            .rows = rows - r < GMM_MAX_MR ? rows - r : GMM_MAX_MR,
            .classes = classes,
            .k = end - begin,
            .from = from + r,
            .width = width - r < GMM_MAX_MR ? width - r : GMM_MAX_MR,
            .stride = width,
            .to = to + r,
        });
    for (int64_t c = 0; c < classes; c++)
        for (int64_t i = begin + c; i < end; i += classes)
            for (int64_t r = 0; r < width; r++) {
                float got = to[gmm_class_offset(end - begin, classes, width, c) + (i - begin) / classes * width + r];
                if (got != (r < rows ? x[r * k + i] : 0))
                    fail_msg("%s: element %lld of row %lld is packed wrong", kernel->name, (long long)i, (long long)r);
            }
    return to;
}

/* rows x GMM_PANEL sums by an outer kernel; w holds GMM_PANEL rows of k. */
static void run_outer(const gmm_kernel *kernel, int64_t rows, int64_t classes, int64_t k, const float *x,
                      const float *w, int64_t cut, float *out)
{
    gmm_guarded a_memory, b_memory, sums_memory;
    int64_t row_step = gmm_outer_rows(kernel, rows), floats_of_sums = classes * kernel->mr * GMM_PANEL;
    float *sums = floats(&sums_memory, floats_of_sums);

    memset(sums, 0xff, (size_t)floats_of_sums * sizeof(float));
    for (int64_t begin = 0; begin < k;) {
        int64_t end = begin == 0 && cut > 0 && cut < k ? cut : k;
        float *a = pack(kernel, &a_memory, x, rows, row_step, classes, begin, end, k);
        float *b = pack(kernel, &b_memory, w, GMM_PANEL, GMM_PANEL, classes, begin, end, k);
        kernel->outer(&(gmm_outer){
            .rows = rows,
            .classes = classes,
            .k = end - begin,
            .a = a,
            .b = b,
            .sums = sums,
            .first = begin == 0,
            .last = end == k,
            .out = out,
        });
        begin = end;
        gmm_guarded_free(&a_memory);
        gmm_guarded_free(&b_memory);
    }
    gmm_guarded_free(&sums_memory);
}

static bool usable(const gmm_kernel *kernel)
{
    uint32_t features;

    assert_int_equal(gmm_cpu_usable(NULL, &features), GMM_OK);
    return !(kernel->needs & ~features);
}

/* The other body of the same instruction set: their names differ in the first word only. */
static const gmm_kernel *sibling(const gmm_kernel *kernel, const char *body)
{
    for (size_t i = 0; gmm_kernels[i]; i++)
        if (!strcmp(gmm_kernels[i]->body, body) &&
            !strcmp(strchr(gmm_kernels[i]->name, '_'), strchr(kernel->name, '_')))
            return gmm_kernels[i];
    fail_msg("%s has no sibling with body %s", kernel->name, body);
    return NULL;
}

static void check_dot(const gmm_kernel *kernel, gmm_random *random, int64_t k, int64_t rows, int64_t columns)
{
    gmm_guarded memory[4];
    size_t bytes = (size_t)(rows * columns) * sizeof(float);
    float *x = random_floats(&memory[0], random, rows * k), *w = random_floats(&memory[1], random, columns * k);
    float *out = floats(&memory[2], rows * columns), *again = floats(&memory[3], rows * columns);

    run_dot(kernel, rows, columns, k, x, w, 0, out);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            check_sum(kernel, k, x + r * k, w + c * k, 1, out[r * columns + c]);
    run_dot(kernel, rows, columns, k, x, w, k / 32 * 16, again);
    assert_memory_equal(out, again, bytes);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            run_dot(kernel, 1, 1, k, x + r * k, w + c * k, 0, again + r * columns + c);
    assert_memory_equal(out, again, bytes);
    for (int m = 0; m < 4; m++)
        gmm_guarded_free(&memory[m]);
}

static void test_dot(void **state)
{
    gmm_random random;

    (void)state;
    gmm_random_start(&random, "dot");
    for (size_t i = 0; gmm_kernels[i]; i++) {
        if (!gmm_kernels[i]->dot || !usable(gmm_kernels[i]))
            continue;
        for (int l = 0; l < LENGTHS; l++)
            for (int64_t rows = 1; rows <= MOST_ROWS; rows += l % 16 == 0 ? 1 : 5)
                check_dot(gmm_kernels[i], &random, lengths[l], rows, 1 + (rows + l) % 9);
        for (int64_t columns = 1; columns <= GMM_DOT_COLUMNS; columns++)
            check_dot(gmm_kernels[i], &random, 37, 3, columns);
    }
}

static void check_outer(const gmm_kernel *kernel, gmm_random *random, int64_t k, int64_t rows)
{
    gmm_guarded memory[4];
    float *x = random_floats(&memory[0], random, rows * k), *w = random_floats(&memory[1], random, GMM_PANEL * k);
    float *out = floats(&memory[2], rows * GMM_PANEL), *again = floats(&memory[3], rows * GMM_PANEL);
    size_t bytes = (size_t)(rows * GMM_PANEL) * sizeof(float);

    for (int64_t classes = 1; classes <= GMM_CLASSES; classes += GMM_CLASSES - 1) {
        run_outer(kernel, rows, classes, k, x, w, 0, out);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < GMM_PANEL; c++)
                check_sum(kernel, k, x + r * k, w + c * k, 1, out[r * GMM_PANEL + c]);
        run_outer(kernel, rows, classes, k, x, w, k / 32 * 16, again);
        assert_memory_equal(out, again, bytes);
        for (int64_t r = 0; r < rows; r++)
            run_outer(kernel, 1, classes, k, x + r * k, w, 0, again + r * GMM_PANEL);
        assert_memory_equal(out, again, bytes);
    }
    /* The last of the two was with classes: the dot body's bits. */
    run_dot(sibling(kernel, "dot"), rows, GMM_PANEL, k, x, w, 0, again);
    assert_memory_equal(out, again, bytes);
    for (int m = 0; m < 4; m++)
        gmm_guarded_free(&memory[m]);
}

static void test_outer(void **state)
{
    gmm_random random;

    (void)state;
    gmm_random_start(&random, "outer");
    for (size_t i = 0; gmm_kernels[i]; i++)
        if (gmm_kernels[i]->outer && usable(gmm_kernels[i]))
            for (int l = 0; l < LENGTHS; l += 1 + (l > 33))
                for (int64_t rows = 1; rows <= gmm_kernels[i]->mr; rows += l % 16 == 0 ? 1 : 3)
                    check_outer(gmm_kernels[i], &random, lengths[l], rows);
}

/* The bytes of a packed or dense row of 256 elements, at the end of a page, all random. */
static const void *random_bytes(gmm_guarded *memory, gmm_random *random, size_t bytes)
{
    gmm_guarded_make(memory, bytes, GMM_GUARD_AFTER, 0);
    for (size_t i = 0; i < bytes; i++)
        memory->data[i] = (char)gmm_random_bits(random);
    return memory->data;
}

/* A kernel's decode against the format's own, everywhere in a row of random bytes. */
static void check_decode(const gmm_kernel *kernel, gmm_random *random, gmm_weights weights)
{
    enum {
        LENGTH = 256
    };
    const gmm_format *format = weights.format;
    gmm_guarded memory[4];
    int64_t groups = format->quantized ? LENGTH / weights.group_size : 1, step = weights.group_size == 16 ? 16 : 32;
    size_t bits = format->quantized ? (size_t)weights.bits : (size_t)gmm_dtype_bits(format->dtype);
    gmm_row row = {
        .codes = random_bytes(&memory[0], random, LENGTH * bits / 8),
        .scales = random_bytes(&memory[1], random, (size_t)groups * (weights.scales_dtype == GMM_F32 ? 4 : 2)),
        .biases = random_bytes(&memory[2], random, (size_t)groups * (weights.biases_dtype == GMM_F32 ? 4 : 2)),
    };
    float *got = floats(&memory[3], LENGTH), want[LENGTH];

    for (int64_t begin = 0; begin < LENGTH; begin += 32)
        for (int64_t end = begin + step; end <= LENGTH; end += step) {
            float *out = got + LENGTH - (end - begin);
            if (end % 32 && end + 16 < LENGTH)
                continue; /* only the end of a row may be inside a run of 32 */
            kernel->decode(&weights, row, begin, end - begin, out);
            format->decode(&weights, row, begin, end - begin, want);
            for (int64_t i = 0; i < end - begin; i++)
                if (isnan(want[i]) ? !isnan(out[i]) : memcmp(&out[i], &want[i], sizeof want[i]) != 0)
                    fail_msg("%s, %d bits, groups of %d: element %lld is %.9g, not %.9g", kernel->name,
                             (int)weights.bits, (int)weights.group_size, (long long)(begin + i), (double)out[i],
                             (double)want[i]);
        }
    for (int m = 0; m < 4; m++)
        gmm_guarded_free(&memory[m]);
}

static void test_decode(void **state)
{
    static const gmm_dtype types[] = {GMM_F32, GMM_F16, GMM_BF16};
    static const int32_t none[] = {1, 0};
    gmm_random random;

    (void)state;
    gmm_random_start(&random, "decode");
    for (size_t i = 0; gmm_kernels[i]; i++)
        for (size_t f = 0; gmm_formats[f]; f++) {
            const gmm_kernel *kernel = gmm_kernels[i];
            const gmm_format *format = gmm_formats[f];
            if (!kernel->decode || !usable(kernel) || strcmp(kernel->reads, format->name) != 0)
                continue;
            for (const int32_t *bits = format->bits ? format->bits : none; *bits; bits++)
                for (const int32_t *size = format->group_sizes ? format->group_sizes : none; *size; size++)
                    for (int round = 0; round < 30; round++)
                        check_decode(kernel, &random,
                                     (gmm_weights){
                                         .format = format,
                                         .dtype = format->dtype,
                                         .cast = round % 2 ? format->dtype : GMM_F32,
                                         .scales_dtype = format->has_biases ? types[round % 3] : GMM_U8,
                                         .biases_dtype = types[round / 3 % 3],
                                         .group_size = *size,
                                         .bits = *bits,
                                         .global = round % 2 ? 1 : 0.37f,
                                         .code_stride = 1,
                                         .scale_stride = 1,
                                         .bias_stride = 1,
                                     });
        }
}

/* A dense row of any length is decoded to its very end. */
static void test_decode_tails(void **state)
{
    gmm_random random;

    (void)state;
    gmm_random_start(&random, "decode_tails");
    for (size_t i = 0; gmm_kernels[i]; i++)
        for (int64_t length = 1; length <= 40; length++) {
            const gmm_kernel *kernel = gmm_kernels[i];
            gmm_dtype dtype = kernel->decode && !strcmp(kernel->reads, "f16") ? GMM_F16 : GMM_BF16;
            gmm_guarded memory[2];
            float want[40];
            if (!kernel->decode || !usable(kernel) || gmm_format_find(kernel->reads))
                continue;
            gmm_weights weights = {
                .format = gmm_format_dense(dtype), .dtype = dtype, .cast = GMM_F32, .code_stride = 1};
            gmm_row row = {.codes = random_bytes(&memory[0], &random, (size_t)length * 2)};
            float *out = floats(&memory[1], length);
            kernel->decode(&weights, row, 0, length, out);
            weights.format->decode(&weights, row, 0, length, want);
            for (int64_t e = 0; e < length; e++)
                assert_true(isnan(want[e]) ? isnan(out[e]) : memcmp(&out[e], &want[e], sizeof want[e]) == 0);
            gmm_guarded_free(&memory[0]);
            gmm_guarded_free(&memory[1]);
        }
}

/* With fma, sums are the same numbers whatever the width of the registers. */
static void test_same_bits_with_fma(void **state)
{
    enum {
        K = 1000
    };
    gmm_random random;
    gmm_guarded memory[2];
    float *x, *w, first = 0, sum;
    const char *name = NULL;

    (void)state;
    gmm_random_start(&random, "same_bits_with_fma");
    x = random_floats(&memory[0], &random, K);
    w = random_floats(&memory[1], &random, K);
    for (size_t i = 0; gmm_kernels[i]; i++) {
        if (!gmm_kernels[i]->dot || !usable(gmm_kernels[i]) || !gmm_kernels[i]->needs)
            continue;
        run_dot(gmm_kernels[i], 1, 1, K, x, w, 0, &sum);
        if (name && memcmp(&sum, &first, sizeof sum))
            fail_msg("%s gives %.9g, %s gives %.9g", name, (double)first, gmm_kernels[i]->name, (double)sum);
        name = gmm_kernels[i]->name;
        first = sum;
    }
    gmm_guarded_free(&memory[0]);
    gmm_guarded_free(&memory[1]);
}

/* 0 * Inf, NaN and Inf - Inf reach the sums that they belong to, and no other. */
static void test_special_values(void **state)
{
    enum {
        K = 50,
        ROWS = 2
    };
    float x[ROWS * K], w[2 * K], out[ROWS * 2];

    (void)state;
    for (size_t i = 0; gmm_kernels[i]; i++) {
        if (!gmm_kernels[i]->dot || !usable(gmm_kernels[i]))
            continue;
        for (int at = 0; at < K; at++) {
            for (int j = 0; j < ROWS * K; j++)
                x[j] = 1;
            for (int j = 0; j < 2 * K; j++)
                w[j] = 2;
            x[at] = 0;
            w[at] = INFINITY;
            run_dot(gmm_kernels[i], ROWS, 2, K, x, w, 0, out);
            assert_true(isnan(out[0]));                       /* 0 * Inf */
            assert_true(out[1] == 2 * K - 2);                 /* row 0, finite weights */
            assert_true(isinf(out[2]) && out[3] == 2.0f * K); /* row 1 */
        }
    }
}

/* Every kernel says all that the planner needs. */
static void test_descriptors(void **state)
{
    bool dot_everywhere = false, outer_everywhere = false;

    (void)state;
    for (size_t i = 0; gmm_kernels[i]; i++) {
        const gmm_kernel *kernel = gmm_kernels[i];
        bool dot = !strcmp(kernel->body, "dot"), outer = !strcmp(kernel->body, "outer");
        bool decode = !strcmp(kernel->body, "decode");
        assert_true(dot + outer + decode == 1);
        assert_true(dot == (kernel->dot != NULL) && outer == (kernel->outer != NULL) &&
                    outer == (kernel->pack != NULL));
        assert_true(decode == (kernel->decode != NULL));
        assert_non_null(kernel->reads);
        assert_in_range(kernel->mr, 1, GMM_MAX_MR);
        dot_everywhere |= dot && !kernel->needs;
        outer_everywhere |= outer && !kernel->needs;
        if (outer)
            assert_int_equal(gmm_outer_rows(kernel, kernel->mr), kernel->mr);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(kernel->name, gmm_kernels[j]->name);
    }
    assert_true(dot_everywhere && outer_everywhere);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptors),    cmocka_unit_test(test_dot),
        cmocka_unit_test(test_outer),          cmocka_unit_test(test_same_bits_with_fma),
        cmocka_unit_test(test_special_values), cmocka_unit_test(test_decode),
        cmocka_unit_test(test_decode_tails),
    };

    return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
