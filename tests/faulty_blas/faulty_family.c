/* faulty_family.c - a small right BLAS, built once clean and once with each planted fault. */
/* SPDX-License-Identifier: MIT */

/*
 * It has sgemm, dgemm, sgemv, dsymv, dcopy and ddot in CBLAS, which is enough for every kind of fault. Each fault is
 * what some real library has had, and needs its own trigger; FAULT says which one is in, 0 none.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cblas_arguments.h"

#ifndef FAULT
#define FAULT NONE
#endif

/* tests/audit/audit_fault.py says which check finds each. */
enum {
    NONE,
    STALE_ROW,      /* the M1 case: one row, beta = 0, B off a 64-byte boundary: C is read in the last columns */
    STALE_LARGE,    /* C is read from a size on */
    DEAD_STACK,     /* a sum begins with what lies on the stack */
    SCRATCH_LEFT,   /* dsymv multiplies by zero what an earlier dgemm packed */
    DEAD_REGISTER,  /* C is zeroed by multiplying a register that was not set */
    OVER_READ,      /* ddot reads one element too many */
    OVER_WRITE,     /* dcopy writes one element too many */
    PADDING_WRITE,  /* gemm writes behind the end of a row */
    LOST_TAIL,      /* the last K mod 8 terms are lost if M is 1 */
    ALPHA_IGNORED,  /* alpha = 0 multiplies, and NaN times 0 is NaN */
    OTHER_TRIANGLE, /* dsymv loads the triangle that is not referenced */
    INACCURATE,     /* relative errors of 2^-12 from K = 17 on */
    BACKWARDS,      /* gemv takes the x of an increment below -1 from the wrong end */
    BAD_IGNORED,    /* a wrong leading dimension does not keep gemm from writing */
    HANGS,          /* a transposed gemv with M = 0 does not return */
    EXITS,          /* a gemv with M = 7 ends the process */
    UNALIGNED_BITS, /* ddot rounds otherwise off a 16-byte boundary */
    FORK_FORGETS,   /* ddot is wrong in a forked child */
    FORK_WAITS,     /* a forked child waits for ever in ddot */
    INDEX_WRAPS,    /* gemm computes the places of B in 32 bits */
    FLOAT_CONTROL,  /* ddot leaves subnormals flushed to zero from five terms on */
    LOAD_FLUSHES    /* the library flushes them from when it is loaded, as -ffast-math makes shared libraries do */
};

void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc);
void cblas_dgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, double alpha, const double *a,
                 int lda, const double *b, int ldb, double beta, double *c, int ldc);
void cblas_sgemv(int order, int transpose, int m, int n, float alpha, const float *a, int lda, const float *x, int incx,
                 float beta, float *y, int incy);
void cblas_dgemv(int order, int transpose, int m, int n, double alpha, const double *a, int lda, const double *x,
                 int incx, double beta, double *y, int incy);
void cblas_dsymv(int order, int uplo, int n, double alpha, const double *a, int lda, const double *x, int incx,
                 double beta, double *y, int incy);
void cblas_dcopy(int n, const double *x, int incx, double *y, int incy);
double cblas_ddot(int n, const double *x, int incx, const double *y, int incy);

/* Numbers that an earlier call packed, as a library's buffers keep them. */
static volatile double scratch[64];

/* What a register or the stack happens to hold is undefined in C: read through what the compiler cannot see through. */
__attribute__((noinline)) static double dead_stack(void)
{
    volatile double frame[512];
    const volatile double *volatile deep = frame; /* a compiler that knew it would warn, or make it zero */

    return deep[256] * 0.0;
}

__attribute__((noinline)) static double dead_register(void)
{
    double held = 0.0;

#if defined(__x86_64__)
    __asm__ volatile("movapd %%xmm9, %0" : "=x"(held));
#elif defined(__aarch64__)
    __asm__ volatile("fmov %d0, d20" : "=w"(held));
#endif
    return held * 0.0;
}

/* y := alpha A x + beta y for n numbers a step apart each; all routines come down to this sum. */
static double sum_of(const double *a, ptrdiff_t a_step, const double *x, ptrdiff_t x_step, ptrdiff_t n)
{
    double total = 0.0;

    for (ptrdiff_t i = 0; i < n; i++)
        total += a[i * a_step] * x[i * x_step];
    return total;
}

/* ---- gemm -------------------------------------------------------------------------------------------------------- */

typedef struct product {
    ptrdiff_t m, n, k, a_row, a_col, b_row, b_col, c_row, c_col;
    double alpha, beta;
    int aligned; /* B begins at a 64-byte boundary */
} product;

/* Whether element (i, j) of C is read although beta is 0. */
static int reads_c(const product *p, ptrdiff_t j)
{
    if (FAULT == STALE_ROW)
        return p->m == 1 && !p->aligned && j >= p->n - p->n % 6;
    if (FAULT == STALE_LARGE)
        return p->m * p->n > 1000;
    return 0;
}

