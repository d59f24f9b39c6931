/* cpu_list.h - every CPU feature that kernels may ask for: FEATURE(bit's name, word for masks, how x86-64 tells).
 * SPDX-License-Identifier: MIT
 *
 * To add one: add its line here. YMM, ZMM and TILES are true when the system saves those registers. A kernel names
 * every feature that its code uses, so masking "avx2" also rules out the AVX-512 kernels. */
FEATURE(AVX2, "avx2", LEAF7_EBX(5) && LEAF1_ECX(12) /* fma */ && LEAF1_ECX(29) /* f16c */ && YMM)
FEATURE(AVX512, "avx512",
        LEAF7_EBX(16) /* f */ && LEAF7_EBX(17) /* dq */ && LEAF7_EBX(30) /* bw */ && LEAF7_EBX(31) /* vl */ && ZMM)
FEATURE(AVX512VBMI, "avx512vbmi", LEAF7_ECX(1) && ZMM)
FEATURE(AVX512VNNI, "avx512vnni", LEAF7_ECX(11) && ZMM)
FEATURE(AVX512BF16, "avx512bf16", LEAF71_EAX(5) && ZMM)
FEATURE(AMXBF16, "amxbf16", LEAF7_EDX(24) /* tile */ && LEAF7_EDX(22) && TILES)
FEATURE(AMXINT8, "amxint8", LEAF7_EDX(24) /* tile */ && LEAF7_EDX(25) && TILES)
