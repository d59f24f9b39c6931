/* tile_bf16_avx512bf16.c - tile sums of bf16 weights with vdpbf16ps. */
/* SPDX-License-Identifier: MIT */
#include "kernels/avx512bf16/tile_codes_avx512bf16.h"

static inline void no_scales(const group_block *at, float *scales)
{
    for (int64_t g = 0; g < at->count; g++)
        vf32_store(scales + g * at->stride, vf32_all(1));
}

#define TILE_GROUP GMM_TILE_CHAIN
#define TILE_SHIFT(call) 0
#define TILE_MIDDLES 0
#define TILE_PAIR(bits, words, i) (__m512bh) * (words)
#define TILE_SCALES(call, block, scales, middles) no_scales(block, scales)
#include "kernels/avx512bf16/tile_pairs_body.h"

static void multiply(const gmm_tile_call *call)
{
    tile_multiply(call, 16);
}

extern const gmm_kernel gmm_tile_bf16_avx512bf16;
const gmm_kernel gmm_tile_bf16_avx512bf16 = {
    .name = "tile_bf16_avx512bf16",
    .body = "tile",
    .reads = "bf16",
    .needs = GMM_CPU_AVX512BF16 | GMM_CPU_AVX512VBMI | GMM_CPU_AVX512VBMI2,
    .pays = GMM_CPU_FASTBF16,
    .mr = ROWS,
    .nr = GMM_PANEL,
    .tile =
        &(const gmm_tile){
            .order = GMM_TILE_PAIRS,
            .most_parts = 1,
            .pack = tile_pack,
            .scratch_bytes = tile_scratch_bytes,
            .multiply = multiply,
        },
};
