/* tile_amxbf16_body.h - tile sums with tdpbf16ps of weights that fill(), which whoever includes this defines,
 * brings into the first-level cache as bf16 numbers.
 * SPDX-License-Identifier: MIT
 *
 * A panel is 32 columns: two tiles of 16. While the first tile of lhs is multiplied with a chunk of K of a panel the
 * next chunk is filled in, a part after each block of products, so that the vector ports and the tile unit work side
 * by side. */
#include "cpu/cpu.h"
#include "kernels/amx/tile_registers.h"
#include "kernels/avx512bf16/tile_avx512bf16.h"

enum {
    TILE_BYTES = 1024,
    CHUNK = 128, /* elements of K that are filled in at once */
    CHUNK_BLOCKS = CHUNK / GMM_TILE_BLOCK,
    CHUNK_BYTES = 2 * CHUNK_BLOCKS * TILE_BYTES,
    FETCH_AHEAD = 512 /* bytes of a row */
};

/* Two tiles of a block are CHUNK_BLOCKS tiles apart. */
static inline char *tile_at(char *panel, int half, int block)
{
    return panel + (half * CHUNK_BLOCKS + block) * TILE_BYTES;
}

/* How far from byte `from` of a row of so many bytes those are that are fetched: FETCH_AHEAD, or where the row ends
 * before, as much of the row that takes its place in the next panel. What is fetched so is an address and not a
 * pointer, as it may leave the array. */
static inline uintptr_t fetch_distance(const gmm_tile_call *call, int64_t from, int64_t row_bytes)
{
    return (uintptr_t)(FETCH_AHEAD + (from + FETCH_AHEAD < row_bytes ? 0 : GMM_PANEL * call->w.code_bytes - row_bytes));
}

/* Brings a part of a chunk into the first-level cache, one of CHUNK_BLOCKS: rows of a panel as bf16 numbers, 64 bytes
 * of each in a tile, zeros behind the end of K. Columns that are missing keep what the panel held: nobody reads their
 * sums. */
static void fill(const gmm_tile_call *call, const chunk *at, int part, char *panel);

/* ---- sums ---- */

/* Sums of a panel and a tile of lhs: [2][16 columns of the panel][width]. */
static inline int64_t sums_of_tile(int64_t width)
{
    return 2 * GMM_TILE * width;
}

static int64_t scratch_bytes(int64_t tiles)
{
    return 2 * CHUNK_BYTES + tiles * sums_of_tile(GMM_TILE) * (int64_t)sizeof(float);
}

/* Of all tiles. */
static float *sums_at(const gmm_tile_call *call)
{
    return (float *)(void *)(call->scratch + 2 * CHUNK_BYTES);
}

/* Where a call is: the chunk in hand, and the one that is filled in meanwhile. */
typedef struct {
    chunk here, next;
    char *panel, *next_panel;
} stage;

/* A block of the panel by one tile of lhs: adds to tile registers `first` and `last`, which must be constants. */
#define ADD_BLOCK(first, last, x, width)                                                                               \
    _tile_loadd(6, x, 4 * (width));                                                                                    \
    _tile_dpbf16ps(first, 4, 6);                                                                                       \
    _tile_dpbf16ps(last, 5, 6);

#define LOAD_SUMS(first, last, from, width)                                                                            \
    _tile_loadd(first, from, 4 * (width));                                                                             \
    _tile_loadd(last, (from) + GMM_TILE * (width), 4 * (width));

#define STORE_SUMS(first, last, to, width)                                                                             \
    _tile_stored(first, to, 4 * (width));                                                                              \
    _tile_stored(last, (to) + GMM_TILE * (width), 4 * (width));

/* The chunk by one tile of lhs, or two. Sums go on from what they are, unless it is the first of a panel; they stay in
 * registers if there are no other tiles. */
