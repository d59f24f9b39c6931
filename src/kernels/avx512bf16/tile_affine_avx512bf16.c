/* tile_affine_avx512bf16.c - tile sums of affine codes of 2 and 4 bits, with vdpbf16ps.
 * SPDX-License-Identifier: MIT
 *
 * A weight is middle + scale * (code - center): the center is the mean of the least code and the greatest one, so that
 * codes less the center are odd numbers of halves, and bf16 numbers; the middle of a group is its bias + center *
 * scale. Groups are taken apart into groups of 32 with the same numbers: one body does for all, and few rows have more
 * chains of additions side by side. */
#include "cpu/cpu.h"
#include "kernels/avx512bf16/tile_codes_avx512bf16.h"

#define TILE_GROUP GMM_TILE_BLOCK

/* ---- codes less the center ---- */

static inline __attribute__((always_inline)) __m512bh centered_pair(int bits, __m512i words, int i)
{
    const __m512i of_2_bits = _mm512_set1_epi64((long long)0x3fc03f00bf00bfc0);
    const __m256i of_4_bits =
        _mm256_setr_epi16((short)0xc0f0, (short)0xc0d0, (short)0xc0b0, (short)0xc090, (short)0xc060, (short)0xc020,
                          (short)0xbfc0, (short)0xbf00, 0x3f00, 0x3fc0, 0x4020, 0x4060, 0x4090, 0x40b0, 0x40d0, 0x40f0);

    return pair_of_words(bits, words, i, bits == 2 ? of_2_bits : _mm512_broadcast_i64x4(of_4_bits));
}

/* ---- scales and biases ---- */

enum {
    TOGETHER = 32 /* groups whose numbers are transposed together */
};

/* Numbers of a group each, in rows of f32, f16 or bf16: those of `begin` and of what comes next. */
static inline void load_numbers(gmm_dtype dtype, const void *rows, int64_t row_bytes, const group_block *at,
                                int64_t begin, vf32 words[TOGETHER])
{
    const int64_t bytes = dtype == GMM_F32 ? 4 : 2;
    const int64_t from = (at->first + begin) * bytes, end = (at->first + at->count) * bytes;

    group_words(rows, row_bytes, at, from, end, words);
    if (dtype == GMM_F32 && from + 64 < end)
        group_words(rows, row_bytes, at, from + 64, end, words + GMM_TILE);
}

static inline vf32 number_at(gmm_dtype dtype, const vf32 *words, int64_t i)
{
    if (dtype == GMM_F32)
        return words[i];
    const __m512i word = _mm512_castps_si512(words[i / 2]), half = i % 2 ? _mm512_srli_epi32(word, 16) : word;
    return dtype == GMM_BF16 ? _mm512_castsi512_ps(_mm512_slli_epi32(half, 16))
                             : _mm512_cvtph_ps(_mm512_cvtepi32_epi16(half));
}

/* Weights that may overflow get the middle NaN, and so the sum: whoever calls computes it again from decoded ones. */
static void scales_and_middles(const gmm_tile_call *call, const group_block *at, float *scales, float *middles)
{
    const gmm_weights *weights = call->weights;
    const vf32 center = vf32_all((float)((1 << weights->bits) - 1) / 2), two = vf32_all(2);

    for (int64_t g = 0; g < at->count; g += TOGETHER) {
        vf32 scale_words[TOGETHER], bias_words[TOGETHER];
        load_numbers(weights->scales_dtype, call->w.first.scales, call->w.scale_bytes, at, g, scale_words);
        load_numbers(weights->biases_dtype, call->w.first.biases, call->w.bias_bytes, at, g, bias_words);
        for (int64_t i = 0; i < TOGETHER && g + i < at->count; i++) {
            const vf32 scale = number_at(weights->scales_dtype, scale_words, i);
            const vf32 middle = vf32_fma(center, scale, number_at(weights->biases_dtype, bias_words, i));
            const vf32 reach = vf32_add(_mm512_abs_ps(middle), _mm512_abs_ps(_mm512_mul_ps(center, scale)));
            vf32_store(scales + (g + i) * at->stride, scale);
            /* 0 times infinity is NaN. */
            vf32_store(middles + (g + i) * at->stride, vf32_fma(_mm512_mul_ps(two, reach), vf32_zero(), middle));
        }
    }
}

#define TILE_SHIFT(call) __builtin_ctz((unsigned)(call)->weights->group_size / TILE_GROUP)
#define TILE_MIDDLES 1
#define TILE_PAIR centered_pair
#define TILE_SCALES scales_and_middles
#include "kernels/avx512bf16/tile_pairs_body.h"

static void multiply(const gmm_tile_call *call)
{
    if (call->weights->bits == 2)
        tile_multiply(call, 2);
    else
        tile_multiply(call, 4);
}

extern const gmm_kernel gmm_tile_affine_avx512bf16;
const gmm_kernel gmm_tile_affine_avx512bf16 = {
    .name = "tile_affine_avx512bf16",
    .body = "tile",
    .reads = "affine",
    .needs = GMM_CPU_AVX512BF16 | GMM_CPU_AVX512VBMI,
    .pays = GMM_CPU_FASTBF16,
    .mr = ROWS,
    .nr = GMM_PANEL,
    .tile =
        &(const gmm_tile){
            .order = GMM_TILE_CENTERED,
            .most_parts = 1,
            .bits = 1 << 2 | 1 << 4,
            .pack = tile_pack,
            .scratch_bytes = tile_scratch_bytes,
            .multiply = multiply,
        },
};
