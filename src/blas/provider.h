/* provider.h - a BLAS that multiplies for contexts which name one: loaded for good, checked, never trusted.
 * SPDX-License-Identifier: MIT
 *
 * The only header of this folder that products see. */
#ifndef GMM_PROVIDER_H
#define GMM_PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

#include "gathermm/blas.h"

/* One for each library in the process; lives as long as the library gathermm does. */
typedef struct gmm_provider gmm_provider;

/* c := a op(b), row-major. a and c lie in memory of ours, from a 64-byte boundary on and without gaps; b anywhere. */
typedef struct gmm_provider_product {
    bool transpose_b; /* b is stored (n, k), else (k, n) */
    int64_t m, n, k;  /* m and n at least 2: a product of one row, or of one column, is never asked for */
    const float *a, *b;
    int64_t ldb;
    float *c; /* holds zeros */
} gmm_provider_product;

/*
 * Load and check a library, or find it among those that were. `name` is a path, a name for the dynamic loader, or
 * "auto". GMM_ERR_BLAS with the finding: it cannot be loaded, has no sgemm, breaks the contract. GMM_ERR_MEMORY.
 */
gmm_status gmm_provider_open(const char *name, gmm_provider **provider);

/* Will it make this product? False if sizes are beyond its integers, and for classes of calls that it does not make
 * right: the first call of a class is preceded by a check of the class, in the caller's thread. Any threads. */
bool gmm_provider_takes(gmm_provider *provider, const gmm_provider_product *product);

/* Make a product that is taken. One at a time: others wait. */
void gmm_provider_multiply(gmm_provider *provider, const gmm_provider_product *product);

void gmm_provider_describe(gmm_provider *provider, gmm_provider_info *info);

#endif
