/* tile.h - what a kernel of tile sums does: products of tiles of bf16 numbers, added up in f32 (docs/numerics.md).
 * SPDX-License-Identifier: MIT
 *
 * The elements of a tile do not see each other, so one row of lhs and many have the same bits: there is one body for
 * all. Weights are the left operand, as they lie along K; rows of lhs, packed, the right one. An element of lhs that is
 * no bf16 number is the sum of two or three that are: its parts are multiplied as if they were rows, and the sums of a
 * row's parts are added in the end. */
#ifndef GMM_TILE_H
#define GMM_TILE_H

#include "kernels/kernel.h"

enum {
    GMM_TILE = 16,        /* columns of a tile */
    GMM_TILE_BLOCK = 32,  /* elements of K of a tile */
    GMM_TILE_PIECE = 128, /* elements of K of a row of lhs that are packed at once */
    GMM_TILE_CHAIN = 256, /* elements of K that GMM_TILE_PAIRS adds up from +0 */
};

static inline int64_t gmm_tile_blocks(int64_t k)
{
    return (k + GMM_TILE_BLOCK - 1) / GMM_TILE_BLOCK;
}

/* What is added to what: docs/numerics.md, "Tile sums". */
typedef enum gmm_tile_order {
    GMM_TILE_EVEN_ODD, /* tdpbf16ps */
    GMM_TILE_PAIRS,    /* vdpbf16ps */
    GMM_TILE_GROUPS,   /* vdpbf16ps, and each group of weights scaled */
    GMM_TILE_CENTERED  /* likewise, with affine codes less the middle one; needs the sums of lhs */
} gmm_tile_order;

/* Rows of lhs, packed: tile after tile, in it [blocks][16 pairs of elements][width], zeros behind the end of K; then,
 * if there are sums, [blocks][width] dot sums of each block's elements by ones. Of every 2 * apart elements, the first
 * half makes pairs with the second. */
typedef struct gmm_tile_rows {
    char *pairs; /* aligned to 64 bytes */
    int64_t k;
    bool sums;     /* K is whole blocks and parts 1 then */
    int32_t apart; /* a power of two up to 16 */
    int32_t rows;  /* of lhs in a tile, at most: parts * rows columns of it, one row's parts side by side */
    int32_t parts; /* 1 to 3 */
    int32_t width; /* columns of a tile, a power of two up to GMM_TILE; those that are left over are zeros */
} gmm_tile_rows;

/* The elements of a pair of codes lie as far apart as makes an odd multiple of 16 bits: one shift then brings both to
 * the same place of halves of a word. */
static inline __attribute__((always_inline)) int32_t gmm_tile_apart(int32_t bits)
{
    return 16 / (bits & -bits);
}

/* How so many rows are to be packed; where to is left open. */
static inline gmm_tile_rows gmm_tile_rows_for(gmm_tile_order order, const gmm_weights *weights, int64_t k, int64_t rows,
                                              int32_t parts)
{
    bool codes = order == GMM_TILE_GROUPS || order == GMM_TILE_CENTERED;
    int64_t most = GMM_TILE / parts;
    gmm_tile_rows x = {
        .k = k,
        .sums = order == GMM_TILE_CENTERED,
        .apart = codes ? gmm_tile_apart(weights->bits) : 1,
        .rows = (int32_t)(rows < most ? rows : most),
        .parts = parts,
        .width = 1,
    };

    while (x.width < x.parts * x.rows)
        x.width *= 2;
    return x;
}

static inline int64_t gmm_tile_block_bytes(const gmm_tile_rows *x)
{
    return 2 * GMM_TILE_BLOCK * x->width;
}

/* Bytes of the pairs of a tile, behind which its sums begin; and of a whole tile. */
static inline int64_t gmm_tile_pairs_bytes(const gmm_tile_rows *x)
{
    return gmm_tile_blocks(x->k) * gmm_tile_block_bytes(x);
}

static inline int64_t gmm_tile_bytes(const gmm_tile_rows *x)
{
    int64_t sums = x->sums ? gmm_tile_blocks(x->k) * x->width * (int64_t)sizeof(float) : 0;

    return gmm_tile_pairs_bytes(x) + (sums + 63) / 64 * 64;
}

static inline float *gmm_tile_sums(const gmm_tile_rows *x, int64_t tile)
{
    return (float *)(void *)(x->pairs + tile * gmm_tile_bytes(x) + gmm_tile_pairs_bytes(x));
}

/* Packs a piece of the rows of a tile. */
typedef struct gmm_tile_pack {
    const gmm_tile_rows *to;
    int64_t tile, begin, count; /* elements [begin, begin + count), whole blocks unless they end K */
    int64_t rows;               /* 1 to to->rows: those that are missing are zeros */
    const float *const *from;   /* [rows]: at `begin` */
} gmm_tile_pack;

/* `columns` weight rows times all packed rows. */
typedef struct gmm_tile_call {
    const gmm_weights *weights;
    gmm_rows w;
    const char *prepared;     /* not NULL: panels of prepared weights (core/prepared_weights.h) instead of w */
    int64_t panel_block;      /* their blocks of K */
    int64_t columns, k, rows; /* any numbers */
    bool begins;              /* nobody has fetched the first columns */
    int64_t columns_after;    /* that come next, at the same stride: to be fetched */
    const gmm_tile_rows *x;
    char *scratch; /* scratch_bytes(), aligned to 64 bytes */
    float *out;    /* [rows][out_stride]; nothing but the sums is written */
    int64_t out_stride;
} gmm_tile_call;

struct gmm_tile {
    gmm_tile_order order;
    int32_t most_parts; /* elements of lhs of more parts are multiplied faster by f32 sums */
    void (*pack)(const gmm_tile_pack *call);
    int64_t (*scratch_bytes)(int64_t tiles);
    void (*multiply)(const gmm_tile_call *call);
};

#endif
