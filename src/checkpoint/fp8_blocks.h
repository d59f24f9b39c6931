/* fp8_blocks.h - E4M3 weights with a scale for each block, as DeepSeek-V3 has them. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_FP8_BLOCKS_H
#define GMM_FP8_BLOCKS_H

#include "gathermm/gathermm.h"

/* out[r][c] = E4M3(codes[r][c]) * scales[r / block[0]][c / block[1]], the product in f32, rounded to dtype (GMM_F32 or
 * GMM_BF16). All row-major and of any alignment; scales are f32, f16 or bf16. In the caller's floating-point
 * environment, which should be the default one. */
void gmm_fp8_blocks_decode(const unsigned char *codes, const void *scales, gmm_dtype scales_dtype, int64_t rows,
                           int64_t cols, const int64_t block[2], gmm_dtype dtype, void *out);

#endif
