/* multiply_2.c - tile sums of affine codes of 2 bits, for tile_affine_avx512bf16.c. */
/* SPDX-License-Identifier: MIT */
#define CODE_BITS 2
#define MULTIPLY gmm_tile_affine2_multiply
#include "kernels/avx512bf16/tile_affine_avx512bf16_body.h"
