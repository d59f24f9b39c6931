/* dense.h - what the dense formats share: decoding. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_DENSE_H
#define GMM_DENSE_H

#include "formats/format.h"

/* gmm_format.decode for elements of weights->dtype, converted to weights->cast and from there to f32. */
void gmm_decode_dense(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out);

#endif
