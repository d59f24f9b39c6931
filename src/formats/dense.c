/* dense.c - see dense.h. */
/* SPDX-License-Identifier: MIT */
#include "formats/dense.h"

#include "formats/convert.h"

void gmm_decode_dense(const gmm_weights *weights, gmm_row row, int64_t begin, int64_t count, float *out)
{
    int64_t element_bytes = gmm_dtype_bits(weights->dtype) / 8;
    const char *from = (const char *)row.codes + begin * weights->code_stride * element_bytes;

    gmm_load_run(weights->dtype, weights->cast, from, weights->code_stride, count, out);
}
