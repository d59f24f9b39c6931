/* provider_state.h - what provider.c and provider_check.c share. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_PROVIDER_STATE_H
#define GMM_PROVIDER_STATE_H

#include <pthread.h>

#include "blas/blas_call.h"
#include "blas/provider.h"

enum {
    GMM_PROVIDER_SIZES = 6,
    GMM_PROVIDER_OFFSETS = 16, /* of four bytes from a 64-byte boundary */
    GMM_PROVIDER_CLASSES = 2 * GMM_PROVIDER_SIZES * GMM_PROVIDER_SIZES * GMM_PROVIDER_SIZES * GMM_PROVIDER_OFFSETS,
};

/* What is known of a class of calls; the order is that of gravity. */
typedef enum gmm_provider_verdict {
    GMM_PROVIDER_UNKNOWN,
    GMM_PROVIDER_GOOD,
    GMM_PROVIDER_REMEDIED, /* right if C holds zeros */
    GMM_PROVIDER_REFUSED
} gmm_provider_verdict;

struct gmm_provider {
    gmm_provider *next;
    char key[1200]; /* the build-id, or path, size and time */
    gmm_blas_library library;
    gmm_blas_any_function *function;
    const gmm_blas_routine *routine;
    bool fortran;
    gmm_provider_info info;                               /* under the lock, once it is in the list */
    _Atomic unsigned char verdicts[GMM_PROVIDER_CLASSES]; /* written under the lock */
    pthread_mutex_t lock; /* one call at a time: serial builds of OpenBLAS share one buffer between all callers */
};

/* How a product is laid out: the route's own are tight, those of checks need not be. */
typedef struct gmm_provider_layout {
    int64_t lda, ldc;
} gmm_provider_layout;

/* Make the call. The lock is held. */
void gmm_provider_call(gmm_provider *provider, const gmm_provider_product *product, gmm_provider_layout layout);

/* Check a class by small calls like `product`; its a, b, c are not looked at, but for b's offset. GMM_PROVIDER_UNKNOWN
 * if there is no memory. A finding is put into `text`. The lock is held, the floating-point environment is default. */
gmm_provider_verdict gmm_provider_check_class(gmm_provider *provider, const gmm_provider_product *product, char *text,
                                              size_t text_size);

/* Check what every class builds on: small sizes, all offsets of all operands, gaps behind rows. Likewise. */
gmm_provider_verdict gmm_provider_check_basics(gmm_provider *provider, char *text, size_t text_size);

/* Which of GMM_PROVIDER_SIZES does a size belong to, and the first size of it? */
int gmm_provider_size_class(int64_t size);
int64_t gmm_provider_size_first(int size_class);

#endif
