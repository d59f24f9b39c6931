/* guard_stubs.c - a thousand functions that differ only in the number that they pass on: what programs are bound to. */
/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* dladdr1 */

/*
 * As in blas_invoke.c: in the calling conventions of x86-64 (System V) and AArch64 integers and pointers on one side
 * and floating-point numbers on the other are passed in registers of their own, each in order. So a function that takes
 * many words and two numbers receives any BLAS call whole. Words that the caller did not pass are whatever lies on its
 * stack; they are handed on and not looked at.
 */
#include <dlfcn.h>

#include "guard/guard_slots.h"

_Atomic uint32_t gmm_guard_slots_missing, gmm_guard_connected;

gmm_guard_result gmm_guard_result_of(const gmm_blas_routine *routine)
{
    bool number = routine->sum == GMM_SUM_NRM2 || routine->sum == GMM_SUM_ASUM ||
                  (routine->sum == GMM_SUM_DOT && routine->fortran_void);

    return routine->complex_value ? GMM_GUARD_PAIR : number ? GMM_GUARD_NUMBER : GMM_GUARD_WORD;
}

#if !defined(__APPLE__) /* there guard_interpose.c has a function for each name */
gmm_guard_slot gmm_guard_slots[GMM_GUARD_SLOTS];

#define STUB(kind, type, number)                                                                                       \
    static type kind##_stub_##number(intptr_t a, intptr_t b, intptr_t c, intptr_t d, intptr_t e, intptr_t f,           \
                                     intptr_t g, intptr_t h, intptr_t i, intptr_t j, intptr_t k, intptr_t l,           \
                                     intptr_t m, intptr_t n, intptr_t o, intptr_t p, double x, double y)               \
    {                                                                                                                  \
        const gmm_guard_arguments arguments = {{a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p}, {x, y}};              \
        return gmm_guard_call_##kind(0x##number, &arguments);                                                          \
    }

#define STUBS_1(kind, type, h)                                                                                         \
    STUB(kind, type, h##0)                                                                                             \
    STUB(kind, type, h##1)                                                                                             \
    STUB(kind, type, h##2)                                                                                             \
    STUB(kind, type, h##3)                                                                                             \
    STUB(kind, type, h##4)                                                                                             \
    STUB(kind, type, h##5)                                                                                             \
    STUB(kind, type, h##6)                                                                                             \
    STUB(kind, type, h##7)                                                                                             \
    STUB(kind, type, h##8)                                                                                             \
    STUB(kind, type, h##9)                                                                                             \
    STUB(kind, type, h##a)                                                                                             \
    STUB(kind, type, h##b)                                                                                             \
    STUB(kind, type, h##c)                                                                                             \
    STUB(kind, type, h##d)                                                                                             \
    STUB(kind, type, h##e)                                                                                             \
    STUB(kind, type, h##f)

#define NAME(kind, number) (gmm_blas_any_function *)kind##_stub_##number
#define NAMES_1(kind, type, h)                                                                                         \
    NAME(kind, h##0), NAME(kind, h##1), NAME(kind, h##2), NAME(kind, h##3), NAME(kind, h##4), NAME(kind, h##5),        \
        NAME(kind, h##6), NAME(kind, h##7), NAME(kind, h##8), NAME(kind, h##9), NAME(kind, h##a), NAME(kind, h##b),    \
        NAME(kind, h##c), NAME(kind, h##d), NAME(kind, h##e), NAME(kind, h##f),

/* 256 of them, by the second hexadecimal digit. */
#define EACH_2(ONE, kind, type, h)                                                                                     \
    ONE(kind, type, h##0)                                                                                              \
    ONE(kind, type, h##1)                                                                                              \
    ONE(kind, type, h##2)                                                                                              \
    ONE(kind, type, h##3)                                                                                              \
    ONE(kind, type, h##4)                                                                                              \
    ONE(kind, type, h##5)                                                                                              \
    ONE(kind, type, h##6)                                                                                              \
    ONE(kind, type, h##7)                                                                                              \
    ONE(kind, type, h##8)                                                                                              \
    ONE(kind, type, h##9)                                                                                              \
    ONE(kind, type, h##a)                                                                                              \
    ONE(kind, type, h##b)                                                                                              \
    ONE(kind, type, h##c)                                                                                              \
    ONE(kind, type, h##d)                                                                                              \
    ONE(kind, type, h##e)                                                                                              \
    ONE(kind, type, h##f)

EACH_2(STUBS_1, word, intptr_t, 0)
EACH_2(STUBS_1, word, intptr_t, 1)
EACH_2(STUBS_1, word, intptr_t, 2)
EACH_2(STUBS_1, number, double, 3)
/* What returns through an address hands on what lies in the registers, which nobody looks at. */
STUBS_1(pair, gmm_guard_pair, 40)
STUBS_1(pair, gmm_guard_pair, 41)
STUBS_1(pair, gmm_guard_pair, 42)
STUBS_1(pair, gmm_guard_pair, 43)

static gmm_blas_any_function *const stubs[GMM_GUARD_SLOTS] = {
    EACH_2(NAMES_1, word, intptr_t, 0) EACH_2(NAMES_1, word, intptr_t, 1) EACH_2(NAMES_1, word, intptr_t, 2)
        EACH_2(NAMES_1, number, double, 3) NAMES_1(pair, gmm_guard_pair, 40) NAMES_1(pair, gmm_guard_pair, 41)
            NAMES_1(pair, gmm_guard_pair, 42) NAMES_1(pair, gmm_guard_pair, 43)};

gmm_blas_any_function *gmm_guard_stub(size_t slot)
{
    return stubs[slot];
}

const struct link_map *gmm_guard_own_object(void)
{
    static const char place;
    Dl_info info;
    void *object = NULL;

    return dladdr1(&place, &info, &object, RTLD_DL_LINKMAP) ? object : NULL;
}
#endif
