/* int8_amxint8_body.h - int8 sums of many rows with tile registers: up to 16 x 16 x 64 multiply-adds into i32 sums.
 * SPDX-License-Identifier: MIT
 *
 * Include after an int8_<format>_avx512vnni_body.h, whose panels are right operands as they lie. Parameter:
 *   TILE_PRODUCT(sums, x, codes)  an instruction's intrinsic.
 *
 * The left operand is x: a tile of it has INT8_MR rows at most, whose sums with both halves of a panel stay in vector
 * registers. While tile instructions are in flight this CPU multiplies and converts 512 bits on one port only, so a
 * group ends with as few such operations as can be; additions have two. */
#include "kernels/amx/tile_registers.h"

enum {
    TILE_DEPTH = 64 /* bytes of K in a tile, at most; a larger group has two */
};

static inline int tile_depth(int64_t group_size)
{
    return group_size < TILE_DEPTH ? (int)group_size : TILE_DEPTH;
}

/* Rows of tile_depth() elements, one after the other, those of the next elements behind. Codes of four bits have the
 * even ones of eight before the odd ones, as fill_codes has. */
static void pack_tiles(const gmm_int8_row *from, int64_t rows, const gmm_weights *weights, const gmm_int8_tiles *to)
{
    const __m512i even_odd =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
    const int64_t depth = tile_depth(weights->group_size);
    const __mmask64 there = first_64(depth);

    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < to->k; k += depth) {
            __m512i codes = _mm512_maskz_loadu_epi8(there, from[r].codes + k);
            if (weights->bits == 4)
                codes = _mm512_shuffle_epi8(codes, even_odd);
            _mm512_mask_storeu_epi8(to->codes + k * rows + r * depth, there, codes);
        }
    pack_factors(from, rows, weights, to);
}

/* What an outer body fetches in so many steps. Lines, as many as those have, and not two for each step: loads are what
 * tiles have little time for. */
static inline void fetch_ahead(gmm_ahead *ahead, int64_t steps)
{
    while (steps > 0 && ahead->step > 0) {
        int64_t now = steps < ahead->left ? steps : ahead->left;
        uintptr_t at = (uintptr_t)ahead->at, end = at + (uintptr_t)(now * ahead->step);
        for (; at < end; at += 64)
            __builtin_prefetch((const void *)at, 0, 2);
        ahead->at = (const char *)end;
        ahead->left -= now;
        steps -= now;
        if (ahead->left == 0)
            gmm_ahead_row(ahead);
    }
}

/* Integers below 2^22 in magnitude as f32, by additions: in the last bits of 1.5 * 2^23. */
static inline __m512 integers_added(const int32_t *from)
{
    __m512i sums = _mm512_add_epi32(_mm512_load_si512(from), _mm512_set1_epi32(0x4b400000));

    return _mm512_sub_ps(_mm512_castsi512_ps(sums), _mm512_set1_ps(0x1.8p23f));
}

/* Rows first to end - 1 of a group, constants, go on the sums. */
static inline __attribute__((always_inline)) void add_rows(const gmm_int8_panel *panel, int64_t group,
                                                           int32_t (*exact)[INT8_MR * 16], const float *factors,
                                                           int rows, int first, int end, __m512 (*sums)[2])
{
    __m512 scales[2], biases[2];

#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) {
        scales[v] = _mm512_load_ps(panel->scales + group * GMM_PANEL + v * 16);
        biases[v] = INT8_BIASES ? _mm512_load_ps(panel->biases + group * GMM_PANEL + v * 16) : _mm512_setzero_ps();
    }
#pragma GCC unroll 12
    for (int r = first; r < end; r++) {
        const __m512 x_scale = _mm512_set1_ps(factors[r]), x_sum = _mm512_set1_ps(factors[rows + r]);
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            __m512 terms = exact_terms(integers_added(exact[v] + r * 16), INT8_PANEL_ZERO, x_sum, scales[v], biases[v]);
            sums[r][v] = _mm512_fmadd_ps(x_scale, terms, sums[r][v]);
        }
    }
}

/* Products of a group with half v of the panel begin in a tile. */
#define BEGIN_HALF(tile, v)                                                                                            \
    do {                                                                                                               \
        _tile_zero(tile);                                                                                              \
        _tile_loadd(6, w + (v)*64, 4 * GMM_PANEL);                                                                     \
        TILE_PRODUCT(tile, 4, 6);                                                                                      \
        if (size > TILE_DEPTH) {                                                                                       \
            _tile_loadd(7, w + (v)*64 + TILE_DEPTH * GMM_PANEL, 4 * GMM_PANEL);                                        \
            TILE_PRODUCT(tile, 5, 7);                                                                                  \
        }                                                                                                              \
    } while (0)

