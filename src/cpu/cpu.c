/* cpu.c - see cpu.h: CPUID once, GMM_CPU_MASK once. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* syscall */
#include "cpu/cpu.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/context.h"
#include "base/error.h"

const char *const gmm_cpu_words[] = {
#define FEATURE(name, word, base, test) word,
#include "cpu/cpu_list.h"
#undef FEATURE
};

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* XCR0: which registers the system saves. The instruction, since _xgetbv needs a compiler flag. */
static uint32_t saved_registers(void)
{
    uint32_t eax, edx;

    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax;
}

/* Tile registers are 8 KB, which the system saves for processes that ask for it: Linux refuses when it does not know
 * them, when a sandbox forbids the call, or when a thread has a signal stack too small for them. Threads and children
 * that come later inherit the permission. */
static bool tiles_permitted(void)
{
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum {
        ARCH_REQ_XCOMP_PERM = 0x1023,
        XFEATURE_XTILEDATA = 18
    };

    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

static uint32_t detect(void)
{
    uint32_t eax, ebx, ecx, edx, vendor, leaf1_ecx, leaf7_ebx, leaf7_ecx, leaf7_edx, leaf71_eax = 0, features = 0;

    if (!__get_cpuid(0, &eax, &vendor, &ecx, &edx))
        return 0;
    if (!__get_cpuid(1, &eax, &ebx, &leaf1_ecx, &edx) || !(leaf1_ecx >> 27 & 1) /* osxsave */)
        return 0;
    if (!__get_cpuid_count(7, 0, &eax, &leaf7_ebx, &leaf7_ecx, &leaf7_edx))
        return 0;
    if (eax >= 1)
        __get_cpuid_count(7, 1, &leaf71_eax, &ebx, &ecx, &edx);

    uint32_t saved = saved_registers();
#define YMM ((saved & 0x6) == 0x6)
#define ZMM ((saved & 0xe6) == 0xe6)
#define TILES ((saved & 0x60000) == 0x60000 && tiles_permitted())
#define AMD (vendor == signature_AMD_ebx)
#define LEAF1_ECX(bit) (leaf1_ecx >> (bit)&1)
#define LEAF7_EBX(bit) (leaf7_ebx >> (bit)&1)
#define LEAF7_ECX(bit) (leaf7_ecx >> (bit)&1)
#define LEAF7_EDX(bit) (leaf7_edx >> (bit)&1)
#define LEAF71_EAX(bit) (leaf71_eax >> (bit)&1)
#define FEATURE(name, word, base, test) features |= (test) ? (uint32_t)GMM_CPU_##name : 0;
#include "cpu/cpu_list.h"
#undef FEATURE
    return features;
}
#else
static uint32_t detect(void)
{
    return 0;
}
#endif

/* `features` less those that build on one that is not among them. */
static uint32_t with_bases(uint32_t features)
{
#define FEATURE(name, word, base, test)                                                                                \
    if (GMM_CPU_##base & ~features)                                                                                    \
        features &= ~(uint32_t)GMM_CPU_##name;
#include "cpu/cpu_list.h"
#undef FEATURE
    return features;
}

uint32_t gmm_cpu_present(void)
{
    /* Several threads may find it out at once: they all find the same. */
    static _Atomic uint32_t present;
    static _Atomic bool known;

    if (!atomic_load_explicit(&known, memory_order_acquire)) {
        atomic_store_explicit(&present, with_bases(detect()), memory_order_relaxed);
        atomic_store_explicit(&known, true, memory_order_release);
    }
    return atomic_load_explicit(&present, memory_order_relaxed);
}

gmm_status gmm_cpu_parse_mask(const char *words, const char *source, uint32_t *mask)
{
    uint32_t bits = 0;

    for (const char *word = words ? words : ""; *word;) {
        size_t length = strcspn(word, ","), i = 0;
        while (i < GMM_CPU_COUNT && (strlen(gmm_cpu_words[i]) != length || strncmp(word, gmm_cpu_words[i], length)))
            i++;
        if (i < GMM_CPU_COUNT)
            bits |= 1u << i;
        else if (length == 3 && !strncmp(word, "all", 3))
            bits = ~0u;
        else if (length > 0)
            return gmm_fail(GMM_ERR_CPU,
                            "%s: \"%.*s\" is no CPU feature; the words are all, avx2, avx512, ... "
                            "(`gathermm info` lists them)",
                            source, (int)(length < 64 ? length : 64), word);
        word += length + (word[length] == ',');
    }
    *mask = bits;
    return GMM_OK;
}

gmm_status gmm_cpu_usable(const gmm_context *context, uint32_t *features)
{
    /* Bit 32: the variable has been read and is valid; bits 0..31: its mask. */
    static _Atomic uint64_t environment;
    uint64_t mask = atomic_load_explicit(&environment, memory_order_relaxed);

    if (!mask) {
        uint32_t bits;
        gmm_status status = gmm_cpu_parse_mask(getenv("GMM_CPU_MASK"), "GMM_CPU_MASK", &bits);
        if (status)
            return status;
        mask = (uint64_t)1 << 32 | bits;
        atomic_store_explicit(&environment, mask, memory_order_relaxed);
    }
    *features = with_bases(gmm_cpu_present() & ~(uint32_t)mask & ~(context ? context->cpu_mask : 0));
    return GMM_OK;
}
