/* multiply_8.c - tile sums of affine codes of 8 bits, for tile_affine_avx512bf16.c. */
/* SPDX-License-Identifier: MIT */
#define CODE_BITS 8
#define MULTIPLY gmm_tile_affine8_multiply
#include "kernels/avx512bf16/tile_affine_avx512bf16_body.h"
