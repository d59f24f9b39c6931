/* guard_user.c - a program that calls a BLAS in every way that the guard watches; faulty ones are preloaded. */
/* SPDX-License-Identifier: MIT */

/* usage: guard_user MODE [LIBRARY]; it prints a hash of all that was computed. */
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc);
void cblas_dgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, double alpha, const double *a,
                 int lda, const double *b, int ldb, double beta, double *c, int ldc);
void cblas_dgemv(int order, int transpose, int m, int n, double alpha, const double *a, int lda, const double *x,
                 int incx, double beta, double *y, int incy);
void cblas_dsymv(int order, int uplo, int n, double alpha, const double *a, int lda, const double *x, int incx,
                 double beta, double *y, int incy);
void cblas_dcopy(int n, const double *x, int incx, double *y, int incy);
double cblas_ddot(int n, const double *x, int incx, const double *y, int incy);

enum {
    ROW_MAJOR = 101,
    NO_TRANSPOSE = 111,
    LOWER = 122,
    MOST = 1024,
    CALLERS = 4
};

typedef void sgemm_function(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *,
                            int);

typedef struct arrays {
    _Alignas(64) float fa[MOST];
    float fb[MOST + 1], fc[MOST];
    _Alignas(64) double a[MOST];
    double b[MOST], c[MOST + 1], nan[MOST];
    uint64_t hash;
} arrays;

static void fill(arrays *w)
{
    uint64_t x = 88172645463325252u;

    for (int i = 0; i < MOST; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        w->a[i] = (double)(x % 1000) / 500 - 1;
        w->b[i] = (double)(x / 1000 % 1000) / 500 - 1;
        w->fa[i] = (float)w->a[i];
        w->fb[i] = (float)w->b[i];
        w->nan[i] = (double)NAN;
    }
    memset(w->c, 0, sizeof w->c);
    memset(w->fc, 0, sizeof w->fc);
    w->hash = 14695981039346656037u;
}

static void mix(arrays *w, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        w->hash = (w->hash ^ ((const unsigned char *)data)[i]) * 1099511628211u;
}

/* One row, B off a 64-byte boundary: the story of this project. */
static void one_row(arrays *w, sgemm_function *sgemm)
{
    const float *b = w->fb + ((uintptr_t)w->fb % 64 == 0 ? 1 : 0);

    sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 1, 31, 30, 1.0f, w->fa, 30, b, 31, 0.0f, w->fc, 31);
    mix(w, w->fc, 31 * sizeof w->fc[0]);
}

static void *work(void *argument)
{
    arrays *w = argument;
    double dot;

    fill(w);
    one_row(w, cblas_sgemm);
    /* Gaps in C, and C added to. */
    cblas_dgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 7, 6, 20, 0.5, w->a, 20, w->b, 6, 0.25, w->c, 9);
    mix(w, w->c, 60 * sizeof w->c[0]);
    cblas_dgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 32, 32, 4, 1.0, w->a, 4, w->b, 32, 0.0, w->c, 32);
    mix(w, w->c, MOST * sizeof w->c[0]);
    /* alpha = 0: what A and B hold does not matter. */
    cblas_dgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 3, 3, 3, 0.0, w->nan, 3, w->nan, 3, 0.0, w->c, 3);
    mix(w, w->c, 9 * sizeof w->c[0]);
    /* NaN in, NaN out: no fault of anybody; but a library may keep it. */
    cblas_dgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 8, 8, 8, 1.0, w->nan, 8, w->nan, 8, 0.0, w->c, 8);
    cblas_dsymv(ROW_MAJOR, LOWER, 6, 1.0, w->a, 7, w->b, 1, 0.0, w->c, 1);
    mix(w, w->c, 6 * sizeof w->c[0]);
    cblas_dgemv(ROW_MAJOR, NO_TRANSPOSE, 9, 5, 1.0, w->a, 5, w->b, -2, 0.0, w->c, 3);
    mix(w, w->c, 25 * sizeof w->c[0]);
    cblas_dcopy(20, w->a, 1, w->c, 1);
    mix(w, w->c, 20 * sizeof w->c[0]);
    dot = cblas_ddot(20, w->a, 1, w->b, 1);
    mix(w, &dot, sizeof dot);
    return NULL;
}

static uint64_t in_threads(void)
{
    static arrays each[CALLERS];
    pthread_t threads[CALLERS];
    uint64_t hash = 0;

    for (int repeat = 0; repeat < 50; repeat++) {
        for (int i = 0; i < CALLERS; i++)
            if (pthread_create(&threads[i], NULL, work, &each[i]))
                exit(9);
        for (int i = 0; i < CALLERS; i++) {
            pthread_join(threads[i], NULL);
            hash += each[i].hash;
        }
    }
    return hash;
}

/* The child has other memory and other threads, and the same libraries. */
static uint64_t in_child(arrays *w)
{
    int status = 0;

    work(w);
    pid_t child = fork();
    if (child == 0) {
        work(w);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status)
        exit(9);
    return w->hash;
}

/* As a language does that knows of C only at run time. */
static uint64_t by_name(arrays *w, const char *library)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL), *object = handle ? dlsym(handle, "cblas_sgemm") : NULL;
    sgemm_function *function;

    if (!object)
        exit(9);
    memcpy(&function, &object, sizeof function);
    fill(w);
    one_row(w, function);
    return w->hash;
}

int main(int argc, char **argv)
{
    static arrays w;
    const char *mode = argc > 1 ? argv[1] : "work";
    /* A pointer to a function, and not a call of it. */
    static sgemm_function *volatile pointer = cblas_sgemm;

    fill(&w);
    if (!strcmp(mode, "work"))
        work(&w);
    else if (!strcmp(mode, "pointer"))
        one_row(&w, pointer);
    else if (!strcmp(mode, "threads"))
        w.hash = in_threads();
    else if (!strcmp(mode, "fork"))
        in_child(&w);
    else if (!strcmp(mode, "dlsym") && argc == 3)
        by_name(&w, argv[2]);
    else if (!strcmp(mode, "overlap"))
        cblas_dgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 4, 4, 4, 1.0, w.a, 4, w.b, 4, 0.0, w.a + 15, 4);
    else if (!strcmp(mode, "blocks")) /* of one matrix, between each other's rows: no overlap */
        cblas_dgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 4, 4, 4, 1.0, w.a, 12, w.a + 4, 12, 0.0, w.a + 8, 12);
    else if (!strcmp(mode, "bad"))
        cblas_dgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 4, 4, 4, 1.0, w.a, 3, w.b, 4, 0.0, w.c, 4);
    else if (!strcmp(mode, "exit"))
        return 7;
    else if (!strcmp(mode, "abort"))
        abort();
    else
        return 9;
    printf("%016llx\n", (unsigned long long)w.hash);
    return 0;
}
