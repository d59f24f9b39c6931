/* int8_mxfp4_amxint8.c - int8 sums of E2M1 codes with an E8M0 scale for 32, many rows by tdpbssd. */
/* SPDX-License-Identifier: MIT */
#include "kernels/int8.h"
#include "cpu/cpu.h"
#include "kernels/avx512vnni/codes_avx512vnni.h"

/* Tiles take signed codes, so nothing is to be taken off their sums. */
#define INT8_PANEL_ZERO 0
#define TILE_PRODUCT _tile_dpbssd
#include "kernels/avx512vnni/int8_mxfp4_avx512vnni_body.h"

#include "kernels/amxint8/int8_amxint8_body.h"

extern const gmm_kernel gmm_int8_mxfp4_amxint8;
const gmm_kernel gmm_int8_mxfp4_amxint8 = {
    .name = "int8_mxfp4_amxint8",
    .body = "int8",
    .reads = "mxfp4",
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
                              .dot_rows = 1},
};
