/* kernel.h - what a micro-kernel is: one const descriptor, defined in a file of its own and listed in kernel_list.h.
 * SPDX-License-Identifier: MIT
 *
 * There are two bodies for sums, and they compute the same sums in the same order (docs/numerics.md): GMM_CLASSES
 * running sums, class c over k = c, c + 16, c + 32, ..., added at the end in the tree +8, +4, +2, +1.
 *
 *   dot    few rows: lanes along K, one lane a class; reads the weight rows of one format as they lie, and decodes them
 *          in registers.
 *   outer  many rows: lanes along N, one class at a time, from packed f32 panels. With one class instead of sixteen it
 *          is the plain sum in order of K, for weights that lie [K, N].
 *
 * And one that prepares operands for them:
 *
 *   decode  what a format's own decode does, to the bit. A file that has a dot body usually has this one as well.
 *
 * And one each for other kinds of sums:
 *
 *   int8  all of it for one format, of int8 activations: kernels/int8.h.
 *   tile  all of it for one format, of bf16 tiles: kernels/tile.h.
 *
 * One more is no sum:
 *
 *   activate  the function between two products of an expert layer, element by element: one result everywhere.
 *
 * dot and decode want rows whose codes, scales and biases have stride 1. Kernels are stateless, allocate nothing, know
 * no threads. */
#ifndef GMM_KERNEL_H
#define GMM_KERNEL_H

#include <stdint.h>

#include "formats/format.h"
#include "gathermm/moe.h"

enum {
    GMM_CLASSES = 16,   /* running sums of the dot layout, on every instruction set */
    GMM_PANEL = 32,     /* columns of a packed panel of weights, on every instruction set */
    GMM_CLASS_GAP = 16, /* floats after each packed class: without them classes would compete for the same cache sets */
    GMM_TOGETHER_FLOATS = 6144, /* of classes that are decoded together: half of a first-level cache of 48 KB */
    GMM_MAX_MR = 16             /* no outer kernel has more rows; also the most rows that are packed together */
};

/* Weight rows of one matrix. */
typedef struct gmm_rows {
    gmm_row first;
    int64_t code_bytes, scale_bytes, bias_bytes; /* from one row to the next */
} gmm_rows;

static inline gmm_row gmm_row_at(const gmm_rows *rows, int64_t i)
{
    gmm_row row = {.codes = (const char *)rows->first.codes + i * rows->code_bytes};

    if (rows->first.scales)
        row.scales = (const char *)rows->first.scales + i * rows->scale_bytes;
    if (rows->first.biases)
        row.biases = (const char *)rows->first.biases + i * rows->bias_bytes;
    return row;
}

/* One call of a dot kernel: rows x columns whole sums. */
typedef struct gmm_dot {
    const gmm_weights *weights;
    gmm_rows w;            /* `columns` weight rows */
    int64_t rows, columns; /* any numbers */
    int64_t k;
    bool far;              /* what comes much later is fetched, into the second-level cache; else the first */
    const float *const *x; /* [rows]: the rows of lhs, as `arrange` gives them */
    float *out;            /* [rows][out_stride]; nothing but the sums is written */
    int64_t out_stride;
} gmm_dot;

/* Weights that an outer kernel fetches into the cache while it computes, some bytes at each step: the next panel's
 * rows. Fetched faster than memory delivers, they would hold up what the kernel itself reads; so the pace is such that
 * the last line is fetched in the last step. gmm_ahead_row() begins, and goes on to the next row. */
typedef struct gmm_ahead {
    const char *at; /* what to fetch next, and at + step / 2 */
    int64_t left;   /* steps to the end of this row */
    int64_t step;   /* bytes: pace, or 0 when there is nothing left to fetch */
    int64_t pace;   /* 1 to 128 */
    int part;
    struct {
        const char *row;
        int64_t rows, row_bytes, lines; /* rows: none if not above 0 */
    } parts[3];                         /* codes, scales, biases */
} gmm_ahead;

static inline void gmm_ahead_row(gmm_ahead *ahead)
{
    while (ahead->part < 3 && ahead->parts[ahead->part].rows <= 0)
        ahead->part++;
    if (ahead->part >= 3) {
        ahead->at = (const char *)ahead; /* some line that is there: fetching NULL can cost a walk of the page tables */
        ahead->left = INT64_MAX;
        ahead->step = 0;
        return;
    }
    ahead->at = ahead->parts[ahead->part].row;
    ahead->left = (ahead->parts[ahead->part].lines * 64 + ahead->pace - 1) / ahead->pace;
    ahead->step = ahead->pace;
    ahead->parts[ahead->part].row += ahead->parts[ahead->part].row_bytes;
    ahead->parts[ahead->part].rows--;
}

