/* int8_nvfp4_avx512vnni.c - int8 sums of E2M1 codes with an E4M3 scale for 16, by vpdpbusd. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx512vnni/codes_avx512vnni.h"
#include "kernels/int8.h"

#include "kernels/avx512vnni/int8_nvfp4_avx512vnni_body.h"
#include "kernels/avx512vnni/int8_outer_avx512vnni_body.h"

extern const gmm_kernel gmm_int8_nvfp4_avx512vnni;
const gmm_kernel gmm_int8_nvfp4_avx512vnni = {
    .name = "int8_nvfp4_avx512vnni",
    .body = "int8",
    .reads = "nvfp4",
    .needs = GMM_CPU_AVX512VNNI,
    .mr = INT8_MR,
    .nr = GMM_PANEL,
    .int8 = &(const gmm_int8){.quantize = quantize,
                              .pack = pack,
                              .pack_few = pack,
                              .dot = dot,
                              .few = few,
                              .fill = fill,
                              .outer = outer,
                              .dot_rows = 1},
};
