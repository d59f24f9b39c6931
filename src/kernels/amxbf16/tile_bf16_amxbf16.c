/* tile_bf16_amxbf16.c - tile sums of bf16 weights with tdpbf16ps.
 * SPDX-License-Identifier: MIT
 *
 * A single tile of lhs is multiplied with weights where they lie. For more, chunks are copied first: rows that are a
 * power of two of bytes apart would drive one another out of the first-level cache. */
#include "kernels/amxbf16/tile_amxbf16_body.h"

/* A line of each row, ahead of the block in hand. gcc takes a call of what does nothing but fetch for one that does
 * nothing, unless it is inlined before that is found. */
static inline __attribute__((always_inline)) void fetch(const gmm_tile_call *call, const chunk *at, int block)
{
    const int64_t from = 2 * (at->k + block * GMM_TILE_BLOCK);
    uintptr_t line =
        (uintptr_t)gmm_row_at(&call->w, at->column).codes + (uintptr_t)from + fetch_distance(call, from, 2 * call->k);

    for (int64_t c = 0; c < GMM_PANEL; c++, line += (uintptr_t)call->w.code_bytes)
        __builtin_prefetch((const void *)line, 0, 2);
}

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
    const int64_t k = at->k + block * GMM_TILE_BLOCK;

    for (int half = 0; half < 2; half++) {
        vf32 pairs[GMM_TILE];
        if (k + GMM_TILE_BLOCK <= call->k)
            prepared_pairs(call, at->column + half * GMM_TILE, k, true, pairs);
        else
            prepared_pairs(call, at->column + half * GMM_TILE, k, false, pairs);
        vf32_transpose(pairs);
        for (int64_t i = 0; i < GMM_TILE; i++)
            _mm512_store_ps(tile_at(panel, half, block) + i * 64, pairs[i]);
    }
}

/* A part is a block. */
static inline void fill(const gmm_tile_call *call, const chunk *at, int block, char *panel)
{
    if (at->k + block * GMM_TILE_BLOCK >= call->k)
        return;
    if (call->prepared)
        transpose_classes(call, at, block, panel);
    else
        copy_rows(call, at, block, panel);
}

/* A whole panel by a single tile of lhs. */
static inline void panel_in_place(const gmm_tile_call *call, int64_t column)
{
    const gmm_tile_rows *x = call->x;
    const int64_t width = x->width, block_bytes = gmm_tile_block_bytes(x), stride = call->w.code_bytes;
    const char *w = gmm_row_at(&call->w, column).codes, *pairs = x->pairs;
    float *sums = sums_at(call);
    chunk at = chunk_at(call, column, 0, CHUNK);

    _tile_zero(0);
    _tile_zero(1);
    for (; at.k < call->k; at.k += GMM_TILE_BLOCK, w += 2 * GMM_TILE_BLOCK, pairs += block_bytes) {
        fetch(call, &at, 0);
        _tile_loadd(4, w, stride);
        _tile_loadd(5, w + GMM_TILE * stride, stride);
        _tile_loadd(6, pairs, 4 * width);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 5, 6);
    }
    _tile_stored(0, sums, 4 * width);
    _tile_stored(1, sums + GMM_TILE * width, 4 * width);
    store(call, &at);
}

static void multiply(const gmm_tile_call *call)
{
    const bool in_place =
        gmm_tile_count(call->rows, call->x->rows) == 1 && !call->prepared && call->k % GMM_TILE_BLOCK == 0;
    int64_t column = 0;

    tile_registers_shape(call->x->width);
    for (; in_place && call->columns - column >= GMM_PANEL; column += GMM_PANEL)
        panel_in_place(call, column);
    multiply_from(call, column);
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
