/* check_sweep.c - sweeps of weights that lie [K, N]: every number of columns, rows, cuts of K, gaps between rows. */
/* SPDX-License-Identifier: MIT */
#include "cmocka_test.h"

#include <stdlib.h>
#include <string.h>

#include "kernel_check.h"

/* Elements [begin, end) of K: rows of x, and weight rows from memory of their own, `stride` floats apart. */
static void sweep_block(const gmm_kernel *kernel, const float *const *x, const float *w, int64_t rows, int64_t columns,
                        int64_t stride, int64_t begin, int64_t end, float *sums, int64_t sums_stride)
{
    int64_t floats = (end - begin - 1) * stride + columns;
    const float **at = check_allocate(rows, sizeof *at);
    gmm_guarded memory;
    float *b = check_floats(&memory, floats);

    for (int64_t r = 0; r < rows; r++)
        at[r] = x[r] + begin;
    for (int64_t k = begin; k < end; k++)
        memcpy(b + (k - begin) * stride, w + k * columns, (size_t)columns * sizeof *b);
    kernel->sweep(&(gmm_sweep){
        .rows = rows,
        .columns = columns,
        .k = end - begin,
        .x = at,
        .b = b,
        .b_stride = stride,
        .sums = sums,
        .sums_stride = sums_stride,
    });
    free(at);
    gmm_guarded_free(&memory);
}

static void check_shape(const gmm_kernel *kernel, gmm_random *random, int64_t rows, int64_t columns,
                        check_values values)
{
    int64_t k = gmm_random_between(random, 1, 40), ends[4], stride = columns + gmm_random_between(random, 0, 3);
    int64_t sums_stride = columns + gmm_random_between(random, 0, 3), all = (rows - 1) * sums_stride + columns;
    gmm_guarded memory[2];
    float *x = check_floats(&memory[0], rows * k), *sums = check_floats(&memory[1], all);
    float *w = check_allocate(columns * k, sizeof *w), *column = check_allocate(k, sizeof *column);
    const float **x_rows = check_allocate(rows, sizeof *x_rows);

    check_floats_fill(random, values, rows * k, x);
    check_floats_fill(random, values, columns * k, w);
    for (int64_t r = 0; r < rows; r++) {
        x_rows[r] = x + r * k;
        memset(sums + r * sums_stride, 0, (size_t)columns * sizeof *sums);
    }
    check_outer_cut(random, k, 1, ends);
    check_case("%lld rows, %lld columns, k = %lld, cut at %lld, %lld, %lld, rows of weights %lld apart, %s",
               (long long)rows, (long long)columns, (long long)k, (long long)ends[0], (long long)ends[1],
               (long long)ends[2], (long long)stride, check_values_text(values));
    for (int64_t begin = 0, block = 0; begin < k; begin = ends[block++])
        sweep_block(kernel, x_rows, w, rows, columns, stride, begin, ends[block], sums, sums_stride);
    for (int64_t c = 0; c < columns; c++) {
        for (int64_t i = 0; i < k; i++)
            column[i] = w[i * columns + c];
        for (int64_t r = 0; r < rows; r++) {
            float want = check_contract_sum(kernel->needs != 0, 1, k, x_rows[r], column);
            check_all_same(sums + r * sums_stride + c, &want, 1, "the contract says");
            if (values == CHECK_TAME)
                check_bound(k, x_rows[r], column, sums[r * sums_stride + c]);
        }
    }
    for (int64_t r = 0; r + 1 < rows; r++)
        for (int64_t c = columns; c < sums_stride; c++)
            if (sums[r * sums_stride + c] == sums[r * sums_stride + c])
                check_fail("writes between the rows of its sums");
    if (!gmm_guarded_intact(&memory[1]))
        check_fail("writes before its sums");
    gmm_guarded_free(&memory[0]);
    gmm_guarded_free(&memory[1]);
    free(x_rows);
    free(column);
    free(w);
}

void check_sweep(void **state)
{
    gmm_random random;
    const gmm_kernel *kernel = check_begin(state, "sweep", &random);

    for (int64_t columns = 1; columns <= 70; columns++)
        for (int values = CHECK_TAME; values <= CHECK_WILD; values++)
            if (gmm_test_wanted(&random))
                check_shape(kernel, &random, gmm_random_between(&random, 1, 9), columns, (check_values)values);
    for (int64_t rows = 1; rows <= 16; rows++)
        for (int values = CHECK_TAME; values <= CHECK_WILD; values++)
            if (gmm_test_wanted(&random))
                check_shape(kernel, &random, rows, gmm_random_between(&random, 100, 1100), (check_values)values);
}
