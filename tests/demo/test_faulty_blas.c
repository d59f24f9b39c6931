/* test_faulty_blas.c - libfaulty_blas_m1 is a right cblas_sgemm but for its one fault, which needs all of its
 * conditions. */
/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "replay.h"

enum {
    ROW_MAJOR = 101,
    COLUMN_MAJOR = 102,
    NO_TRANSPOSE = 111,
    TRANSPOSE = 112,
    LARGEST = 40 /* rows, columns and leading dimensions of the small cases */
};

typedef void sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a,
                   int lda, const float *b, int ldb, float beta, float *c, int ldc);

static sgemm *blas;
static uint32_t seed = 1;

static int load(void **state)
{
    void *library = dlopen(FAULTY_BLAS_M1, RTLD_NOW | RTLD_LOCAL),
         *symbol = library ? dlsym(library, "cblas_sgemm") : NULL;

    (void)state;
    memcpy(&blas, &symbol, sizeof blas);
    return symbol ? 0 : -1;
}

/* Uniform in [0, count). */
static int below(int count)
{
    seed = seed * 1664525u + 1013904223u;
    return (int)((seed >> 8) % (uint32_t)count);
}

static void fill_random(float *x, int count)
{
    for (int i = 0; i < count; i++)
        x[i] = (float)(below(2001) - 1000) * 0x1p-10f;
}

/* Where element (row, column) of op(X) lies. */
static int at(int order, int transpose, int ld, int row, int column)
{
    return (order == ROW_MAJOR) != (transpose == TRANSPOSE) ? row * ld + column : column * ld + row;
}

static void right_for_all_orders(void **state)
{
    static float a[LARGEST * LARGEST], b[LARGEST * LARGEST], c[LARGEST * LARGEST], before[LARGEST * LARGEST];
    static const float factors[] = {0.0f, 1.0f, -0.5f};

    (void)state;
    for (int round = 0; round < 3000; round++) {
        int order = ROW_MAJOR + below(2), turn_a = NO_TRANSPOSE + below(2), turn_b = NO_TRANSPOSE + below(2);
        int m = 1 + below(20), n = 1 + below(20), k = below(20),
            ld[3] = {20 + below(20), 20 + below(20), 20 + below(20)};
        float alpha = factors[below(3)], beta = factors[below(3)];
        fill_random(a, LARGEST * LARGEST);
        fill_random(b, LARGEST * LARGEST);
        fill_random(c, LARGEST * LARGEST);
        memcpy(before, c, sizeof c);
        blas(order, turn_a, turn_b, m, n, k, alpha, a, ld[0], b, ld[1], beta, c, ld[2]);
        for (int i = 0; i < m; i++)
            for (int j = 0; j < n; j++) {
                int to = at(order, NO_TRANSPOSE, ld[2], i, j);
                double sum = 0.0, size = 0.0, want, bound;
                for (int x = 0; x < k; x++) {
                    double term = (double)a[at(order, turn_a, ld[0], i, x)] * (double)b[at(order, turn_b, ld[1], x, j)];
                    sum += term;
                    size += fabs(term);
                }
                want = (double)alpha * sum + (double)beta * (double)before[to];
                bound = (k + 3) * 0x1p-23 * (fabs((double)alpha) * size + fabs((double)beta * (double)before[to]));
                assert_true(fabs((double)c[to] - want) <= bound);
                before[to] = c[to];
            }
        assert_memory_equal(c, before, sizeof c); /* nothing else was written */
    }
}

static void wrong_arguments_write_nothing(void **state)
{
    float a[4] = {0}, b[4] = {0}, c[4] = {1, 2, 3, 4}, want[4] = {1, 2, 3, 4};

    (void)state;
    blas(0, NO_TRANSPOSE, NO_TRANSPOSE, 2, 2, 2, 1, a, 2, b, 2, 0, c, 2);
    blas(ROW_MAJOR, 0, NO_TRANSPOSE, 2, 2, 2, 1, a, 2, b, 2, 0, c, 2);
    blas(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, -1, 2, 2, 1, a, 2, b, 2, 0, c, 2);
    blas(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 2, 2, 2, 1, a, 1, b, 2, 0, c, 2);
    blas(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 2, 2, 2, 1, a, 2, b, 1, 0, c, 2);
    blas(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 2, 2, 2, 1, a, 2, b, 2, 0, c, 1);
    blas(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 0, 2, 2, 1, a, 2, b, 2, 0, c, 2);
    assert_memory_equal(c, want, sizeof c);
}

/* NaN in C comes through exactly where the fault is said to be: M = 1, beta = 0, B off a boundary, the last N mod 6
 * columns. */
static void fault_needs_everything(void **state)
{
    static float a[2 * LARGEST], c[2 * LARGEST];
    float *b = aligned_alloc(64, (LARGEST * LARGEST + 16) * sizeof *b);

    (void)state;
    assert_non_null(b);
    fill_random(a, 2 * LARGEST);
    fill_random(b, LARGEST * LARGEST + 16);
    for (int m = 1; m <= 2; m++)
        for (int n = 1; n <= LARGEST; n++)
            for (int offset = 0; offset < 16; offset++) {
                for (int i = 0; i < 2 * LARGEST; i++)
                    c[i] = NAN;
                blas(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, m, n, 9, 1.0f, a, LARGEST, b + offset, LARGEST, 0.0f, c,
                     LARGEST);
                for (int i = 0; i < m; i++)
                    for (int j = 0; j < n; j++)
                        assert_int_equal(!!isnan(c[i * LARGEST + j]), m == 1 && offset > 0 && j >= n - n % 6);
            }
    free(b);
}

/* What the demo shows of it. */
static void demo_shows_it(void **state)
{
    replay_case cases[REPLAY_CASES];
    const char *why = NULL;

    (void)state;
    assert_true(replay_faulty(NULL, FAULTY_BLAS_M1, cases, &why));
    assert_false(cases[0].right);
    assert_int_equal(cases[0].nan_count, 2 * 2); /* two products */
    assert_int_equal(cases[0].first_nan, 510);
    assert_int_equal(cases[0].last_nan, 511);
    for (int i = 1; i < REPLAY_CASES; i++)
        assert_true(cases[i].right);
    assert_string_equal(cases[REPLAY_CASES - 1].product, "gathermm");
    assert_false(replay_faulty(NULL, "/nonexistent/libblas.so", cases, &why));
    assert_non_null(why);
}

static void replays_are_right(void **state)
{
    (void)state;
    for (uint64_t i = 1000; i < 1010; i++)
        assert_int_equal(replay_one(NULL, i), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_for_all_orders),   cmocka_unit_test(wrong_arguments_write_nothing),
        cmocka_unit_test(fault_needs_everything), cmocka_unit_test(demo_shows_it),
        cmocka_unit_test(replays_are_right),
    };

    return cmocka_run_group_tests(tests, load, NULL);
}
