/* blas_library.h - a loaded BLAS: its symbols under whatever decoration, the width of its integers, its threads. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_BLAS_LIBRARY_H
#define GMM_BLAS_LIBRARY_H

#include "blas/routine.h"
#include "gathermm/blas.h"

/* ISO C has no conversion from object to function pointers; POSIX promises that this one works. */
typedef void gmm_blas_any_function(void);

/* A way to write symbols: prefix and suffix around "cblas_sgemm" or "sgemm". */
typedef struct gmm_blas_symbol_form {
    bool fortran;
    const char *prefix, *suffix;
} gmm_blas_symbol_form;

/* Form number i of symbol_form_list.h; NULL past its end. */
const gmm_blas_symbol_form *gmm_blas_symbol_form_at(size_t i);

/* How a library's Fortran functions return complex numbers. */
typedef enum gmm_blas_complex_return {
    GMM_COMPLEX_UNKNOWN,   /* it has none, or they do not do what they should */
    GMM_COMPLEX_REGISTERS, /* as C's complex types: gfortran's way */
    GMM_COMPLEX_HIDDEN     /* through an address before the arguments: f2c's, Intel's */
} gmm_blas_complex_return;

typedef struct gmm_blas_library {
    void *handle;
    gmm_blas_info info;                          /* info.name is the caller's string */
    const gmm_blas_symbol_form *cblas, *fortran; /* the first form of which the library has any routine; NULL: none */
    gmm_blas_complex_return complex_return;
} gmm_blas_library;

/*
 * Load a library by name or path into this process, for good: threads that it started must not lose their code. The
 * width of the integers and the way of complex results are found by calling it: see blas_library.c. Whoever wants to
 * survive a library that breaks does this in a process of its own. GMM_ERR_FILE if the loader refuses it,
 * GMM_ERR_FORMAT if it has no routine that is known here.
 */
gmm_status gmm_blas_load(const char *name, gmm_blas_library *library);

/* A symbol of the library, as it is written; NULL if it has none. */
gmm_blas_any_function *gmm_blas_raw_symbol(const gmm_blas_library *library, const char *name);

/* A routine in one interface; NULL if the library has it not. */
gmm_blas_any_function *gmm_blas_function(const gmm_blas_library *library, const gmm_blas_routine *routine, char type,
                                         bool fortran);

/* Ask for a number of threads; false if the library has no way to do so. And the number now; 1 if it does not say. */
bool gmm_blas_set_threads(const gmm_blas_library *library, int threads);
int gmm_blas_get_threads(const gmm_blas_library *library);

/* Fill path and version of `info`, and its integer_bits if the library tells them: blas_find.c. `any` is one of the
 * library's functions, or NULL. */
void gmm_blas_describe(void *handle, gmm_blas_any_function *any, gmm_blas_info *info);

#endif
