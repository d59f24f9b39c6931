/* activations.h - the element-wise parts of the model: RMSNorm, RoPE, softmax. */
/* SPDX-License-Identifier: MIT */
#ifndef TINYMOE_ACTIVATIONS_H
#define TINYMOE_ACTIVATIONS_H

#include <stdint.h>

/* Rows that softmax_row gets are padded to a multiple of this. */
#define ROW_LANES 16

/* e^x to 2 units in the last place for x from -87 to 88, and clamped to that. Has no branch, so loops over it
 * vectorise. */
float exponential(float x);

/* out[t] = x[t] / sqrt(mean(x[t]^2) + eps) * weight, for rows of `size`. */
void rms_norm(const float *x, const float *weight, double eps, int64_t tokens, int64_t size, float *out);

/* Rotate the halves of one head's vector by the angles of its position: cosines and sines of size / 2. */
void rotate_half(float *x, const float *cosines, const float *sines, int64_t size);

/* row[i] = softmax(scale * row)[i] over the first `valid`, 0 for the others up to `padded`, a multiple of ROW_LANES. */
void softmax_row(float *row, float scale, int64_t valid, int64_t padded);

/* ln(sum(e^x[i])) of count values, a multiple of ROW_LANES. */
double log_sum_exp(const float *x, int64_t count);

#endif
