/* int8_nvfp4_portable.c - int8 sums of E2M1 codes with an E4M3 scale for 16, in portable C. */
/* SPDX-License-Identifier: MIT */
#include "kernels/int8.h"

#define E2M1_SCALE gmm_e4m3_to_f32
#include "kernels/bodies/int8_e2m1_body.h"

extern const gmm_kernel gmm_int8_nvfp4_portable;
const gmm_kernel gmm_int8_nvfp4_portable = {
    .name = "int8_nvfp4_portable",
    .body = "int8",
    .reads = "nvfp4",
    .mr = 1,
    .nr = 1,
    .int8 =
        &(const gmm_int8){.quantize = quantize, .pack = pack, .dot = dot, .fill = fill, .outer = outer, .dot_rows = 1},
};
