/* int8.h - what a kernel of int8 sums does: activations rounded to int8, weight codes as they are, sums of integers.
 * SPDX-License-Identifier: MIT
 *
 * The sums are those of docs/numerics.md, "int8 activations": a group of codes gives one exact integer, from it one f32
 * term, and the terms are added in order of K. So dot (one row, lanes along K) and fill with outer (many rows, lanes
 * along N) give the same bits, and so do all instruction sets.
 *
 * A weight is code * scale + bias, where the codes are integers of 0 to 255 less `zero`: 0 for affine, 12 for E2M1,
 * whose values are doubled. Weights are rows of stride 1; K is whole groups, whose size is that of the weights. */
#ifndef GMM_INT8_H
#define GMM_INT8_H

#include "formats/numbers.h"
#include "kernels/kernel.h"

enum {
    GMM_INT8_MOST_FEW = 8,         /* rows of few; at most those of a kernel's tile */
    GMM_INT8_FEW_BITS = 4,         /* of its codes */
    GMM_INT8_MOST_DOT_ROWS = 4,    /* of any kernel */
    GMM_INT8_E2M1_ZERO = 12,       /* twice the largest E2M1 value */
    GMM_INT8_SMALLEST = 0x04000000 /* 2^-119 as bits: a group of x whose magnitudes are all below it is one of zeros */
};

/* The scale of a group of x from the bits of its largest magnitude, and what its elements are multiplied by before they
 * are rounded. Neither is subnormal or infinite. Inverse 0: all codes are 0. */
typedef struct gmm_int8_scale {
    float scale, inverse;
} gmm_int8_scale;

static inline gmm_int8_scale gmm_int8_scale_of(uint32_t largest)
{
    float value = gmm_f32_from_bits(largest);

    if (largest >= 0x7f800000) /* infinite or NaN */
        return (gmm_int8_scale){gmm_f32_from_bits(0x7fc00000), 0};
    if (largest < GMM_INT8_SMALLEST)
        return (gmm_int8_scale){0, 0};
    return (gmm_int8_scale){value / 127, 127 / value};
}

/* A row of lhs, rounded. */
typedef struct gmm_int8_row {
    int8_t *codes;
    float *scales; /* a group's x is scale * code; NaN where one of the group is not finite */
    float *sums;   /* of a group's codes */
} gmm_int8_row;

/* Rounded rows as outer wants them: in tiles of at most the kernel's mr rows (gmm_tile_begin), so that all that a tile
 * reads lies one after the other, whatever its height. With a pointer for each row the compiler runs out of registers,
 * and spills to vector ones, which takes the ports that multiply. */
typedef struct gmm_int8_tiles {
    int64_t k;     /* all of it */
    int8_t *codes; /* the tile that begins with row r is at r * k: all rows of the tile, how is the kernel's business */
    float *factors; /* and here at 2 r * groups: [groups][2][rows of the tile], scales and sums */
} gmm_int8_tiles;

/* One row times `columns` weight rows, or up to gmm_int8_dot_rows() rows. */
typedef struct gmm_int8_dot {
    const gmm_weights *weights;
    gmm_rows w;
    int64_t columns, k;
    int64_t rows;
    bool far;              /* as for gmm_dot */
    const gmm_int8_row *x; /* [rows] */
    float *out;            /* `columns` of each row are written */
    int64_t out_stride;    /* from one row to the next */
} gmm_int8_dot;

/* Few rows times up to GMM_PANEL weight rows of 4-bit codes, which are used once, without a panel. */
typedef struct gmm_int8_few {
    const gmm_weights *weights;
    gmm_rows w;
    int64_t columns, k;
    int64_t rows;     /* 2 to GMM_INT8_MOST_FEW */
    gmm_int8_tiles x; /* one tile */
    float *out;       /* [rows][GMM_PANEL]: `columns` of each are written */
} gmm_int8_few;

/* A block of K of GMM_PANEL weight rows, as outer wants them. How codes lie is the kernel's business. */
typedef struct gmm_int8_panel {
    const gmm_weights *weights;
    gmm_rows w;
    int64_t columns;        /* 1 to GMM_PANEL: how many there are; panel columns past them get anything */
    int64_t begin, k;       /* elements [begin, begin + k) of each row: whole groups */
    uint8_t *codes;         /* k * GMM_PANEL bytes, aligned to 64, like the others */
    float *scales, *biases; /* [k / group_size][GMM_PANEL] */
} gmm_int8_panel;

/* `rows` rows times a panel: sums go on from what they are. */
typedef struct gmm_int8_outer {
    const gmm_int8_panel *panel;
    int64_t rows; /* any number */
    gmm_int8_tiles x;
    float *sums;      /* [rows][GMM_PANEL], aligned to 64 bytes */
    gmm_ahead *ahead; /* never NULL */
} gmm_int8_outer;

struct gmm_int8 {
    /* Round k elements of a row. */
    void (*quantize)(const float *from, int64_t k, int32_t group_size, const gmm_int8_row *x);
    /* Put the rows of one tile, `rows` of them, where its codes and factors are to begin; k is that of `to`. One is for
     * outer, the other for few, and NULL if few is. */
    void (*pack)(const gmm_int8_row *from, int64_t rows, const gmm_weights *weights, const gmm_int8_tiles *to);
    void (*pack_few)(const gmm_int8_row *from, int64_t rows, const gmm_weights *weights, const gmm_int8_tiles *to);
    void (*dot)(const gmm_int8_dot *call);
    void (*few)(const gmm_int8_few *call); /* NULL: fill and outer do as well */
    void (*fill)(const gmm_int8_panel *panel);
    void (*outer)(const gmm_int8_outer *call);
    int32_t dot_rows; /* of 8-bit codes, and of all without few: 1 to GMM_INT8_MOST_DOT_ROWS */
};

static inline int64_t gmm_int8_dot_rows(const gmm_int8 *kernel, int bits)
{
    return bits == 8 || !kernel->few ? kernel->dot_rows : 1;
}

/* The most rows that are multiplied without a panel. */
static inline int64_t gmm_int8_few_rows(const gmm_int8 *kernel, int bits)
{
    return kernel->few && bits == GMM_INT8_FEW_BITS ? GMM_INT8_MOST_FEW : gmm_int8_dot_rows(kernel, bits);
}

#endif
