/* dense_f32.c - dense weights of type f32. */
/* SPDX-License-Identifier: MIT */
#include "formats/dense.h"

const gmm_format gmm_format_dense_f32 = {
    .name = "f32",
    .dtype = GMM_F32,
    .decode = gmm_decode_dense,
};
