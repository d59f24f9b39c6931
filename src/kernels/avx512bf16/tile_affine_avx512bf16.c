/* tile_affine_avx512bf16.c - tile sums of affine codes with vdpbf16ps: of 4 bits here, of others in affine/. */
/* SPDX-License-Identifier: MIT */
#define CODE_BITS 4
#define MULTIPLY gmm_tile_affine4_multiply
#include "kernels/avx512bf16/tile_affine_avx512bf16_body.h"

static void multiply(const gmm_tile_call *call)
{
    typedef void function(const gmm_tile_call *);
    extern function gmm_tile_affine2_multiply, gmm_tile_affine3_multiply, gmm_tile_affine5_multiply,
        gmm_tile_affine6_multiply, gmm_tile_affine8_multiply;
    static function *const of_bits[] = {
        [2] = gmm_tile_affine2_multiply, [3] = gmm_tile_affine3_multiply, [4] = gmm_tile_affine4_multiply,
        [5] = gmm_tile_affine5_multiply, [6] = gmm_tile_affine6_multiply, [8] = gmm_tile_affine8_multiply,
    };

    of_bits[call->weights->bits](call);
}

extern const gmm_kernel gmm_tile_affine_avx512bf16;
const gmm_kernel gmm_tile_affine_avx512bf16 = {
    .name = "tile_affine_avx512bf16",
    .body = "tile",
    .reads = "affine",
    .needs = GMM_CPU_AVX512BF16 | GMM_CPU_AVX512VBMI | GMM_CPU_AVX512VBMI2 | GMM_CPU_AVX512GFNI,
    .pays = GMM_CPU_FASTBF16,
    .mr = ROWS,
    .nr = GMM_PANEL,
    .tile =
        &(const gmm_tile){
            .order = GMM_TILE_CENTERED,
            .most_parts = 1,
            .pack = tile_pack,
            .scratch_bytes = tile_scratch_bytes,
            .multiply = multiply,
        },
};
