/* dense_f16.c - dense weights of type f16. */
/* SPDX-License-Identifier: MIT */
#include "formats/dense.h"

const gmm_format gmm_format_dense_f16 = {
    .name = "f16",
    .dtype = GMM_F16,
    .decode = gmm_decode_dense,
};
