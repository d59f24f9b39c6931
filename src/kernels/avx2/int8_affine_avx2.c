/* int8_affine_avx2.c - int8 sums of affine codes of any number of bits, as the compiler makes it for AVX2. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/bodies/int8_affine_body.h"

extern const gmm_kernel gmm_int8_affine_avx2;
const gmm_kernel gmm_int8_affine_avx2 = {
    .name = "int8_affine_avx2",
    .body = "int8",
    .reads = "affine",
    .needs = GMM_CPU_AVX2,
    .mr = 1,
    .nr = 1,
    .int8 =
        &(const gmm_int8){.quantize = quantize, .pack = pack, .dot = dot, .fill = fill, .outer = outer, .dot_rows = 1},
};
