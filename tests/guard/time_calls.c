/* time_calls.c - the time of some BLAS calls: run it alone and under gathermm guard, and subtract. */
/* SPDX-License-Identifier: MIT */

/* LD_PRELOAD chooses the BLAS: LD_PRELOAD=libopenblas.so.0 build/tests/time_calls */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc);
void cblas_sgemv(int order, int transpose, int m, int n, float alpha, const float *a, int lda, const float *x, int incx,
                 float beta, float *y, int incy);
double cblas_ddot(int n, const double *x, int incx, const double *y, int incy);

enum {
    ROW_MAJOR = 101,
    NO_TRANSPOSE = 111,
    MOST = 544 * 512
};

static float a[MOST], b[MOST], c[MOST];
static const double few[4] = {1, 2, 3, 4};
static volatile double dot;

static void call(int which)
{
    if (which == 0)
        dot = cblas_ddot(4, few, 1, few, 1);
    else if (which == 1)
        cblas_sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 1, 512, 544, 1.0f, a, 544, b, 512, 0.0f, c, 512);
    else if (which == 2)
        cblas_sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 256, 256, 256, 1.0f, a, 256, b, 256, 0.0f, c, 256);
    else
        cblas_sgemv(ROW_MAJOR, NO_TRANSPOSE, 512, 512, 1.0f, b, 512, a, 1, 0.0f, c, 1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(void)
{
    static const char *const names[] = {"ddot n = 4", "sgemm 1 x 512 x 544", "sgemm 256 x 256 x 256",
                                        "sgemv 512 x 512"};
    static const int repeats[] = {20000, 500, 50, 500};

    for (int i = 0; i < MOST; i++) {
        a[i] = (float)(rand() % 17 - 8);
        b[i] = (float)(rand() % 17 - 8);
    }
    for (int which = 0; which < 4; which++) {
        double best = 1e9;
        for (int run = 0; run < 20; run++) {
            double begin = now();
            for (int i = 0; i < repeats[which]; i++)
                call(which);
            double one = (now() - begin) / repeats[which];
            best = one < best ? one : best;
        }
        printf("%-24s %10.2f us\n", names[which], 1e6 * best);
    }
    return 0;
}