/* Begin to fetch `parts`, in `steps` steps if such a pace is possible. */
static inline void gmm_ahead_begin(gmm_ahead *ahead, int64_t steps)
{
    int64_t bytes = 0;

    for (int i = 0; i < 3; i++)
        if (ahead->parts[i].rows > 0)
            bytes += ahead->parts[i].rows * ahead->parts[i].lines * 64;
    ahead->pace = steps > 0 ? bytes / steps + 1 : 128;
    ahead->pace = ahead->pace < 128 ? ahead->pace : 128;
    gmm_ahead_row(ahead);
}

/* A panel of GMM_PANEL columns of weights that run along K, still in codes: one block of K, lanes along N. A format
 * that can decode a class of it at a time needs no f32 panel, whose way through the second-level cache takes a third of
 * a cycle a weight. */
typedef struct gmm_class_codes {
    const gmm_weights *weights;
    gmm_rows w;         /* weight rows */
    int64_t columns;    /* 1 to GMM_PANEL: how many there are; panel columns past them get anything */
    int64_t begin, k;   /* elements [begin, begin + k) of each row; begin is a multiple of 128 */
    char *panel;        /* class_bytes() of a block, aligned to 64 bytes */
    gmm_decode *decode; /* prepared weights that are not f32 (core/prepared_weights.h), else unused: what widens them */
    int64_t classes;    /* likewise */
} gmm_class_codes;

/* One call of an outer kernel: rows x GMM_PANEL sums over one block of K. Rows are cut into tiles of nearly equal
 * height (gmm_tile_begin). Each class is taken for all tiles before the next, so that its weights stay in the
 * first-level cache. */
typedef struct gmm_outer {
    int64_t rows;    /* any number */
    int64_t classes; /* GMM_CLASSES or 1 */
    int64_t k;       /* elements in this block; a multiple of 16 unless it is the last */
    const float *a;  /* packed lhs: tile after tile, in it class after class, element after element, row after row */
    float *b; /* packed weights: class after class, element after element, GMM_PANEL columns each; or, with codes,
                 room for gmm_classes_together() */
    /* Not NULL: packed weights instead of b, in the order in which the body takes their classes (gmm_class_in_tree) and
     * without gaps. F32, BF16 or F16, widened as they are used: that
     * pays when all rows are one tile. */
    const void *prepared;
    gmm_dtype prepared_type;
    const gmm_class_codes *codes; /* NULL: b has all */
    void (*class_decode)(const gmm_class_codes *codes, int64_t c, float *to);
    float *sums; /* [classes][rows][GMM_PANEL]: class sums between blocks; not touched if first and last */
    float *tree; /* [GMM_TREE_LEVELS][rows][GMM_PANEL]: scratch */
    bool first, last;
    float *out;       /* [rows][GMM_PANEL]: written when last */
    gmm_ahead *ahead; /* never NULL */
} gmm_outer;

enum {
    GMM_TREE_LEVELS = 4 /* log2 of GMM_CLASSES */
};

/* One call of an outer kernel's pack: up to GMM_MAX_MR rows of one block of K, transposed into classes of elements.
 * Each element is written with GMM_MAX_MR floats, where `width` are less over the next one or into the gap behind a
 * class: a masked store takes 13 cycles on Zen 3. */
typedef struct gmm_pack {
    int64_t rows; /* 0 to GMM_MAX_MR: rows of `from` */
    int64_t classes;
    int64_t k;                /* elements in this block */
    const float *const *from; /* [rows]: at this block */
    int64_t width;            /* rows that count: those that `from` lacks are zeros; rows to GMM_MAX_MR */
    int64_t stride;           /* floats from one element to the next in `to` */
    int64_t class_stride;     /* floats from one class to the next in `to` */
    float *to;
} gmm_pack;

/* One call of an outer kernel's sweep: few rows times f32 weights that lie [K, N], as they lie. Sums go on from what
 * they are, in order of K. */
typedef struct gmm_sweep {
    int64_t rows, columns, k; /* any numbers */
    const float *const *x;    /* [rows]: of k elements */
    const float *b;           /* [k][columns] */
    int64_t b_stride;         /* floats from one element of K to the next */
    float *sums;              /* [rows][columns] */
    int64_t sums_stride;
} gmm_sweep;

/* One call of an activate kernel: out[i] = f(gate[i], up[i]). Where there is no gate, what has none is `gate` and `up`
 * is ones. The three may not overlap. */
