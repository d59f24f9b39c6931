/* tile_mxfp8_avx512bf16.c - tile sums of E4M3 codes with an E8M0 scale for 32, with vdpbf16ps. */
/* SPDX-License-Identifier: MIT */
#include "kernels/avx512bf16/tile_mx_avx512bf16.h"

#define TILE_GROUP 32
#define TILE_SHIFT(call) 0
#define TILE_MIDDLES 0
#define TILE_PAIR(bits, words, i) e4m3_pair(*(words), i)
#define TILE_SCALES(call, block, scales, middles) byte_scales(call, block, 0x1p-9f, scales)
#include "kernels/avx512bf16/tile_pairs_body.h"

static void multiply(const gmm_tile_call *call)
{
    tile_multiply(call, 8);
}

extern const gmm_kernel gmm_tile_mxfp8_avx512bf16;
const gmm_kernel gmm_tile_mxfp8_avx512bf16 = {
    .name = "tile_mxfp8_avx512bf16",
    .body = "tile",
    .reads = "mxfp8",
    .needs = GMM_CPU_AVX512BF16 | GMM_CPU_AVX512VBMI | GMM_CPU_AVX512VBMI2,
    .pays = GMM_CPU_FASTBF16,
    .mr = ROWS,
    .nr = GMM_PANEL,
    .tile =
        &(const gmm_tile){
            .order = GMM_TILE_GROUPS,
            .most_parts = 1,
            .pack = tile_pack,
            .scratch_bytes = tile_scratch_bytes,
            .multiply = multiply,
        },
};
