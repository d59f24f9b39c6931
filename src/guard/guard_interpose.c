/* guard_interpose.c - macOS: the table by which dyld puts the guard's functions before those of the BLAS. */
/* SPDX-License-Identifier: MIT */

/*
 * There is no LD_AUDIT on macOS. What there is instead: an image that DYLD_INSERT_LIBRARIES names may have pairs of
 * addresses in __DATA,__interpose, and dyld binds all other images to the first of a pair where they ask for the
 * second, and makes dlsym answer alike. The second must be a symbol that is bound when the guard is: Accelerate's, with
 * which it is linked, or one of any library that the program loads (flat look-up, -undefined dynamic_lookup). A weak
 * symbol that nobody defines is NULL, and dyld passes over the pair. Within this image names mean the real functions.
 * System binaries ignore the variable (SIP). Compiled by tests/macos for both CPUs; never run.
 */
#if defined(__APPLE__)
#define _DARWIN_C_SOURCE /* dladdr */

#include <dlfcn.h>
#include <string.h>

#include "guard/guard_slots.h"

/* The ways to write a name. Old Fortran functions that return float are left alone: they are of f2c's kind, and return
 * double. */
#define CBLAS_FORMS(F, name)                                                                                           \
    F(cblas_##name, #name, "_cblas_" #name, false, false)                                                              \
    F(cblas_##name##_new, #name, "_cblas_" #name "$NEWLAPACK", false, false)                                           \
    F(cblas_##name##_wide, #name, "_cblas_" #name "$NEWLAPACK$ILP64", false, true)
#define NEW_FORTRAN_FORMS(F, name)                                                                                     \
    F(name##_new, #name, "_" #name "$NEWLAPACK", true, false)                                                          \
    F(name##_wide, #name, "_" #name "$NEWLAPACK$ILP64", true, true)

#define WORD_FORMS(F, name)                                                                                            \
    CBLAS_FORMS(F, name) F(name##_old, #name, "_" #name "_", true, false) NEW_FORTRAN_FORMS(F, name)
#define NUMBER_FORMS(F, name) CBLAS_FORMS(F, name) NEW_FORTRAN_FORMS(F, name)

/* Each in four ways: a number, the real function, ours, the slot. */
#define NUMBER_OF(id, name, symbol, fortran, wide) SLOT_##id,
#define WORD(name) WORD_FORMS(NUMBER_OF, name)
#define CBLAS_ONLY(name) CBLAS_FORMS(NUMBER_OF, name)
#define NUMBER(name) NUMBER_FORMS(NUMBER_OF, name)
enum {
#include "guard/interpose_list.h"
    SLOT_COUNT
};
#undef WORD
#undef CBLAS_ONLY
#undef NUMBER

_Static_assert((int)SLOT_COUNT <= (int)GMM_GUARD_SLOTS, "there are not as many slots as functions");

#define TAKES                                                                                                          \
    (intptr_t a, intptr_t b, intptr_t c, intptr_t d, intptr_t e, intptr_t f, intptr_t g, intptr_t h, intptr_t i,       \
     intptr_t j, intptr_t k, intptr_t l, intptr_t m, intptr_t n, intptr_t o, intptr_t p, double x, double y)
#define PASSES                                                                                                         \
    {                                                                                                                  \
        {a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p},                                                              \
        {                                                                                                              \
            x, y                                                                                                       \
        }                                                                                                              \
    }

#define REAL(id, symbol) extern gmm_blas_any_function real_##id __asm__(symbol) __attribute__((weak));
#define WORD_STUB(id, name, symbol, fortran, wide)                                                                     \
    REAL(id, symbol)                                                                                                   \
    static intptr_t stub_##id TAKES                                                                                    \
    {                                                                                                                  \
        const gmm_guard_arguments arguments = PASSES;                                                                  \
        return gmm_guard_call_word(SLOT_##id, &arguments);                                                             \
    }
#define NUMBER_STUB(id, name, symbol, fortran, wide)                                                                   \
    REAL(id, symbol)                                                                                                   \
    static double stub_##id TAKES                                                                                      \
    {                                                                                                                  \
        const gmm_guard_arguments arguments = PASSES;                                                                  \
        return gmm_guard_call_number(SLOT_##id, &arguments);                                                           \
    }
#define WORD(name) WORD_FORMS(WORD_STUB, name)
#define CBLAS_ONLY(name) CBLAS_FORMS(WORD_STUB, name)
#define NUMBER(name) NUMBER_FORMS(NUMBER_STUB, name)
#include "guard/interpose_list.h"
#undef WORD
#undef CBLAS_ONLY
#undef NUMBER

/* dyld reads these pairs. */
#define PAIR(id, name, symbol, fortran, wide) {(gmm_blas_any_function *)stub_##id, real_##id},
#define WORD(name) WORD_FORMS(PAIR, name)
#define CBLAS_ONLY(name) CBLAS_FORMS(PAIR, name)
#define NUMBER(name) NUMBER_FORMS(PAIR, name)
__attribute__((used, section("__DATA,__interpose"))) static const struct {
    gmm_blas_any_function *ours, *real;
} interpose[] = {
#include "guard/interpose_list.h"
};
#undef WORD
#undef CBLAS_ONLY
#undef NUMBER

/* Bound before any code of the program runs, so that an early call finds its function. */
#define SLOT(id, name, symbol, is_fortran, is_wide)                                                                    \
    [SLOT_##id] = {.real = real_##id, .fortran = is_fortran, .named_64 = is_wide},
#define WORD(name) WORD_FORMS(SLOT, name)
#define CBLAS_ONLY(name) CBLAS_FORMS(SLOT, name)
#define NUMBER(name) NUMBER_FORMS(SLOT, name)
gmm_guard_slot gmm_guard_slots[GMM_GUARD_SLOTS] = {
#include "guard/interpose_list.h"
};
#undef WORD
#undef CBLAS_ONLY
#undef NUMBER

#define NAMES(id, name, symbol, fortran, wide) {name, &symbol[1]},
#define WORD(name) WORD_FORMS(NAMES, name)
#define CBLAS_ONLY(name) CBLAS_FORMS(NAMES, name)
#define NUMBER(name) NUMBER_FORMS(NAMES, name)
static const struct {
    const char *routine, *symbol;
} names[] = {
#include "guard/interpose_list.h"
};

/* The object that a function lies in: few, and looked for once. */
static const struct link_map *object_of(gmm_blas_any_function *function)
{
    static struct link_map objects[16], unknown = {.l_name = ""};
    void *address;
    Dl_info info;

    memcpy(&address, &function, sizeof address);
    if (!dladdr(address, &info) || !info.dli_fname)
        return &unknown;
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
        if (!objects[i].l_name)
            objects[i].l_name = info.dli_fname;
        if (!strcmp(objects[i].l_name, info.dli_fname))
            return &objects[i];
    }
    return &unknown;
}

void gmm_guard_fill_slots(void)
{
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        gmm_guard_slot *slot = &gmm_guard_slots[i];
        const gmm_blas_routine *routine = gmm_blas_routine_find(names[i].routine, &slot->type);
        if (!slot->real || !routine)
            continue;
        while (gmm_blas_routine_at(slot->routine) != routine)
            slot->routine++;
        slot->object = object_of(slot->real);
        strlcpy(slot->symbol, names[i].symbol, sizeof slot->symbol);
        atomic_store(&slot->ready, 1);
    }
}
#endif

/* ISO C wants something in every file. */
typedef int gmm_guard_interpose_is_for_macos;
