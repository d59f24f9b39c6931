/* tile_bf16_amxbf16.c - tile sums of bf16 weights with tdpbf16ps.
 * SPDX-License-Identifier: MIT
 *
 * A panel is 32 columns: two tiles of 16. A single tile of lhs is multiplied with them where they lie. For more, a
 * chunk of K of the panel is copied into the first-level cache first: rows that are a power of two of bytes apart would
 * drive one another out. While the first tile of lhs is multiplied with a chunk the next one is copied, a block after
 * each block of products, so that the vector ports and the tile unit work side by side. */
#include "cpu/cpu.h"
#include "kernels/amx/tile_registers.h"
#include "kernels/avx512bf16/tile_avx512bf16.h"

enum {
    TILE_BYTES = 1024,
    CHUNK = 128, /* elements of K that are copied at once */
    CHUNK_BLOCKS = CHUNK / GMM_TILE_BLOCK,
    CHUNK_BYTES = 2 * CHUNK_BLOCKS * TILE_BYTES,
    FETCH_AHEAD = 512 /* bytes */
};

/* Two tiles of a block are CHUNK_BLOCKS tiles apart. */
static inline char *tile_at(char *panel, int half, int block)
{
    return panel + (half * CHUNK_BLOCKS + block) * TILE_BYTES;
}

/* ---- weights ---- */

/* Fetch a line of each row, FETCH_AHEAD bytes from the block in hand, or of the row that takes its place in the next
 * panel. Addresses and not pointers, as they may leave the array. */
static inline void fetch(const gmm_tile_call *call, const chunk *at, int block)
{
    const int64_t from = 2 * (at->k + block * GMM_TILE_BLOCK) + FETCH_AHEAD;
    uintptr_t line = (uintptr_t)gmm_row_at(&call->w, at->column).codes + (uintptr_t)from;

    if (from >= 2 * call->k)
        line += (uintptr_t)(GMM_PANEL * call->w.code_bytes - 2 * call->k);
    for (int64_t c = 0; c < GMM_PANEL; c++, line += (uintptr_t)call->w.code_bytes)
        __builtin_prefetch((const void *)line, 0, 2);
}

/* Columns that are missing keep what the panel held: nobody reads their sums. */
static inline void copy_rows(const gmm_tile_call *call, const chunk *at, int block, char *panel)
{
    const int64_t k = at->k + block * GMM_TILE_BLOCK, left = call->k - k;
    const __mmask32 there = left >= GMM_TILE_BLOCK ? ~(__mmask32)0 : ((__mmask32)1 << left) - 1;
    const int64_t stride = call->w.code_bytes;
    const char *from = (const char *)gmm_row_at(&call->w, at->column).codes + 2 * k;

    fetch(call, at, block);
    for (int half = 0; half < 2; half++) {
        char *to = tile_at(panel, half, block), *end = to + TILE_BYTES;
        if (at->columns < (half + 1) * GMM_TILE)
            end = to + (at->columns > half * GMM_TILE ? at->columns - half * GMM_TILE : 0) * 64;
#pragma GCC unroll 4
        for (; to < end; to += 64, from += stride)
            _mm512_store_si512(to, _mm512_maskz_loadu_epi16(there, from));
    }
}

static inline void transpose_classes(const gmm_tile_call *call, const chunk *at, int block, char *panel)
{
    for (int half = 0; half < 2; half++) {
        vf32 pairs[GMM_TILE];
        prepared_pairs(call, at->column + half * GMM_TILE, at->k + block * GMM_TILE_BLOCK, pairs);
        vf32_transpose(pairs);
        for (int64_t i = 0; i < GMM_TILE; i++)
            _mm512_store_ps(tile_at(panel, half, block) + i * 64, pairs[i]);
    }
}

static inline void fill_block(const gmm_tile_call *call, const chunk *at, int block, char *panel)
{
    if (at->k + block * GMM_TILE_BLOCK >= call->k)
        return;
    if (call->prepared)
        transpose_classes(call, at, block, panel);
    else
        copy_rows(call, at, block, panel);
}

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

/* Where a call is: the chunk in hand, and the one that is copied meanwhile. */
typedef struct {
    chunk here, next;
    char *panel, *next_panel;
    float *sums; /* [tiles] */
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
    float *sums = at->sums + tile * sums_of_tile(width), *more_sums = sums + sums_of_tile(width);
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
            fill_block(call, &at->next, block, at->next_panel);
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

/* A whole panel by a single tile of lhs. */
static inline void panel_in_place(const gmm_tile_call *call, int64_t column, float *sums)
{
    const gmm_tile_rows *x = call->x;
    const int64_t width = x->width, block_bytes = gmm_tile_block_bytes(x), stride = call->w.code_bytes;
    const char *w = gmm_row_at(&call->w, column).codes, *pairs = x->pairs;
    chunk at = chunk_at(call, column, 0, CHUNK);

    _tile_zero(0);
    _tile_zero(1);
    for (; at.k < call->k; at.k += GMM_TILE_BLOCK, w += 2 * GMM_TILE_BLOCK, pairs += block_bytes) {
        fetch(call, &at, 0);
        _tile_loadd(4, w, stride);
        _tile_loadd(5, w + GMM_TILE * stride, stride);
        ADD_BLOCK(0, 1, pairs, width)
    }
    STORE_SUMS(0, 1, sums, width)
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
static void store(const gmm_tile_call *call, const chunk *at, const float *sums)
{
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

static void multiply(const gmm_tile_call *call)
{
    const int64_t tiles = gmm_tile_count(call->rows, call->x->rows);
    const bool in_place = tiles == 1 && !call->prepared && call->k % GMM_TILE_BLOCK == 0;
    stage at = {
        .here = chunk_at(call, 0, 0, CHUNK),
        .panel = call->scratch,
        .next_panel = call->scratch + CHUNK_BYTES,
        .sums = (float *)(void *)(call->scratch + 2 * CHUNK_BYTES),
    };

    tile_registers_shape(call->x->width);
    for (; in_place && at.here.columns == GMM_PANEL; at.here = chunk_at(call, at.here.column + GMM_PANEL, 0, CHUNK)) {
        panel_in_place(call, at.here.column, at.sums);
        store(call, &at.here, at.sums);
    }
    for (int block = 0; block < CHUNK_BLOCKS && at.here.columns > 0; block++)
        fill_block(call, &at.here, block, at.panel);
    while (at.here.columns > 0) {
        char *panel = at.panel;
        at.next = chunk_after(call, &at.here, CHUNK);
        chunk_by_all(call, &at, tiles);
        if (at.here.k + at.here.count == call->k)
            store(call, &at.here, at.sums);
        at.here = at.next;
        at.panel = at.next_panel;
        at.next_panel = panel;
    }
    _tile_release();
}

extern const gmm_kernel gmm_tile_bf16_amxbf16;
const gmm_kernel gmm_tile_bf16_amxbf16 = {
    .name = "tile_bf16_amxbf16",
    .body = "tile",
    .reads = "bf16",
    .needs = GMM_CPU_AMXBF16,
    .mr = GMM_TILE,
    .nr = GMM_PANEL,
    .tile =
        &(const gmm_tile){
            .order = GMM_TILE_EVEN_ODD,
            .most_parts = 3,
            .pack = tile_pack,
            .scratch_bytes = scratch_bytes,
            .multiply = multiply,
        },
};
