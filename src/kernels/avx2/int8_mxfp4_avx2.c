/* int8_mxfp4_avx2.c - int8 sums of E2M1 codes with an E8M0 scale for 32, as the compiler makes it for AVX2. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/int8.h"

#define E2M1_SCALE gmm_e8m0_to_f32
#include "kernels/bodies/int8_e2m1_body.h"

extern const gmm_kernel gmm_int8_mxfp4_avx2;
const gmm_kernel gmm_int8_mxfp4_avx2 = {
    .name = "int8_mxfp4_avx2",
    .body = "int8",
    .reads = "mxfp4",
    .needs = GMM_CPU_AVX2,
    .mr = 1,
    .nr = 1,
    .int8 =
        &(const gmm_int8){.quantize = quantize, .pack = pack, .dot = dot, .fill = fill, .outer = outer, .dot_rows = 1},
};
