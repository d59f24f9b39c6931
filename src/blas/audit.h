/* audit.h - the auditor's own words: a case, the settings it runs in, what it showed, and what a check is. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_AUDIT_H
#define GMM_AUDIT_H

#include "blas/blas_call.h"
#include "gathermm/blas.h"

/* ---- What surrounds a call: six places where stale numbers get in, dirtied one at a time ------------------------- */

/* What is put where nothing that matters may lie. */
typedef enum gmm_audit_fill {
    GMM_FILL_USUAL, /* operands: their values; gaps: a finite pattern; stack, registers, scratch: left alone */
    GMM_FILL_ZERO,
    GMM_FILL_NAN,
    GMM_FILL_SIGNALING_NAN,
    GMM_FILL_INFINITY,
    GMM_FILL_LARGE /* 1e30 */
} gmm_audit_fill;

typedef enum gmm_audit_placement {
    GMM_PLACED_MIDDLE, /* between margins, at the call's offset from a 64-byte boundary */
    GMM_PLACED_END,    /* the last element before a page that does not exist */
    GMM_PLACED_START   /* the first element after one */
} gmm_audit_placement;

/* One set of circumstances; all zero is the usual one. */
typedef struct gmm_audit_setting {
    uint8_t output; /* gmm_audit_fill: an output that is not to be read (beta = 0, alpha = 0 in trmm, the y of copy) */
    uint8_t inputs; /* operands without influence: alpha = 0 or k = 0 */
    uint8_t gaps;   /* elements and parts that are not referenced, and the bytes around the operands */
    uint8_t stack;  /* 64 KiB below the call's frame */
    uint8_t registers;  /* all vector registers */
    uint8_t earlier;    /* operands of unrelated gemm and gemv calls just before */
    uint8_t placement;  /* gmm_audit_placement */
    uint8_t aligned;    /* all operands at offset 0 */
    uint8_t threads;    /* 0: left alone */
    uint8_t process;    /* 1: in a forked child, after a call in the parent */
    uint8_t callers;    /* 2 and more: threads that make the call at once, on operands of their own */
    uint8_t float_mode; /* gmm_float_mode of the caller */
    uint8_t far;        /* operands are stretched: audit_far.h */
} gmm_audit_setting;

typedef enum gmm_audit_values {
    GMM_VALUES_REALS,    /* uniform in [-1, 1) */
    GMM_VALUES_INTEGERS, /* small enough that every partial sum is exact */
    GMM_VALUES_ONES
} gmm_audit_values;

/* How a case is judged. */
typedef enum gmm_audit_judge {
    GMM_JUDGE_PAIR,      /* the bits under settings[0] and settings[1] are the same */
    GMM_JUDGE_REFERENCE, /* the result is within the a-priori bound; exact with integers */
    GMM_JUDGE_RETURNS,   /* it returns and hurts nothing */
    GMM_JUDGE_UNTOUCHED, /* the outputs are as they were: wrong arguments */
    GMM_JUDGE_SPECIAL,   /* what is not finite is so where the reference says, and only there */
    GMM_JUDGE_FAR        /* with operands stretched as settings[1] says, the numbers are the same */
} gmm_audit_judge;

typedef struct gmm_blas_check gmm_blas_check;

typedef struct gmm_audit_case {
    const gmm_blas_check *check;
    gmm_blas_call call; /* without data */
    uint64_t seed;      /* of the values */
    gmm_audit_values values;
    gmm_audit_judge judge;
    gmm_audit_verdict verdict; /* if the judge says no */
    gmm_audit_setting settings[2];
    int32_t special_operand; /* one element that is special; -1: none */
    int64_t special_element; /* its place among the referenced ones, modulo their number */
    uint8_t special;         /* gmm_audit_fill */
} gmm_audit_case;

/* Bytes that texts may take in shared memory. */
enum {
    GMM_AUDIT_DETAIL = 240
};

typedef struct gmm_audit_outcome {
    gmm_audit_verdict verdict;
    bool ran;        /* false: the library lacks the routine, or the case has no meaning */
    bool outside;    /* a write outside was seen: the canaries' finding, whatever the check */
    bool control;    /* floating-point control was changed: float_control's, whatever the check */
    bool loading;    /* so it was when the library was loaded */
    int32_t operand; /* where it was wrong; -1: in the returned value */
    int64_t element; /* from the array's first */
    double got[2], want[2], bound;
    uint64_t hash; /* of the outputs, NaN of any kind counting as one */
    char detail[GMM_AUDIT_DETAIL];
} gmm_audit_outcome;

/* ---- Checks: check_list.h ---------------------------------------------------------------------------------------- */

typedef struct gmm_audit_random gmm_audit_random;

struct gmm_blas_check {
    const char *name, *summary;
    const char *otherwise; /* of a pair: when it was right, "with zeros there" */
    bool on_request;
    bool (*applies)(const gmm_blas_routine *routine); /* NULL: to all */
    /* Turn an ordinary random call into a case of this check; false if this one cannot be. */
    bool (*prepare)(gmm_audit_case *c, gmm_audit_random *random);
};

#define CHECK(name) extern const gmm_blas_check name;
#include "blas/check_list.h"
#undef CHECK

/* Check number i, NULL past the end. */
const gmm_blas_check *gmm_blas_check_at(size_t i);

/* ---- Random numbers: the same everywhere ------------------------------------------------------------------------- */

struct gmm_audit_random {
    uint64_t state;
};

/* splitmix64: https://prng.di.unimi.it/splitmix64.c */
static inline uint64_t gmm_audit_mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline uint64_t gmm_audit_random_bits(gmm_audit_random *random)
{
    random->state += 0x9E3779B97F4A7C15u;
    return gmm_audit_mix(random->state);
}

/* Uniform in [0, count). */
static inline int64_t gmm_audit_below(gmm_audit_random *random, int64_t count)
{
    return (int64_t)(gmm_audit_random_bits(random) % (uint64_t)count);
}

#endif
