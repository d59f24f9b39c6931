/* kernel.h - what a micro-kernel is: one const descriptor, defined in a file of its own and listed in kernel_list.h.
 * SPDX-License-Identifier: MIT
 *
 * There are two bodies for sums, and they compute the same sums in the same order (docs/numerics.md): GMM_CLASSES
 * running sums, class c over k = c, c + 16, c + 32, ..., added at the end in the tree +8, +4, +2, +1.
 *
 *   dot    few rows: lanes along K, one lane a class; reads weight rows as they lie.
 *   outer  many rows: lanes along N, one class at a time, from packed panels. With one class instead of sixteen it is
 *          the plain sum in order of K, for weights that lie [K, N].
 *
 * And one that prepares them:
 *
 *   decode  what a format's own decode does, to the bit, for rows whose codes, scales and biases have stride 1.
 *
 * Kernels are stateless, allocate nothing, know no threads. The bodies for sums take K in blocks and keep their sums in
 * the caller's memory in between, so that scratch does not grow with K; a block that is not the last has a multiple of
 * 16 elements.
 */
#ifndef GMM_KERNEL_H
#define GMM_KERNEL_H

#include <stdint.h>

#include "formats/format.h"
#include "gathermm/gathermm.h"

enum {
    GMM_CLASSES = 16,   /* running sums of the dot layout, on every instruction set */
    GMM_PANEL = 32,     /* columns of a packed panel of weights, on every instruction set */
    GMM_CLASS_GAP = 16, /* floats after each packed class: without them classes would compete for the same cache sets */
    GMM_DOT_COLUMNS = 32, /* the most columns in one call of a dot kernel */
    GMM_MAX_MR = 16       /* no outer kernel has more rows; also the most rows that are packed together */
};

/* One call of a dot kernel: rows x columns sums over one block of K. */
typedef struct gmm_dot {
    int64_t rows;          /* any number */
    int64_t columns;       /* 1 to GMM_DOT_COLUMNS */
    int64_t k;             /* elements in this block */
    const float *const *x; /* [rows]: the rows of lhs, at this block */
    const float *w;        /* columns weight rows, at this block */
    int64_t w_stride;
    float *sums; /* [rows][GMM_DOT_COLUMNS][GMM_CLASSES]: class sums, written in every block and read in all but the
                    first */
    bool first, last;
    float *out; /* [rows][GMM_DOT_COLUMNS]: written when last; columns that are not there get anything */
} gmm_dot;

/* One call of an outer kernel: up to mr x GMM_PANEL sums over one block of K. */
typedef struct gmm_outer {
    int64_t rows;    /* 1 to mr: rows of the result; a has gmm_outer_rows() of them, the rest zero */
    int64_t classes; /* GMM_CLASSES or 1 */
    int64_t k;       /* elements in this block */
    const float *a;  /* packed lhs: class after class, element after element, gmm_outer_rows() rows each */
    const float *b;  /* packed weights: class after class, element after element, GMM_PANEL columns each */
    float *sums;     /* [classes][mr][GMM_PANEL]: class sums between blocks and classes */
    bool first, last;
    float *out; /* [rows][GMM_PANEL]: written when last */
} gmm_outer;

/* One call of an outer kernel's pack: up to GMM_MAX_MR rows of one block of K, transposed into classes of elements. */
typedef struct gmm_pack {
    int64_t rows; /* 0 to GMM_MAX_MR: rows of `from` */
    int64_t classes;
    int64_t k;                /* elements in this block */
    const float *const *from; /* [rows]: at this block */
    int64_t width;            /* rows to write: those that `from` lacks as zeros; rows to GMM_MAX_MR */
    int64_t stride;           /* floats from one element to the next in `to` */
    float *to;                /* element i of class c: gmm_class_offset(k, classes, stride, c) + i * stride */
} gmm_pack;

typedef struct gmm_kernel {
    const char *name;         /* body_format_isa: also the file's name and, after gmm_, the symbol's */
    const char *body;         /* "dot", "outer" or "decode" */
    const char *reads;        /* the weight format that it reads; sums read "f32", what every format is decoded to */
    uint32_t needs;           /* gmm_cpu bits; what they build on is implied */
    int32_t mr, nr;           /* rows and columns that it holds in registers */
    const uint8_t *row_steps; /* outer: the row counts that it is compiled for, rising, mr last */
    void (*dot)(const gmm_dot *call);
    void (*outer)(const gmm_outer *call);
    void (*pack)(const gmm_pack *call); /* outer */
    gmm_decode *decode;
} gmm_kernel;

/* Every kernel, best first, NULL at the end; built from kernel_list.h. */
extern const gmm_kernel *const gmm_kernels[];

/* Rows that a packed lhs panel has: `rows` rounded up to one of the kernel's steps. */
static inline int64_t gmm_outer_rows(const gmm_kernel *kernel, int64_t rows)
{
    const uint8_t *step = kernel->row_steps;

    while (*step < rows)
        step++;
    return *step;
}

/* Elements of class c in a block of k. */
static inline int64_t gmm_class_length(int64_t k, int64_t classes, int64_t c)
{
    return (k - c + classes - 1) / classes;
}

/* Where class c begins in a packed block of k, in floats, with `stride` floats an element; c = classes: its size. */
static inline int64_t gmm_class_offset(int64_t k, int64_t classes, int64_t stride, int64_t c)
{
    int64_t longer = c < k % classes ? c : k % classes; /* classes before c that have one element more */

    return (c * (k / classes) + longer) * stride + c * GMM_CLASS_GAP;
}

#endif
