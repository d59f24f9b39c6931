/* guard_slots.h - the functions that are watched: one slot for each function that a program was bound to. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_GUARD_SLOTS_H
#define GMM_GUARD_SLOTS_H

#if !defined(__APPLE__)
#include <link.h>
#endif
#include <stdatomic.h>

#include "blas/blas_call.h"

#if defined(__APPLE__)
/* What of the loader's entry of an object is looked at. */
struct link_map {
    const char *l_name;
};

/* Say which routine each slot is: guard_interpose.c. */
void gmm_guard_fill_slots(void);
#endif

/*
 * The guard is loaded into a program twice, from one file. As LD_AUDIT it lies in a namespace of its own, with its own
 * C library, and hears of every binding of a symbol: it fills the slots of the other copy and binds the program to that
 * copy's stubs. As LD_PRELOAD it lies among the program's libraries, and watches the calls that arrive there.
 */
enum {
    GMM_GUARD_WORD_SLOTS = 768,   /* of functions that return nothing or an integer */
    GMM_GUARD_NUMBER_SLOTS = 256, /* ... a floating-point number */
    GMM_GUARD_PAIR_SLOTS = 64,    /* ... a complex number, in whatever way */
    GMM_GUARD_SLOTS = GMM_GUARD_WORD_SLOTS + GMM_GUARD_NUMBER_SLOTS + GMM_GUARD_PAIR_SLOTS,
    GMM_GUARD_WORDS = 16 /* Fortran's gbmv has 13 arguments and a hidden length; CBLAS's gemm 12 in integer registers */
};

typedef struct gmm_guard_slot {
    _Atomic uint32_t ready; /* set when the rest has been written */
    uint16_t routine;       /* place in the table */
    char type;
    bool fortran;
    bool named_64;                /* the symbol's name says that integers have 64 bits */
    _Atomic uint32_t shapes;      /* that were new so far */
    _Atomic int32_t integer_bits; /* 0: not known yet; what follows is known then, too */
    _Atomic int32_t complex_return;
    gmm_blas_any_function *real;
    const struct link_map *object; /* that defines it */
    char symbol[32];
} gmm_guard_slot;

/* What a stub was called with: integer registers and the stack after them, floating-point registers as they were. */
typedef struct gmm_guard_arguments {
    intptr_t words[GMM_GUARD_WORDS];
    double numbers[2];
} gmm_guard_arguments;

extern gmm_guard_slot gmm_guard_slots[GMM_GUARD_SLOTS];

/* Slots that could not be had; whether the other copy has found this one. */
extern _Atomic uint32_t gmm_guard_slots_missing, gmm_guard_connected;

/* The stub of a slot. */
gmm_blas_any_function *gmm_guard_stub(size_t slot);

/* Where a routine's result is: in an integer register, in a floating-point one, in two; nothing is as a word. */
typedef enum gmm_guard_result {
    GMM_GUARD_WORD,
    GMM_GUARD_NUMBER,
    GMM_GUARD_PAIR
} gmm_guard_result;

gmm_guard_result gmm_guard_result_of(const gmm_blas_routine *routine);

/* Two floating-point registers. A complex number of floats lies in the first alone on x86-64. */
typedef struct gmm_guard_pair {
    double first, second;
} gmm_guard_pair;

/* Where the stubs of each kind lead. */
intptr_t gmm_guard_call_word(size_t slot, const gmm_guard_arguments *arguments);
double gmm_guard_call_number(size_t slot, const gmm_guard_arguments *arguments);
gmm_guard_pair gmm_guard_call_pair(size_t slot, const gmm_guard_arguments *arguments);

/* This copy's own entry in the loader's list. */
const struct link_map *gmm_guard_own_object(void);

#endif
