/* dense_bf16.c - dense weights of type bf16. */
/* SPDX-License-Identifier: MIT */
#include "formats/dense.h"

const gmm_format gmm_format_dense_bf16 = {
    .name = "bf16",
    .dtype = GMM_BF16,
    .decode = gmm_decode_dense,
};
