/* blas_loop.c - a gathered f32 product as a loop of cblas_sgemv and cblas_sgemm, of a BLAS that is loaded by path. */
/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT
#endif

enum {
    ROW_MAJOR = 101,
    NO_TRANS = 111,
    TRANS = 112
};

/* CBLAS with 32-bit integers, which is what Debian's OpenBLAS and BLIS have. */
typedef void sgemm_function(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a,
                            int lda, const float *b, int ldb, float beta, float *c, int ldc);
typedef void sgemv_function(int order, int trans, int m, int n, float alpha, const float *a, int lda, const float *x,
                            int incx, float beta, float *y, int incy);

typedef struct peer_blas {
    sgemm_function *sgemm;
    sgemv_function *sgemv;
    int64_t k, n, experts, top_k, tokens;
    int64_t *first; /* experts + 1: where an expert's rows begin in `rows` */
    int64_t *rows;  /* positions token * top_k + slot, sorted by expert */
    float *lhs;     /* the rows of x of one expert */
    float *out;     /* and their products */
} peer_blas;

EXPORT peer_blas *peer_blas_new(void *library, int64_t k, int64_t n, int64_t experts, int64_t top_k, int64_t tokens);
EXPORT void peer_blas_run(peer_blas *p, const float *x, const float *weights, const int32_t *ids, float *out);
EXPORT void peer_blas_free(peer_blas *p);

EXPORT void peer_blas_free(peer_blas *p)
{
    if (!p)
        return;
    free(p->first);
    free(p->rows);
    free(p->lhs);
    free(p->out);
    free(p);
}

/* `library` is a handle of dlopen. NULL when it has no CBLAS, or there is no memory. */
EXPORT peer_blas *peer_blas_new(void *library, int64_t k, int64_t n, int64_t experts, int64_t top_k, int64_t tokens)
{
    peer_blas *p = calloc(1, sizeof *p);
    size_t most_rows = (size_t)(tokens * top_k);

    if (!p)
        return NULL;
    /* The way of POSIX to get a function out of dlsym's object pointer. */
    *(void **)&p->sgemm = dlsym(library, "cblas_sgemm");
    *(void **)&p->sgemv = dlsym(library, "cblas_sgemv");
    p->k = k;
    p->n = n;
    p->experts = experts;
    p->top_k = top_k;
    p->tokens = tokens;
    p->first = malloc((size_t)(experts + 1) * sizeof *p->first);
    p->rows = malloc(most_rows * sizeof *p->rows);
    p->lhs = malloc(most_rows * (size_t)k * sizeof *p->lhs);
    p->out = malloc(most_rows * (size_t)n * sizeof *p->out);
    if (!p->sgemm || !p->sgemv || !p->first || !p->rows || !p->lhs || !p->out) {
        peer_blas_free(p);
        return NULL;
    }
    return p;
}

/* A counting sort: rows[first[e]] to rows[first[e + 1] - 1] are the positions that use expert e, in order. */
static void group_by_expert(peer_blas *p, const int32_t *ids)
{
    int64_t count = p->tokens * p->top_k;

    memset(p->first, 0, (size_t)(p->experts + 1) * sizeof *p->first);
    for (int64_t i = 0; i < count; i++)
        p->first[ids[i] + 1]++;
    for (int64_t e = 0; e < p->experts; e++)
        p->first[e + 1] += p->first[e];
    for (int64_t i = count; i-- > 0;) /* leaves first[e + 1] at the beginning of e */
        p->rows[--p->first[ids[i] + 1]] = i;
    memmove(p->first, p->first + 1, (size_t)p->experts * sizeof *p->first);
    p->first[p->experts] = count;
}

/* out[token, slot] = weights[ids[token, slot]] @ x[token]; weights are experts x N x K, everything is row-major. */
EXPORT void peer_blas_run(peer_blas *p, const float *x, const float *weights, const int32_t *ids, float *out)
{
    int k = (int)p->k, n = (int)p->n;

    group_by_expert(p, ids);
    for (int64_t e = 0; e < p->experts; e++) {
        const float *w = weights + e * p->n * p->k;
        const int64_t *rows = p->rows + p->first[e];
        int m = (int)(p->first[e + 1] - p->first[e]);

        if (m == 1)
            p->sgemv(ROW_MAJOR, NO_TRANS, n, k, 1.0f, w, k, x + rows[0] / p->top_k * p->k, 1, 0.0f,
                     out + rows[0] * p->n, 1);
        if (m <= 1)
            continue;
        for (int i = 0; i < m; i++)
            memcpy(p->lhs + i * p->k, x + rows[i] / p->top_k * p->k, (size_t)k * sizeof *x);
        p->sgemm(ROW_MAJOR, NO_TRANS, TRANS, m, n, k, 1.0f, p->lhs, k, w, k, 0.0f, p->out, n);
        for (int i = 0; i < m; i++)
            memcpy(out + rows[i] * p->n, p->out + i * p->n, (size_t)n * sizeof *out);
    }
}
