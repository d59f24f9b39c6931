/* int8_mxfp4_avx2.c - int8 sums of E2M1 codes with an E8M0 scale for 32, by vpmaddubsw. */
/* SPDX-License-Identifier: MIT */
#include "cpu/cpu.h"
#include "kernels/avx2/codes_avx2.h"
#include "kernels/int8.h"

/* Half of them, as codes are doubled. */
static inline void group_scales(const gmm_weights *weights, gmm_row row, int64_t first, int64_t count, float *scales,
                                float *biases)
{
    (void)weights;
    (void)biases;
    load_e8m0(row.scales, first, count, 0, scales);
    for (int64_t i = 0; i < count; i++)
        scales[i] *= 0.5f;
}

#define E2M1_GROUP 32
#include "kernels/avx2/int8_e2m1_avx2_body.h"

extern const gmm_kernel gmm_int8_mxfp4_avx2;
const gmm_kernel gmm_int8_mxfp4_avx2 = {
    .name = "int8_mxfp4_avx2",
    .body = "int8",
    .reads = "mxfp4",
    .needs = GMM_CPU_AVX2,
    .mr = INT8_MR,
    .nr = 16,
    .int8 = &int8_sums,
};
