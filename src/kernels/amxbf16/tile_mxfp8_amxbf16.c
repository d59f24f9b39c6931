/* tile_mxfp8_amxbf16.c - tile sums of E4M3 codes with an E8M0 scale for 32, with tdpbf16ps.
 * SPDX-License-Identifier: MIT
 *
 * A chunk of a row is decoded at once, some rows between two products of tiles. */
#include "formats/numbers.h"
#include "kernels/amxbf16/tile_amxbf16_body.h"

enum {
    GROUP = 32,
    PART_ROWS = GMM_PANEL / CHUNK_BLOCKS
};

/* ---- scales ---- */

/* What is added to the exponents of a pair of E4M3 numbers, as bf16 numbers, to scale them by code c. All normal ones
 * stay in the range of bf16 with codes 7 to 246. */
enum {
    LEAST_SCALE = 7,
    LARGEST_SCALE = 246
};
#define EXPONENTS(c) (((uint32_t)(c)-LEAST_SCALE) * 0x00800080u)
#define EXPONENTS_4(c) EXPONENTS(c), EXPONENTS(c + 1), EXPONENTS(c + 2), EXPONENTS(c + 3)
#define EXPONENTS_16(c) EXPONENTS_4(c), EXPONENTS_4(c + 4), EXPONENTS_4(c + 8), EXPONENTS_4(c + 12)
#define EXPONENTS_64(c) EXPONENTS_16(c), EXPONENTS_16(c + 16), EXPONENTS_16(c + 32), EXPONENTS_16(c + 48)
static const uint32_t exponents[256] = {EXPONENTS_64(0), EXPONENTS_64(64), EXPONENTS_64(128), EXPONENTS_64(192)};

/* ---- codes ---- */

/* A block of any numbers. */
static inline void decode_block(const uint8_t *codes, uint8_t scale, char *to)
{
    const vf32 by = vf32_all(gmm_e8m0_to_f32(scale)), missing = vf32_all(256);
    vf32 values[2];

    e4m3_over_256(_mm256_loadu_si256((const __m256i *)(const void *)codes), values);
    for (int i = 0; i < 2; i++)
        values[i] = _mm512_mul_ps(_mm512_mul_ps(values[i], missing), by);
    _mm512_store_si512(to, upper_halves(values[0], pair_places(1), values[1]));
}

/* Block `block` of 64 codes, each in the upper byte of a word, zeros below. */
static inline __m512i upper_bytes(__m512i codes, int block)
{
    const __m512i order = _mm512_setr_epi32(0x01000000, 0x03000200, 0x05000400, 0x07000600, 0x09000800, 0x0b000a00,
                                            0x0d000c00, 0x0f000e00, 0x11001000, 0x13001200, 0x15001400, 0x17001600,
                                            0x19001800, 0x1b001a00, 0x1d001c00, 0x1f001e00);

    return _mm512_maskz_permutexvar_epi8(0xaaaaaaaaaaaaaaaa,
                                         _mm512_add_epi8(order, _mm512_set1_epi8((char)(32 * block))), codes);
}

/* Codes of zero, of subnormal numbers or NaN. */
static inline __mmask64 not_normal(__m512i codes)
{
    const __m512i magnitudes = _mm512_and_si512(codes, _mm512_set1_epi8(0x7f));

    return _mm512_cmpgt_epu8_mask(_mm512_sub_epi8(magnitudes, _mm512_set1_epi8(0x08)), _mm512_set1_epi8(0x7e - 0x08));
}

/* A whole chunk of normal numbers, which are bf16 numbers as soon as their exponents are moved and added to. False if
 * there are others. */
static inline bool decode_chunk(const uint8_t *codes, const uint8_t *scales, char *to)
{
    const __m512i lines[] = {_mm512_loadu_si512(codes), _mm512_loadu_si512(codes + 64)};
    const __m128i above = _mm_sub_epi8(_mm_loadu_si32(scales), _mm_set1_epi8(LEAST_SCALE));
    const __mmask16 far = _mm_cmpgt_epu8_mask(above, _mm_set1_epi8((char)(LARGEST_SCALE - LEAST_SCALE)));

#pragma GCC unroll 4
    for (int block = 0; block < CHUNK_BLOCKS; block++) {
        const __m512i words = _mm512_and_si512(_mm512_srai_epi16(upper_bytes(lines[block / 2], block % 2), 4),
                                               _mm512_set1_epi16((short)0x87ff));
        _mm512_store_si512(to + block * TILE_BYTES,
                           _mm512_add_epi16(words, _mm512_set1_epi32((int)exponents[scales[block]])));
    }
    return !(not_normal(lines[0]) | not_normal(lines[1]) | (far & 15));
}

/* ---- panels ---- */

/* Inlined always, as in tile_bf16_amxbf16.c. */
static inline __attribute__((always_inline)) void fetch(const uint8_t *from, uintptr_t distance)
{
    __builtin_prefetch((const void *)((uintptr_t)from + distance), 0, 2);
}

/* A part is some rows. Not inlined: there are not registers enough for both loops. */
static __attribute__((noinline)) void fill(const gmm_tile_call *call, const chunk *at, int part, char *panel)
{
    const int64_t first = part * PART_ROWS, left = at->columns - first, rows = left < PART_ROWS ? left : PART_ROWS;
    const gmm_row row = gmm_row_at(&call->w, at->column + first);
    const uint8_t *codes = (const uint8_t *)row.codes + at->k, *scales = (const uint8_t *)row.scales + at->k / GROUP;
    const int64_t stride = call->w.code_bytes, scale_stride = call->w.scale_bytes;
    const uintptr_t ahead = fetch_distance(call, at->k, call->k);
    const bool whole = at->count == CHUNK, new_line_of_scales = at->k / GROUP % 64 == 0;
    char *to = tile_at(panel, part * PART_ROWS / GMM_TILE, 0) + part * PART_ROWS % GMM_TILE * 64;
    uint32_t others = 0;

    for (int64_t r = 0; r < rows; r++) {
        fetch(codes + r * stride, ahead);
        fetch(codes + r * stride, ahead + 64);
        if (new_line_of_scales)
            fetch(scales + r * scale_stride, (uintptr_t)(GMM_PANEL * scale_stride));
        if (!whole || !decode_chunk(codes + r * stride, scales + r * scale_stride, to + r * 64))
            others |= UINT32_C(1) << r;
    }
    for (; others; others &= others - 1) {
        int64_t r = __builtin_ctz(others);
        for (int64_t k = 0; k < at->count; k += GMM_TILE_BLOCK)
            decode_block(codes + r * stride + k, scales[r * scale_stride + k / GROUP],
                         to + r * 64 + k / GMM_TILE_BLOCK * TILE_BYTES);
    }
}

static void multiply(const gmm_tile_call *call)
{
    tile_registers_shape(call->x->width);
    multiply_from(call, 0);
    _tile_release();
}

extern const gmm_kernel gmm_tile_mxfp8_amxbf16;
const gmm_kernel gmm_tile_mxfp8_amxbf16 = {
    .name = "tile_mxfp8_amxbf16",
    .body = "tile",
    .reads = "mxfp8",
    .needs = GMM_CPU_AMXBF16 | GMM_CPU_AVX512VBMI,
    .mr = GMM_TILE,
    .nr = GMM_PANEL,
    .tile =
        &(const gmm_tile){
            .order = GMM_TILE_EVEN_ODD,
            .most_parts = 1,
            .pack = tile_pack,
            .scratch_bytes = scratch_bytes,
            .multiply = multiply,
        },
};