static ptrdiff_t place_in_b(const product *p, ptrdiff_t row, ptrdiff_t column)
{
    ptrdiff_t place = row * p->b_row + column * p->b_col;

    return FAULT == INDEX_WRAPS ? (int32_t)(uint32_t)(uint64_t)place : place;
}

static double first_register; /* what a register held when dgemm was entered, times zero */

#define GEMM(name, real)                                                                                               \
    static void name(const product *p, const real *a, const real *b, real *c)                                          \
    {                                                                                                                  \
        ptrdiff_t k_used = p->k;                                                                                       \
                                                                                                                       \
        if (FAULT == LOST_TAIL && p->m == 1 && p->k > 8)                                                               \
            k_used = p->k - p->k % 8;                                                                                  \
        for (ptrdiff_t i = 0; i < p->m; i++)                                                                           \
            for (ptrdiff_t j = 0; j < p->n; j++) {                                                                     \
                real *to = c + i * p->c_row + j * p->c_col;                                                            \
                double sum = 0.0;                                                                                      \
                if (p->alpha != 0.0 || FAULT == ALPHA_IGNORED)                                                         \
                    for (ptrdiff_t x = 0; x < k_used; x++)                                                             \
                        sum += (double)a[i * p->a_row + x * p->a_col] * (double)b[place_in_b(p, x, j)];                \
                sum *= p->alpha;                                                                                       \
                if (p->beta != 0.0 || reads_c(p, j))                                                                   \
                    sum += p->beta * (double)*to;                                                                      \
                if (FAULT == DEAD_STACK && p->n > 4)                                                                   \
                    sum += dead_stack();                                                                               \
                if (FAULT == DEAD_REGISTER)                                                                            \
                    sum += first_register;                                                                             \
                if (FAULT == INACCURATE && p->k > 16)                                                                  \
                    sum *= 1.0 + 0x1p-12;                                                                              \
                *to = (real)sum;                                                                                       \
            }                                                                                                          \
        if (FAULT == PADDING_WRITE && p->m > 2 && p->n > 2 && p->c_row > p->n)                                         \
            c[p->n] = 1;                                                                                               \
    }

GEMM(multiply_s, float)
GEMM(multiply_d, double)

/* 0 if there is nothing to do. */
static int set_product(product *p, int order, int transpose_a, int transpose_b, int m, int n, int k, double alpha,
                       int lda, int ldb, double beta, int ldc)
{
    int a_turned = turned(order, transpose_a), b_turned = turned(order, transpose_b), c_turned = order == COLUMN_MAJOR;
    int wrong = wrong_gemm(order, transpose_a, transpose_b, m, n, k, lda, ldb, ldc);

    if (wrong && FAULT != BAD_IGNORED) {
        fprintf(stderr, "gemm: argument %d is wrong\n", wrong);
        return 0;
    }
    *p = (product){m,
                   n,
                   k,
                   a_turned ? 1 : lda,
                   a_turned ? lda : 1,
                   b_turned ? 1 : ldb,
                   b_turned ? ldb : 1,
                   c_turned ? 1 : ldc,
                   c_turned ? ldc : 1,
                   alpha,
                   beta,
                   0};
    return m > 0 && n > 0 && !((alpha == 0.0 || k == 0) && beta == 1.0);
}

void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc)
{
    product p;

    if (!set_product(&p, order, transpose_a, transpose_b, m, n, k, (double)alpha, lda, ldb, (double)beta, ldc))
        return;
    p.aligned = (uintptr_t)b % 64 == 0;
    multiply_s(&p, a, b, c);
}

void cblas_dgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, double alpha, const double *a,
                 int lda, const double *b, int ldb, double beta, double *c, int ldc)
{
    product p;

    if (FAULT == DEAD_REGISTER)
        first_register = dead_register();
    if (!set_product(&p, order, transpose_a, transpose_b, m, n, k, alpha, lda, ldb, beta, ldc))
        return;
    p.aligned = (uintptr_t)b % 64 == 0;
    multiply_d(&p, a, b, c);
    for (ptrdiff_t i = 0; i < 64 && i < p.k && p.alpha != 0.0; i++)
        scratch[i] = a[i * p.a_col];
}

/* ---- gemv -------------------------------------------------------------------------------------------------------- */

