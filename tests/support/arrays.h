/* arrays.h - gmm_arrays in guarded memory, with every kind of strides that the library must take. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_ARRAYS_H
#define GMM_ARRAYS_H

#include "gathermm/gathermm.h"
#include "guarded.h"
#include "random.h"

/* What memory holds before its elements are set, and between them. */
typedef enum gmm_poison {
    GMM_POISON_ZERO,
    GMM_POISON_QUIET_NAN,
    GMM_POISON_SIGNALLING_NAN,
    GMM_POISON_INFINITY,
    GMM_POISON_ONES, /* all bits */
    GMM_POISON_HUGE, /* 1e30, in f16 60000 */
    GMM_POISON_COUNT
} gmm_poison;

typedef enum gmm_layout {
    GMM_LAYOUT_PLAIN, /* row-major, from the start of a page: 64-byte aligned */
    GMM_LAYOUT_ANY,  /* permuted, negative, stepped and zero strides, gaps, junk strides for axes of size 1, any address
                      */
    GMM_LAYOUT_APART /* as ANY, but no two elements share memory: for outputs */
} gmm_layout;

/* An array and its memory. Not to be copied: `array` points into it. */
typedef struct gmm_built {
    gmm_array array;
    int64_t shape[GMM_MAX_NDIM], strides[GMM_MAX_NDIM];
    gmm_guarded memory;
    char *before; /* the memory as it was when gmm_built_keep was called */
} gmm_built;

/* Make an array filled with a poison. */
void gmm_built_make(gmm_built *built, gmm_random *random, gmm_layout layout, gmm_dtype dtype, int32_t ndim,
                    const int64_t *shape, gmm_poison poison);

/* Make an array with these strides (NULL: row-major) at `shift_bytes` from the guard page of a side. */
void gmm_built_place(gmm_built *built, gmm_guard_side side, size_t shift_bytes, gmm_dtype dtype, int32_t ndim,
                     const int64_t *shape, const int64_t *strides, gmm_poison poison);

/* A copy with the same strides at `shift_bytes` from the guard page of a side. */
void gmm_built_copy(gmm_built *built, const gmm_built *from, gmm_guard_side side, size_t shift_bytes);

void gmm_built_free(gmm_built *built);

/* Fill `size_bytes` of memory with a poison. */
void gmm_poison_fill(void *memory, size_t size_bytes, gmm_dtype dtype, gmm_poison poison);

/* Number of elements. */
int64_t gmm_built_count(const gmm_array *array);

/* Bytes of one element. */
size_t gmm_built_element_bytes(gmm_dtype dtype);

/* Set element number `flat`, in row-major order: to x rounded to its type, or to bits. */
void gmm_built_put(const gmm_array *array, int64_t flat, double x);
void gmm_built_put_bits(const gmm_array *array, int64_t flat, uint64_t bits);

/* The elements in row-major order, as malloc'ed bytes of exactly that size (at least 1). */
char *gmm_built_collect(const gmm_array *array, size_t *size_bytes);

/* Are the elements of two arrays of one type and size the same bits? */
bool gmm_built_equal(const gmm_array *a, const gmm_array *b);

/* Remember the memory; later: is it unchanged, elements aside (`with_elements`: elements too)? */
void gmm_built_keep(gmm_built *built);
bool gmm_built_kept(const gmm_built *built, bool with_elements);

#endif
