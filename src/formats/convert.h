/* convert.h - runs of elements between memory of any type and stride, and f32. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CONVERT_H
#define GMM_CONVERT_H

#include "gathermm/gathermm.h"

/* out[i] = element i of a run, converted to type `cast` (f32, f16, bf16; round to nearest even) and then, exactly, to
 * f32. dtype: f32, f16, bf16, any integer, bool. stride in elements. The types of products: the promoted type T is
 * `cast`. */
void gmm_load_run(gmm_dtype dtype, gmm_dtype cast, const void *data, int64_t stride, int64_t count, float *out);

/* Element i of a run = in[i] rounded to nearest even, any NaN as the positive quiet NaN; dtype f32, f16 or bf16. Writes
 * each element once, reads none. */
void gmm_store_run(gmm_dtype dtype, const float *in, int64_t count, void *data, int64_t stride);

/* MLX's promotion of two element types; 0 when the result is not f32, f16 or bf16 (docs/numerics.md). */
gmm_dtype gmm_promote(gmm_dtype a, gmm_dtype b);

#endif