#define GEMV(name, real)                                                                                               \
    void name(int order, int transpose, int m, int n, real alpha, const real *a, int lda, const real *x, int incx,     \
              real beta, real *y, int incy)                                                                            \
    {                                                                                                                  \
        int flipped = transpose != NO_TRANSPOSE, lines = turned(order, transpose);                                     \
        ptrdiff_t rows = flipped ? n : m, columns = flipped ? m : n;                                                   \
        ptrdiff_t row = lines ? 1 : lda, column = lines ? lda : 1;                                                     \
        const real *from = x + (incx < 0 ? (1 - columns) * incx : 0);                                                  \
        real *to = y + (incy < 0 ? (1 - rows) * incy : 0);                                                             \
                                                                                                                       \
        ptrdiff_t step = incx;                                                                                         \
                                                                                                                       \
        if (FAULT == BACKWARDS && incx < -1) {                                                                         \
            from = x;                                                                                                  \
            step = -step;                                                                                              \
        }                                                                                                              \
        if ((order != ROW_MAJOR && order != COLUMN_MAJOR) || transpose < NO_TRANSPOSE ||                               \
            transpose > CONJUGATE_TRANSPOSE || m < 0 || n < 0 || wrong_ld(order, NO_TRANSPOSE, m, n, lda) ||           \
            incx == 0 || incy == 0) {                                                                                  \
            fprintf(stderr, "gemv: an argument is wrong\n");                                                           \
            return;                                                                                                    \
        }                                                                                                              \
        while (FAULT == HANGS && m == 0 && flipped)                                                                    \
            scratch[0] += 1.0;                                                                                         \
        if (m == 0 || n == 0)                                                                                          \
            return;                                                                                                    \
        if (FAULT == EXITS && m == 7)                                                                                  \
            exit(5);                                                                                                   \
        for (ptrdiff_t i = 0; i < rows; i++) {                                                                         \
            double sum = 0.0;                                                                                          \
            if (alpha != 0)                                                                                            \
                for (ptrdiff_t j = 0; j < columns; j++)                                                                \
                    sum += (double)a[i * row + j * column] * (double)from[j * step];                                   \
            sum *= (double)alpha;                                                                                      \
            if (beta != 0)                                                                                             \
                sum += (double)beta * (double)to[i * incy];                                                            \
            to[i * incy] = (real)sum;                                                                                  \
        }                                                                                                              \
    }

GEMV(cblas_sgemv, float)
GEMV(cblas_dgemv, double)

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

void cblas_dsymv(int order, int uplo, int n, double alpha, const double *a, int lda, const double *x, int incx,
                 double beta, double *y, int incy)
{
    const double *from = x + (incx < 0 ? (ptrdiff_t)(1 - n) * incx : 0);
    double *to = y + (incy < 0 ? (ptrdiff_t)(1 - n) * incy : 0);
    int upper = (uplo == UPPER) == (order == ROW_MAJOR);

    if ((order != ROW_MAJOR && order != COLUMN_MAJOR) || (uplo != UPPER && uplo != LOWER) || n < 0 || lda < n ||
        lda < 1 || incx == 0 || incy == 0)
        return;
    for (ptrdiff_t i = 0; i < n; i++) {
        double sum = 0.0;
        for (ptrdiff_t j = 0; j < n && alpha != 0.0; j++) {
            ptrdiff_t at = (i <= j) == upper ? i * lda + j : j * lda + i;
            if (i == j)
                at = i * lda + i;
            sum += a[at] * from[j * incx];
        }
        sum *= alpha;
        if (FAULT == SCRATCH_LEFT && n % 4 == 2)
            sum += scratch[n % 64] * 0.0;
        if (FAULT == OTHER_TRIANGLE && n > 5)
            sum += a[upper ? (ptrdiff_t)(n - 1) * lda : n - 1] * 0.0;
        if (beta != 0.0)
            sum += beta * to[i * incy];
        to[i * incy] = sum;
    }
}

void cblas_dcopy(int n, const double *x, int incx, double *y, int incy)
{
    const double *from = x + (incx < 0 ? (ptrdiff_t)(1 - n) * incx : 0);
    double *to = y + (incy < 0 ? (ptrdiff_t)(1 - n) * incy : 0);

    for (ptrdiff_t i = 0; i < n; i++)
        to[i * incy] = from[i * incx];
    if (FAULT == OVER_WRITE && n > 3 && incy == 1)
        to[n] = to[n - 1];
}

static void flush_subnormals(void)
{
#if defined(__x86_64__)
    unsigned mxcsr;

    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    mxcsr |= 0x8040;
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
#elif defined(__aarch64__)
    uint64_t fpcr;

    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("msr fpcr, %0" ::"r"(fpcr | 1 << 24));
#endif
}

__attribute__((constructor)) static void loaded(void)
{
    if (FAULT == LOAD_FLUSHES)
        flush_subnormals();
}

double cblas_ddot(int n, const double *x, int incx, const double *y, int incy)
{
    const double *from = x + (incx < 0 ? (ptrdiff_t)(1 - n) * incx : 0);
    const double *other = y + (incy < 0 ? (ptrdiff_t)(1 - n) * incy : 0);
    double total = n > 0 ? sum_of(from, incx, other, incy, n) : 0.0;

    if (FAULT == FLOAT_CONTROL && n > 4)
        flush_subnormals();
    if (FAULT == OVER_READ && n > 2 && incx == 1)
        scratch[0] = from[n];
    if (FAULT == UNALIGNED_BITS && n > 8 && (uintptr_t)x % 16 != 0)
        total += sum_of(from, incx, other, incy, 1) * 0x1p-50;
    if (FAULT == FORK_FORGETS || FAULT == FORK_WAITS) {
        static pid_t mine;
        if (!mine)
            mine = getpid();
        while (FAULT == FORK_WAITS && mine != getpid())
            pause();
        if (mine != getpid())
            total += 1.0;
    }
    return total;
}
