/* tile_avx512bf16.h - what tile kernels share: rows of lhs, packed; prepared bf16 weights; chunks of K.
 * SPDX-License-Identifier: MIT */
#ifndef GMM_TILE_AVX512BF16_H
#define GMM_TILE_AVX512BF16_H

#include "cpu/cpu.h"
#include "kernels/avx512/codes_avx512.h"
#include "kernels/tile.h"

/* Some elements of K of a panel. */
typedef struct {
    int64_t column, columns; /* at most GMM_PANEL */
    int64_t k, count;        /* at most as many as the kernel's chunk has */
} chunk;

static chunk chunk_at(const gmm_tile_call *call, int64_t column, int64_t k, int64_t most)
{
    int64_t columns = call->columns - column, count = call->k - k;

    return (chunk){column, columns < GMM_PANEL ? columns : GMM_PANEL, k, count < most ? count : most};
}

/* Without columns if it was the last. */
static chunk chunk_after(const gmm_tile_call *call, const chunk *at, int64_t most)
{
    if (at->k + at->count < call->k)
        return chunk_at(call, at->column, at->k + at->count, most);
    return chunk_at(call, at->column + at->columns, 0, most);
}

/* ---- weights ---- */

/* Pairs of elements from k on, a block of them, of 16 columns: half a panel. Prepared weights lie in classes, lanes
 * along N. What is behind the end of K is zero, if not a whole block, a constant, is there. */
static inline __attribute__((always_inline)) void prepared_pairs(const gmm_tile_call *call, int64_t column, int64_t k,
                                                                 bool whole, vf32 pairs[GMM_TILE])
{
    const int64_t begin = k / call->panel_block * call->panel_block, left = call->k - k;
    const int64_t size = call->k - begin < call->panel_block ? call->k - begin : call->panel_block;
    const int64_t length = gmm_class_length(size, GMM_CLASSES, 0), first = (k - begin) / GMM_CLASSES;
    const int64_t all = (call->k + GMM_CLASSES - 1) / GMM_CLASSES * GMM_CLASSES;
    const int64_t half = column % GMM_PANEL;
    const char *from = call->prepared + 2 * ((column - half) * all + (begin + first) * GMM_PANEL + half);
    /* Lane i: of 32 numbers, number i and number 16 + i. */
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i places =
        _mm512_add_epi32(_mm512_mullo_epi32(lanes, _mm512_set1_epi32(0x00010001)), _mm512_set1_epi32(0x00100000));

#pragma GCC unroll 16
    for (int p = 0; p < GMM_TILE; p++) {
        const int64_t c = 2 * p % GMM_CLASSES, place = 2 * p / GMM_CLASSES;
        const char *one = from + 2 * GMM_PANEL * (gmm_class_in_tree(c, GMM_CLASSES) * length + place);
        const char *other = from + 2 * GMM_PANEL * (gmm_class_in_tree(c + 1, GMM_CLASSES) * length + place);
        __m256i two[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        if (whole || 2 * p < left)
            two[0] = _mm256_loadu_si256((const __m256i *)(const void *)one);
        if (whole || 2 * p + 1 < left)
            two[1] = _mm256_loadu_si256((const __m256i *)(const void *)other);
        pairs[p] = _mm512_castsi512_ps(
            _mm512_permutexvar_epi16(places, _mm512_inserti64x4(_mm512_castsi256_si512(two[0]), two[1], 1)));
    }
}

/* ---- rows of lhs ---- */

/* Where the upper halves of pairs of 32 floats lie, whose elements are `apart`. */
static inline __m512i pair_places(int apart)
{
    const __m512i pair = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i element = _mm512_add_epi32(pair, _mm512_and_si512(pair, _mm512_set1_epi32(-apart)));

    return _mm512_add_epi32(_mm512_mullo_epi32(element, _mm512_set1_epi32(0x00020002)),
                            _mm512_set1_epi32(0x00010001 + (2 * apart << 16)));
}

/* The upper halves of two vectors of f32 numbers, bf16 numbers, from such places. */
static inline __m512i upper_halves(__m512 first, __m512i places, __m512 second)
{
    return _mm512_permutex2var_epi16(_mm512_castps_si512(first), places, _mm512_castps_si512(second));
}

/* What numbers are without their first eight significant bits: exact. Of infinities and NaN, nothing. */
static inline __m512 without_upper(__m512 v)
{
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000);
    __m512 part = _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), upper));

    return _mm512_maskz_sub_ps((__mmask16)~_mm512_fpclass_ps_mask(v, 0x99), v, part);
}

/* Sums of the blocks of a piece: sixteen classes and the tree, as the dot sum has them. */
static inline void pack_sums(const gmm_tile_pack *call)
{
    const gmm_tile_rows *to = call->to;
    float *sums = gmm_tile_sums(to, call->tile) + call->begin / GMM_TILE_BLOCK * to->width;

    for (int64_t k = 0; k < call->count; k += GMM_TILE_BLOCK, sums += to->width) {
        float classes[GMM_TILE * GMM_CLASSES] = {0};
        for (int64_t r = 0; r < call->rows; r++) {
            const vf32 first = vf32_add(vf32_zero(), vf32_load(call->from[r] + k));
            vf32_store(classes + r * GMM_CLASSES, vf32_add(first, vf32_load(call->from[r] + k + GMM_CLASSES)));
        }
        _mm512_mask_storeu_ps(sums, first_16(to->width), vf32_trees(classes));
    }
}

static inline void tile_pack(const gmm_tile_pack *call)
{
    const gmm_tile_rows *to = call->to;
    float *pairs = (float *)(void *)(to->pairs + call->tile * gmm_tile_bytes(to) +
                                     call->begin / GMM_TILE_BLOCK * gmm_tile_block_bytes(to));
    const __m512i places = pair_places(to->apart);
    vf32 columns[GMM_TILE];

    if (to->sums)
        pack_sums(call);
    for (int64_t k = 0; k < call->count; k += GMM_TILE_BLOCK, pairs += GMM_TILE * to->width) {
        int64_t left = call->count - k;
        for (int64_t i = 0; i < GMM_TILE; i++)
            columns[i] = vf32_zero();
        for (int64_t r = 0; r < call->rows; r++) {
            const float *from = call->from[r] + k;
            vf32 first = _mm512_maskz_loadu_ps(first_16(left), from);
            vf32 second = _mm512_maskz_loadu_ps(left > 16 ? first_16(left - 16) : 0, left > 16 ? from + 16 : from);
            for (int32_t part = 0; part < to->parts; part++) {
                columns[r * to->parts + part] = _mm512_castsi512_ps(upper_halves(first, places, second));
                first = without_upper(first);
                second = without_upper(second);
            }
        }
        if (to->width == 1) {
            vf32_store(pairs, columns[0]);
            continue;
        }
        vf32_transpose(columns);
        for (int64_t i = 0; i < GMM_TILE; i++)
            _mm512_mask_storeu_ps(pairs + i * to->width, first_16(to->width), columns[i]);
    }
}

#endif
