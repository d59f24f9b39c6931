/* oracle_numbers.h - number formats as their definitions say, in double precision; shares no code with the library. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_ORACLE_NUMBERS_H
#define GMM_ORACLE_NUMBERS_H

#include <stdint.h>

#include "gathermm/gathermm.h"

/* 2^exponent, for -1022 <= exponent <= 1023. */
double gmm_oracle_power(int exponent);

/* The value of a bit pattern; BOOL is 0 or 1. 64-bit integers beyond 2^53 come out as a number that rounds to f32, f16
 * and bf16 as they do (see gmm_oracle_round). */
double gmm_oracle_decode(gmm_dtype dtype, uint64_t bits);

/* x rounded to the nearest number of a type, ties to even; beyond the largest by half a step or more: an infinity. f32,
 * f16, bf16. */
double gmm_oracle_round(gmm_dtype dtype, double x);

/* The bit pattern of x, which must be a number that the type has (a float type), or an integer in its range. */
uint64_t gmm_oracle_encode(gmm_dtype dtype, double x);

/* E2M1, OCP Microscaling Formats 1.0: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives; the low four bits of code. */
double gmm_oracle_e2m1(unsigned code);

/* E4M3, OCP 8-bit Floating Point 1.0: no infinities; codes 0x7F and 0xFF are NaN. */
double gmm_oracle_e4m3(unsigned code);

/* E8M0: 2^(code - 127), and 255 is infinity, as MLX has it. */
double gmm_oracle_e8m0(unsigned code);

/* Type of a product of operands of types a and b, by MLX's rules; 0 if it is none of f32, f16, bf16. */
gmm_dtype gmm_oracle_promote(gmm_dtype a, gmm_dtype b);

#endif
