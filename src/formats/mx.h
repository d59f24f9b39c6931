/* mx.h - what the floating-point formats share when they quantize: the largest magnitude, shared exponents, E2M1 codes.
 */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_MX_H
#define GMM_MX_H

#include "formats/format.h"

/* max |values[i]|, or NaN if there is one among them. */
float gmm_group_magnitude(const float *values, int32_t count);

/* The quotient as the quantizer's tie rule has it: rounded to the input's type (MLX on CPUs), or kept in f32 (on GPUs).
 */
float gmm_step(const gmm_quantizer *quantizer, float quotient);

/* The E8M0 code of a group whose largest magnitude is `magnitude`, in a format whose largest element is `element_max`;
 * 255 when the magnitude is infinite or NaN. */
uint8_t gmm_shared_exponent(const gmm_quantizer *quantizer, float magnitude, float element_max);

/* What the elements of a group with this E8M0 code, below 255, are multiplied by before they are encoded: exactly
 * 2^(127 - code). */
float gmm_shared_exponent_inverse(uint8_t code);

/* The E2M1 code nearest to value, by the quantizer's tie rule. */
uint8_t gmm_e2m1_from_f32(const gmm_quantizer *quantizer, float value);

#endif
