/* ceiling_list.h - every loop that measures a ceiling, best first. To add one: add its file, then its line here.
 * SPDX-License-Identifier: MIT */
#if defined(__x86_64__)
CEILING(gmm_ceiling_read_avx512)
CEILING(gmm_ceiling_read_avx2)
CEILING(gmm_ceiling_fma_f32_avx512)
CEILING(gmm_ceiling_fma_f32_avx2)
CEILING(gmm_ceiling_dot_bf16_amxbf16)
CEILING(gmm_ceiling_dot_bf16_avx512bf16)
CEILING(gmm_ceiling_dot_int8_amxint8)
CEILING(gmm_ceiling_dot_int8_avx512vnni)
CEILING(gmm_ceiling_dot_int8_avx2)
#endif
CEILING(gmm_ceiling_read_portable)
CEILING(gmm_ceiling_fma_f32_portable)
