/* multiply_5.c - tile sums of affine codes of 5 bits, for tile_affine_avx512bf16.c. */
/* SPDX-License-Identifier: MIT */
#define CODE_BITS 5
#define MULTIPLY gmm_tile_affine5_multiply
#include "kernels/avx512bf16/tile_affine_avx512bf16_body.h"
