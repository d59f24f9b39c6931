/* cpu_list.h - every CPU feature that kernels may ask for.
 * SPDX-License-Identifier: MIT
 *
 * FEATURE(bit's name, word for masks, the feature that it builds on or NONE, how x86-64 tells). To add one: add its
 * line here, below the one that it builds on: masking a feature rules out those that build on it. YMM, ZMM and TILES
 * are true when the system saves those registers; TILES asks it to, so it comes last. AMD is the vendor. */
FEATURE(AVX2, "avx2", NONE, LEAF7_EBX(5) && LEAF1_ECX(12) /* fma */ && LEAF1_ECX(29) /* f16c */ && YMM)
FEATURE(AVX512, "avx512", AVX2,
        LEAF7_EBX(16) /* f */ && LEAF7_EBX(17) /* dq */ && LEAF7_EBX(30) /* bw */ && LEAF7_EBX(31) /* vl */ && ZMM)
FEATURE(AVX512VBMI, "avx512vbmi", AVX512, LEAF7_ECX(1))
FEATURE(AVX512VBMI2, "avx512vbmi2", AVX512, LEAF7_ECX(6))
FEATURE(AVX512GFNI, "avx512gfni", AVX512, LEAF7_ECX(8)) /* gfni on ZMM registers */
FEATURE(AVX512VNNI, "avx512vnni", AVX512, LEAF7_ECX(11))
FEATURE(AVX512BF16, "avx512bf16", AVX512, LEAF71_EAX(5))
FEATURE(FASTBF16, "fastbf16", AVX512BF16, AMD) /* vdpbf16ps as often as f32 fma; Intel's CPUs issue half as many */
FEATURE(AMXBF16, "amxbf16", AVX512BF16, LEAF7_EDX(24) /* tile */ && LEAF7_EDX(22) && TILES)
FEATURE(AMXINT8, "amxint8", AVX512VNNI, LEAF7_EDX(24) /* tile */ && LEAF7_EDX(25) && TILES)