typedef struct gmm_activate {
    gmm_activation activation;
    float alpha, limit;
    const float *gate, *up;
    float *out;
    int64_t count; /* any number */
} gmm_activate;

typedef struct gmm_int8 gmm_int8; /* kernels/int8.h */
typedef struct gmm_tile gmm_tile; /* kernels/tile.h */

typedef struct gmm_kernel {
    const char *name;  /* body_format_isa: also the file's name and, after gmm_, the symbol's */
    const char *body;  /* "dot", "outer", "decode", "int8", "tile" or "activate" */
    const char *reads; /* the weight format that it reads; the outer body reads "f32", what all are decoded to */
    uint32_t needs;    /* gmm_cpu bits; what they build on is implied */
    uint32_t pays;     /* more of them, without which the next in the list is faster */
    int32_t mr, nr;    /* rows and columns that it holds in registers */

    void (*dot)(const gmm_dot *call);
    /* Some dot bodies want lhs with its lanes in another order: k elements of x in that order, in `buffer`, or x
     * itself. NULL: always x itself. buffer may be x. */
    const float *(*arrange)(const gmm_weights *weights, const float *x, int64_t k, float *buffer);
    gmm_decode *decode;

    /* NULL: weights for the outer body are decoded and packed into a panel of f32. Else: the bytes of a panel of codes,
     * for a block of k; fill it; decode class c of it: to[i][GMM_PANEL] for element c + GMM_CLASSES i. */
    int64_t (*class_bytes)(const gmm_weights *weights, int64_t k);
    void (*class_fill)(const gmm_class_codes *codes);
    void (*class_decode)(const gmm_class_codes *codes, int64_t c, float *to);

    void (*outer)(const gmm_outer *call);
    void (*pack)(const gmm_pack *call);
    void (*sweep)(const gmm_sweep *call);

    void (*activate)(const gmm_activate *call);

    const gmm_int8 *int8; /* what there is to do in int8 sums */
    const gmm_tile *tile; /* and in tile sums */
} gmm_kernel;

/* Every kernel, best first, NULL at the end; built from kernel_list.h. */
extern const gmm_kernel *const gmm_kernels[];

/* Rows are cut into the fewest tiles of at most mr rows, whose heights differ by one at most: how many, and the first
 * row of each. */
static inline int64_t gmm_tile_count(int64_t rows, int64_t mr)
{
    return (rows + mr - 1) / mr;
}

static inline int64_t gmm_tile_begin(int64_t rows, int64_t tiles, int64_t tile)
{
    int64_t taller = rows % tiles;

    return tile * (rows / tiles) + (tile < taller ? tile : taller);
}

/* Steps that an outer kernel makes with a panel of k elements: each is a fetch. */
static inline int64_t gmm_outer_steps(const gmm_kernel *outer, int64_t rows, int64_t k)
{
    return gmm_tile_count(rows, outer->mr) * (GMM_PANEL / outer->nr) * k;
}

/* Elements of class c in a block of k. */
static inline int64_t gmm_class_length(int64_t k, int64_t classes, int64_t c)
{
    return (k - c + classes - 1) / classes;
}

/* Floats from one class to the next in a packed block of k, with `stride` floats an element. All classes have room for
 * the longest. */
static inline int64_t gmm_class_stride(int64_t k, int64_t classes, int64_t stride)
{
    return (k + classes - 1) / classes * stride + GMM_CLASS_GAP;
}

/* Classes of a block of k that an outer kernel decodes together, a power of two: they stay in the first-level cache. */
static inline int64_t gmm_classes_together(int64_t k, int64_t classes)
{
    int64_t together = 1;

    while (together < classes && 2 * together * gmm_class_length(k, classes, 0) * GMM_PANEL <= GMM_TOGETHER_FLOATS)
        together *= 2;
    return together;
}

/* Room for them, in floats, for a block of at most k. */
static inline int64_t gmm_together_floats(int64_t k, int64_t classes)
{
    int64_t one = gmm_class_length(k, classes, 0) * GMM_PANEL;

    return one > GMM_TOGETHER_FLOATS ? one : GMM_TOGETHER_FLOATS;
}

/* The tree +8, +4, +2, +1 needs no more than one set of sums a level if classes come in the order 0, 8, 4, 12, 2, ...:
 * after class number n of that order, as many subtrees are complete as n has trailing ones. Its own inverse. */
static inline int64_t gmm_class_in_tree(int64_t n, int64_t classes)
{
    return classes == 1 ? 0 : (n & 1) << 3 | (n & 2) << 1 | (n & 4) >> 1 | (n & 8) >> 3;
}

#endif
