/* kernel_list.h - every kernel, best first. To add one: add its file, then its line here (docs/add-a-kernel.md).
 * SPDX-License-Identifier: MIT */
#if defined(__x86_64__)
KERNEL(gmm_dot_f32_avx512)
KERNEL(gmm_outer_f32_avx512)
KERNEL(gmm_dot_f32_avx2)
KERNEL(gmm_outer_f32_avx2)
#endif
KERNEL(gmm_dot_f32_portable)
KERNEL(gmm_outer_f32_portable)
