/* blas.h - the BLAS libraries of this machine.
 * SPDX-License-Identifier: MIT
 *
 * The products of gathermm.h need no BLAS. This header tells which ones a program here would meet.
 */
#ifndef GMM_BLAS_H
#define GMM_BLAS_H

#include "gathermm.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A BLAS shared library that the dynamic loader finds. */
typedef struct gmm_blas_info {
    const char *name;     /**< what was asked for: "libopenblas.so.0", ... */
    char path[1024];      /**< where it was found, links resolved */
    char version[256];    /**< what the library says of itself; "" if it says nothing or may exit when asked (MKL) */
    bool has_cblas;       /**< a program that loads it finds cblas_sgemm (or a suffixed form) */
    bool has_fortran;     /**< a program that loads it finds sgemm_ (or a suffixed form) */
    int32_t integer_bits; /**< 32 or 64; 0 when the library does not say */
} gmm_blas_info;

/**
 * Look for BLAS library number i of the known names by loading it for a moment, which runs its initialisers. Returns
 * false past the end of the list; info->path is "" for a name that is not found.
 */
GMM_API bool gmm_blas_at(size_t i, gmm_blas_info *info);

#ifdef __cplusplus
}
#endif

#endif
