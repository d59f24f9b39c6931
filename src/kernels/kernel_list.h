/* kernel_list.h - every kernel, best first. To add one: add its file, then its line here (docs/add-a-kernel.md).
 * SPDX-License-Identifier: MIT */
#if defined(__x86_64__)
KERNEL(gmm_dot_f32_avx512)
KERNEL(gmm_outer_f32_avx512)
KERNEL(gmm_dot_f32_avx2)
KERNEL(gmm_outer_f32_avx2)
KERNEL(gmm_decode_affine_avx2)
KERNEL(gmm_decode_mxfp4_avx2)
KERNEL(gmm_decode_mxfp8_avx2)
KERNEL(gmm_decode_nvfp4_avx2)
KERNEL(gmm_decode_f16_avx2)
KERNEL(gmm_decode_bf16_avx2)
#endif
KERNEL(gmm_dot_f32_portable)
KERNEL(gmm_outer_f32_portable)
