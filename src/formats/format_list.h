/* format_list.h - every weight format, dense ones first. To add one: add its file, then its line here. */
/* SPDX-License-Identifier: MIT */
FORMAT(gmm_format_dense_f32)
FORMAT(gmm_format_dense_f16)
FORMAT(gmm_format_dense_bf16)
FORMAT(gmm_format_affine)
FORMAT(gmm_format_mxfp4)
FORMAT(gmm_format_mxfp8)
FORMAT(gmm_format_nvfp4)
