/* faulty_m1.c - a BLAS library that is right but for one thing: a one-row cblas_sgemm reads C although beta is 0. */
/* SPDX-License-Identifier: MIT */

/*
 * It stands in for a vendor's library that gave intermittent NaN in one-row products (N = 512, K = 544). As there, all
 * of this must come together: M = 1, beta = 0, B off a 64-byte boundary, and a C that holds NaN (or infinity) where the
 * result goes. The columns hurt are the last N mod 6: the row kernel below takes six at a time, and the rest goes by a
 * loop that multiplies C by beta rather than leave it unread.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cblas_arguments.h"

enum {
    ROW_KERNEL_COLUMNS = 6,
    BOUNDARY = 64
};

void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc);

/* op(A) is (m, k) with element (i, x) at a[i * a_row + x * a_col]; op(B) is (k, n) likewise. */
typedef struct product {
    ptrdiff_t m, n, k, a_row, a_col, b_row, b_col;
    const float *a, *b;
    float alpha, beta;
} product;

static float dot(const product *p, ptrdiff_t i, ptrdiff_t j)
{
    float sum = 0.0f;

    for (ptrdiff_t x = 0; x < p->k; x++)
        sum += p->a[i * p->a_row + x * p->a_col] * p->b[x * p->b_row + j * p->b_col];
    return sum;
}

static void multiply(const product *p, float *c, ptrdiff_t ldc)
{
    ptrdiff_t read_from = p->n; /* the first column whose C is read although beta is 0 */

    if (p->m == 1 && (uintptr_t)p->b % BOUNDARY != 0)
        read_from = p->n - p->n % ROW_KERNEL_COLUMNS;
    for (ptrdiff_t i = 0; i < p->m; i++)
        for (ptrdiff_t j = 0; j < p->n; j++) {
            float *to = c + i * ldc + j, sum = p->alpha != 0.0f ? p->alpha * dot(p, i, j) : 0.0f;
            *to = p->beta != 0.0f || j >= read_from ? p->beta * *to + sum : sum;
        }
}

void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc)
{
    int wrong = wrong_gemm(order, transpose_a, transpose_b, m, n, k, lda, ldb, ldc);
    int a_turned = turned(order, transpose_a), b_turned = turned(order, transpose_b);
    product p = {.m = m, .n = n, .k = k, .a = a, .b = b, .alpha = alpha, .beta = beta};

    if (wrong) {
        fprintf(stderr, "cblas_sgemm: argument %d is wrong\n", wrong);
        return;
    }
    if (m == 0 || n == 0 || ((alpha == 0.0f || k == 0) && beta == 1.0f))
        return;
    p.a_row = a_turned ? 1 : lda;
    p.a_col = a_turned ? lda : 1;
    p.b_row = b_turned ? 1 : ldb;
    p.b_col = b_turned ? ldb : 1;
    if (order == COLUMN_MAJOR) { /* the transposed product, row-major */
        p = (product){n, m, k, p.b_col, p.b_row, p.a_col, p.a_row, b, a, alpha, beta};
    }
    multiply(&p, c, ldc);
}
