/* registers.c - see registers.h. The one place of assembly: no C fills registers. */
/* SPDX-License-Identifier: MIT */
#include "cpu/registers.h"

#if defined(__x86_64__)
#define EACH_LOW(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
#define EACH_HIGH(F) F(16) F(17) F(18) F(19) F(20) F(21) F(22) F(23) F(24) F(25) F(26) F(27) F(28) F(29) F(30) F(31)
#define XMM(i) "movq %0, %%xmm" #i "\n\tpunpcklqdq %%xmm" #i ", %%xmm" #i "\n\t"
#define YMM(i) "vbroadcastsd (%0), %%ymm" #i "\n\t"
#define ZMM(i) "vbroadcastsd (%0), %%zmm" #i "\n\t"
#define LOW_NAMES                                                                                                      \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",         \
        "xmm13", "xmm14", "xmm15"

void gmm_registers_fill(uint64_t pattern)
{
    /* The upper 16 are not named as clobbered: code that is compiled for every x86-64 does not know them. */
    if (__builtin_cpu_supports("avx512f"))
        __asm__ volatile(EACH_LOW(ZMM) EACH_HIGH(ZMM)::"r"(&pattern) : LOW_NAMES, "memory");
    else if (__builtin_cpu_supports("avx"))
        __asm__ volatile(EACH_LOW(YMM)::"r"(&pattern) : LOW_NAMES, "memory");
    else
        __asm__ volatile(EACH_LOW(XMM)::"r"(pattern) : LOW_NAMES);
}
#elif defined(__aarch64__)
/* v8 to v15 are not the called function's to use: their lower halves are kept for the caller. */
/* clang-format off */
#define EACH(F)                                                                                                        \
    F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(16) F(17) F(18) F(19) F(20) F(21) F(22) F(23) F(24) F(25) F(26) F(27)    \
    F(28) F(29) F(30) F(31)
/* clang-format on */
#define DUP(i) "dup v" #i ".2d, %0\n\t"

void gmm_registers_fill(uint64_t pattern)
{
    __asm__ volatile(EACH(DUP)::"r"(pattern)
                     : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20", "v21", "v22",
                       "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}
#else
void gmm_registers_fill(uint64_t pattern)
{
    (void)pattern;
}
#endif