static inline __attribute__((always_inline)) void chunk_by_tiles(const gmm_tile_call *call, const stage *at,
                                                                 int64_t tile, int tiles, bool alone)
{
    const gmm_tile_rows *x = call->x;
    const int64_t width = x->width, block_bytes = gmm_tile_block_bytes(x), tile_bytes = gmm_tile_bytes(x);
    const char *first = x->pairs + tile * tile_bytes + at->here.k / GMM_TILE_BLOCK * block_bytes;
    const char *second = first + tile_bytes;
    float *sums = sums_at(call) + tile * sums_of_tile(width), *more_sums = sums + sums_of_tile(width);
    int64_t blocks = gmm_tile_blocks(at->here.count);

    if (at->here.k == 0) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else if (!alone) {
        LOAD_SUMS(0, 1, sums, width)
        if (tiles == 2) {
            LOAD_SUMS(2, 3, more_sums, width)
        }
    }
#pragma GCC unroll 4
    for (int block = 0; block < CHUNK_BLOCKS; block++) {
        if (tile == 0 && at->next.columns > 0)
            fill(call, &at->next, block, at->next_panel);
        /* gcc 12 does not know that tiles are loaded from memory. */
        __asm__ volatile("" : : : "memory");
        if (block >= blocks)
            continue;
        _tile_loadd(4, tile_at(at->panel, 0, block), 64);
        _tile_loadd(5, tile_at(at->panel, 1, block), 64);
        ADD_BLOCK(0, 1, first + block * block_bytes, width)
        if (tiles == 2) {
            ADD_BLOCK(2, 3, second + block * block_bytes, width)
        }
    }
    if (!alone || at->here.k + at->here.count == call->k) {
        STORE_SUMS(0, 1, sums, width)
        if (tiles == 2) {
            STORE_SUMS(2, 3, more_sums, width)
        }
    }
}

#undef ADD_BLOCK
#undef LOAD_SUMS
#undef STORE_SUMS

static void chunk_by_all(const gmm_tile_call *call, const stage *at, int64_t tiles)
{
    if (tiles == 1) {
        chunk_by_tiles(call, at, 0, 1, true);
        return;
    }
    for (int64_t tile = 0; tile < tiles; tile += 2) {
        if (tiles - tile > 1)
            chunk_by_tiles(call, at, tile, 2, tiles == 2);
        else
            chunk_by_tiles(call, at, tile, 1, false);
    }
}

/* The sums of a panel, transposed, those of an element's parts added, the smallest first. */
static void store(const gmm_tile_call *call, const chunk *at)
{
    const float *sums = sums_at(call);
    const gmm_tile_rows *x = call->x;
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i by_column = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(x->width));

    for (int64_t row = 0; row < call->rows; row += x->rows)
        for (int64_t column = 0; column < GMM_PANEL; column += GMM_TILE, sums += GMM_TILE * x->width) {
            int64_t rows = call->rows - row < x->rows ? call->rows - row : x->rows;
            float *to = call->out + row * call->out_stride + at->column + column;
            vf32 parts[GMM_TILE];
            if (column >= at->columns)
                continue;
            if (x->width == GMM_TILE) {
                for (int64_t i = 0; i < GMM_TILE; i++)
                    parts[i] = vf32_load(sums + i * GMM_TILE);
                vf32_transpose(parts);
            } else {
                for (int64_t i = 0; i < rows * x->parts; i++)
                    parts[i] = _mm512_i32gather_ps(by_column, sums + i, 4);
            }
            for (int64_t r = 0; r < rows; r++, to += call->out_stride) {
                vf32 sum = parts[(r + 1) * x->parts - 1];
                for (int64_t part = x->parts - 2; part >= 0; part--)
                    sum = vf32_add(sum, parts[r * x->parts + part]);
                _mm512_mask_storeu_ps(to, first_16(at->columns - column), sum);
            }
        }
}

/* All panels from `column` on. */
static inline void multiply_from(const gmm_tile_call *call, int64_t column)
{
    const int64_t tiles = gmm_tile_count(call->rows, call->x->rows);
    stage at = {
        .here = chunk_at(call, column, 0, CHUNK),
        .panel = call->scratch,
        .next_panel = call->scratch + CHUNK_BYTES,
    };

    for (int part = 0; part < CHUNK_BLOCKS && at.here.columns > 0; part++)
        fill(call, &at.here, part, at.panel);
    while (at.here.columns > 0) {
        char *panel = at.panel;
        at.next = chunk_after(call, &at.here, CHUNK);
        chunk_by_all(call, &at, tiles);
        if (at.here.k + at.here.count == call->k)
            store(call, &at.here);
        at.here = at.next;
        at.panel = at.next_panel;
        at.next_panel = panel;
    }
}
