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

/* Give a group of 32 its E8M0 scale, for a format whose largest element is `element_max`, and codes 0. *inverse is what
 * elements are multiplied by before they are encoded, exactly 1 / scale. False when a value is infinite or NaN: then
 * the group is complete, and decodes to NaN. */
bool gmm_scale_group(const gmm_quantizer *quantizer, const float *values, float element_max, gmm_group *group,
                     float *inverse);

/* The E2M1 code nearest to value, by the quantizer's tie rule. */
uint8_t gmm_e2m1_from_f32(const gmm_quantizer *quantizer, float value);

#endif