/* Groups come in three stages: products of group g begin in two tiles, those of the one before, whose latency of 52
 * cycles is over, are stored, and the sums get the terms of the one before that, whose stores are done. Stored at once
 * they would hold up each other: 36 cycles for a tile instead of 25. */
#define GROUP_STEP(new_first, new_second, old_first, old_second, slot)                                                 \
    do {                                                                                                               \
        if (g < groups) {                                                                                              \
            _tile_loadd(4, x, depth);                                                                                  \
            if (size > TILE_DEPTH)                                                                                     \
                _tile_loadd(5, x + rows * TILE_DEPTH, depth);                                                          \
            BEGIN_HALF(new_first, 0);                                                                                  \
        }                                                                                                              \
        if (g > 0 && g <= groups)                                                                                      \
            _tile_stored(old_first, exact[1 - (slot)][0], 64);                                                         \
        if (g > 1 && g < groups + 2)                                                                                   \
            add_rows(panel, g - 2, exact[slot], factors, rows, 0, rows / 2, sums);                                     \
        if (g < groups) {                                                                                              \
            BEGIN_HALF(new_second, 1);                                                                                 \
            x += rows * size;                                                                                          \
            w += GMM_PANEL * size;                                                                                     \
            fetch_ahead(call->ahead, size / 4);                                                                        \
        }                                                                                                              \
        if (g > 0 && g <= groups)                                                                                      \
            _tile_stored(old_second, exact[1 - (slot)][1], 64);                                                        \
        if (g > 1 && g < groups + 2) {                                                                                 \
            add_rows(panel, g - 2, exact[slot], factors, rows, rows / 2, rows, sums);                                  \
            factors += 2 * rows;                                                                                       \
        }                                                                                                              \
        g++;                                                                                                           \
    } while (0)

/* `rows` is a constant at every call. */
static inline __attribute__((always_inline)) void outer_tile(const gmm_int8_outer *call, int64_t row, int rows)
{
    const gmm_int8_panel *panel = call->panel;
    const int64_t size = panel->weights->group_size, groups = panel->k / size, depth = tile_depth(size);
    const int8_t *x = call->x.codes + row * call->x.k + panel->begin * rows;
    const float *factors = call->x.factors + 2 * (row * call->x.k + panel->begin * rows) / size;
    const uint8_t *w = panel->codes;
    float *to = call->sums + row * GMM_PANEL;
    __attribute__((aligned(64))) int32_t exact[2][2][INT8_MR * 16];
    __m512 sums[INT8_MR][2];

#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        sums[r][0] = _mm512_load_ps(to + r * GMM_PANEL);
        sums[r][1] = _mm512_load_ps(to + r * GMM_PANEL + 16);
    }
    for (int64_t g = 0; g < groups + 2;) {
        GROUP_STEP(0, 1, 2, 3, 0);
        GROUP_STEP(2, 3, 0, 1, 1);
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        _mm512_store_ps(to + r * GMM_PANEL, sums[r][0]);
        _mm512_store_ps(to + r * GMM_PANEL + 16, sums[r][1]);
    }
}

static void outer_tiles(const gmm_int8_outer *call)
{
    const int64_t tiles = gmm_tile_count(call->rows, INT8_MR);
    int64_t shaped = 0;

    for (int64_t t = 0; t < tiles; t++) {
        int64_t row = gmm_tile_begin(call->rows, tiles, t), rows = gmm_tile_begin(call->rows, tiles, t + 1) - row;
        if (rows != shaped)
            tile_registers_shape_for((int)rows, 16, tile_depth(call->panel->weights->group_size));
        shaped = rows;
        switch (rows) {
#define INT8_CASE(rows)                                                                                                \
    case rows:                                                                                                         \
        outer_tile(call, row, rows);                                                                                   \
        break
            INT8_CASE(1);
            INT8_CASE(2);
            INT8_CASE(3);
            INT8_CASE(4);
            INT8_CASE(5);
            INT8_CASE(6);
            INT8_CASE(7);
            INT8_CASE(8);
            INT8_CASE(9);
            INT8_CASE(10);
            INT8_CASE(11);
            INT8_CASE(12);
#undef INT8_CASE
        }
    }
    _tile_release();
}

#undef BEGIN_HALF
#undef GROUP_STEP
