/* int8_affine_portable.c - int8 sums of affine codes of any number of bits, in portable C. */
/* SPDX-License-Identifier: MIT */
#include "kernels/bodies/int8_affine_body.h"

extern const gmm_kernel gmm_int8_affine_portable;
const gmm_kernel gmm_int8_affine_portable = {
    .name = "int8_affine_portable",
    .body = "int8",
    .reads = "affine",
    .mr = 1,
    .nr = 1,
    .int8 =
        &(const gmm_int8){.quantize = quantize, .pack = pack, .dot = dot, .fill = fill, .outer = outer, .dot_rows = 1},
};
