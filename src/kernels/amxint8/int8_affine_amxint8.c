/* int8_affine_amxint8.c - int8 sums of affine codes of any number of bits, many rows by tdpbsud. */
/* SPDX-License-Identifier: MIT */
#include "kernels/int8.h"
#include "cpu/cpu.h"
#include "kernels/avx512vnni/codes_avx512vnni.h"

#define TILE_PRODUCT _tile_dpbsud
#include "kernels/avx512vnni/int8_affine_avx512vnni_body.h"

#include "kernels/amxint8/int8_amxint8_body.h"

extern const gmm_kernel gmm_int8_affine_amxint8;
const gmm_kernel gmm_int8_affine_amxint8 = {
    .name = "int8_affine_amxint8",
    .body = "int8",
    .reads = "affine",
    .needs = GMM_CPU_AMXINT8,
    .mr = INT8_MR,
    .nr = GMM_PANEL,
    .int8 = &(const gmm_int8){.quantize = quantize,
                              .pack = pack_tiles,
                              .pack_few = pack,
                              .dot = dot,
                              .few = few,
                              .fill = fill,
                              .outer = outer_tiles,
                              .dot_rows = GMM_INT8_MOST_DOT_ROWS},
};
