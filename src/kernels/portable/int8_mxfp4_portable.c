/* int8_mxfp4_portable.c - int8 sums of E2M1 codes with an E8M0 scale for 32, in portable C. */
/* SPDX-License-Identifier: MIT */
#include "kernels/int8.h"

#define E2M1_SCALE gmm_e8m0_to_f32
#include "kernels/bodies/int8_e2m1_body.h"

extern const gmm_kernel gmm_int8_mxfp4_portable;
const gmm_kernel gmm_int8_mxfp4_portable = {
    .name = "int8_mxfp4_portable",
    .body = "int8",
    .reads = "mxfp4",
    .mr = 1,
    .nr = 1,
    .int8 =
        &(const gmm_int8){.quantize = quantize, .pack = pack, .dot = dot, .fill = fill, .outer = outer, .dot_rows = 1},
};
