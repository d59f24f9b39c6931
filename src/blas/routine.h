/* routine.h - the BLAS routines: what each is called, which arguments it takes, what its operands look like. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_ROUTINE_H
#define GMM_ROUTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GMM_BLAS_OPERANDS = 4,
    GMM_BLAS_NAME_BYTES = 48
};

typedef enum gmm_blas_form {
    GMM_FORM_NONE,
    GMM_FORM_VECTOR,
    GMM_FORM_GENERAL,
    GMM_FORM_SYMMETRIC,
    GMM_FORM_HERMITIAN,
    GMM_FORM_TRIANGULAR
} gmm_blas_form;

typedef enum gmm_blas_storage {
    GMM_STORED_FULL,
    GMM_STORED_BAND,
    GMM_STORED_PACKED
} gmm_blas_storage;

/* What a routine does with an operand. */
typedef enum gmm_blas_access {
    GMM_READ,
    GMM_WRITE,        /* never read: the y of copy */
    GMM_UPDATE,       /* read and written */
    GMM_UPDATE_BETA,  /* read unless beta is 0 */
    GMM_UPDATE_ALPHA, /* read unless alpha is 0: the B of trmm and trsm */
} gmm_blas_access;

/*
 * An operand. Its sizes are letters: M, N, K arguments; S: M if side is left, else N; X and Y: the lengths of the x and
 * y of gemv; 1; 5. A vector that is stored packed has no increment. `swap` is 't' or 'r' if the first or second
 * transpose argument says that it is stored as columns x rows.
 */
typedef struct gmm_blas_operand_spec {
    char name;
    gmm_blas_form form;
    gmm_blas_storage storage;
    char rows, columns, swap;
    gmm_blas_access access;
} gmm_blas_operand_spec;

/* The sum that a routine computes; out := alpha P Q + beta out but for the last ones. */
typedef enum gmm_blas_sum {
    GMM_SUM_GEMM,
    GMM_SUM_GEMV,
    GMM_SUM_SIDE,   /* symm, hemm: A from either side */
    GMM_SUM_RANK_K, /* syrk, herk */
    GMM_SUM_RANK_2K,
    GMM_SUM_RANK_1, /* ger; syr and her, which have one vector */
    GMM_SUM_RANK_2,
    GMM_SUM_TRIANGLE, /* trmm, trmv ... */
    GMM_SUM_SOLVE,    /* trsm, trsv ... */
    GMM_SUM_AXPY,
    GMM_SUM_SCAL,
    GMM_SUM_COPY,
    GMM_SUM_SWAP,
    GMM_SUM_DOT,
    GMM_SUM_NRM2,
    GMM_SUM_ASUM,
    GMM_SUM_IAMAX,
    GMM_SUM_ROT,
    GMM_SUM_ROTM,
    GMM_SUM_ROTG, /* these two are no sums: givens.h */
    GMM_SUM_ROTMG
} gmm_blas_sum;

typedef struct gmm_blas_routine {
    const char *name;
    /* In symbols ? is the type's letter, % that of a real result (s, d, sc, dz), & that of a real factor (cs, zd). */
    const char *pattern;
    const char *types; /* of "sdcz" */
    /*
     * The arguments in order, a character each: o order; s side, u uplo, t and r transposes, d diag; M N K; L and U the
     * bands of gbmv; * alpha and + beta; A B C an array and its leading dimension, P an array that has none: packed, or
     * of fixed length; X Y a vector and its increment; R the address of a complex result. Fortran's lack o, and R never
     * has a Fortran form here.
     */
    const char *arguments;
    gmm_blas_sum sum;
    gmm_blas_operand_spec operands[GMM_BLAS_OPERANDS];
    bool conjugates;     /* A^H where its symmetric sibling has A^T; gerc, dotc */
    bool real_alpha;     /* a complex routine whose alpha is real: herk, her, csscal */
    bool real_beta;      /* likewise: herk, her2k */
    bool fortran_void;   /* false: has no Fortran form, for R is no argument of any */
    bool three_products; /* gemm3m: three real products, whose errors reach both parts */
    bool complex_value;  /* returns a complex number: Fortran compilers do not agree on the way, see blas_library.h */
} gmm_blas_routine;

/* Routine number i of the table; NULL past its end. */
const gmm_blas_routine *gmm_blas_routine_at(size_t i);

/* The routine and type that a name like "sgemm", "cblas_sgemm" or "isamax" means; NULL if none. */
const gmm_blas_routine *gmm_blas_routine_find(const char *name, char *type);

/* What |got - want| may be over the sum of magnitudes of `length` terms, beta C being one more: docs/blas.md. */
double gmm_blas_bound(const gmm_blas_routine *routine, char type, double length);

/* "sgemm", "cdotu_sub". */
void gmm_blas_routine_name(const gmm_blas_routine *routine, char type, char name[GMM_BLAS_NAME_BYTES]);

/* Whether any operand is updated by beta, and whether alpha is an argument. */
bool gmm_blas_has_argument(const gmm_blas_routine *routine, char argument);

/* 1, 2 or 3. */
int gmm_blas_level(const gmm_blas_routine *routine);

bool gmm_blas_is_complex(char type);

/* Of one element, and of its real part. */
size_t gmm_blas_element_bytes(char type);
size_t gmm_blas_real_bytes(char type);

#endif
