/* blas_call.h - one BLAS call: its arguments, where each element of an operand lies, and how it is made. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_BLAS_CALL_H
#define GMM_BLAS_CALL_H

#include "blas/blas_library.h"
#include "blas/routine.h"

/*
 * All that is said in one call. Flags are Fortran's letters in either interface: side L R, uplo U L, transposes N T C,
 * diag N U; another letter is passed on as it is, as a wrong argument. alpha and beta are pairs (real, imaginary).
 */
typedef struct gmm_blas_call {
    const gmm_blas_routine *routine;
    char type;
    bool fortran;
    bool row_major;     /* CBLAS only */
    bool hidden_result; /* Fortran only: a complex number is returned through an address that comes first */
    char side, uplo, transpose_a, transpose_b, diag;
    int64_t m, n, k, kl, ku;
    double alpha[2], beta[2];
    struct gmm_blas_place {
        void *data;     /* the first element of the array: with a negative increment not the first of the vector */
        int64_t step;   /* leading dimension or increment; unused if packed */
        int64_t offset; /* bytes from a 64-byte boundary at which whoever places the operand is to put it */
    } operands[GMM_BLAS_OPERANDS];
} gmm_blas_call;

/* What a function among the routines returned. */
typedef struct gmm_blas_result {
    double value[2]; /* dot, nrm2, asum; complex dots through their address */
    int64_t index;   /* iamax, counted from 0 in both interfaces; -1: none */
} gmm_blas_result;

/* How many operands there are, and the size that a letter of the table stands for. */
int gmm_blas_operand_count(const gmm_blas_call *call);
int64_t gmm_blas_size(const gmm_blas_call *call, char letter);

/* Rows and columns of an operand as a matrix that is not transposed: stored, for full ones. */
void gmm_blas_stored_shape(const gmm_blas_call *call, int operand, int64_t *rows, int64_t *columns);

/* The elements that must exist: from the array's first to the last that belongs to the operand; 0 if it is empty. */
int64_t gmm_blas_extent(const gmm_blas_call *call, int operand);

/* The smallest step that is allowed. */
int64_t gmm_blas_least_step(const gmm_blas_call *call, int operand);

/* Where element (row, column) of the stored matrix lies, counted from the array's first element; -1 if it is not
 * stored: the other triangle, outside the band. Vectors have column 0; a negative increment is honoured. */
int64_t gmm_blas_where(const gmm_blas_call *call, int operand, int64_t row, int64_t column);

/* Parts of an element that the routine looks at or sets. */
enum {
    GMM_PART_NONE = 0,
    GMM_PART_REAL = 1, /* the diagonal of a Hermitian matrix: its imaginary part is taken as zero */
    GMM_PART_ALL = 2
};

/* Fill parts[extent] with the above: padding, gaps, another triangle and a unit diagonal are GMM_PART_NONE. */
void gmm_blas_parts(const gmm_blas_call *call, int operand, unsigned char *parts);

bool gmm_blas_is_output(const gmm_blas_call *call, int operand);

/* Make the call. `function` is from gmm_blas_function, `integer_bits` of the library. */
gmm_blas_result gmm_blas_invoke(const gmm_blas_call *call, gmm_blas_any_function *function, int integer_bits);

/* Fortran's letter for the flag `argument` of the table. */
char gmm_blas_flag(const gmm_blas_call *call, char argument);

/* The CBLAS number of Fortran's letter for the flag `argument` of the table; any other letter, which is wrong in either
 * interface, is itself. */
int gmm_blas_flag_number(char argument, char letter);

/* The call as C, operands by name: "cblas_sgemm(CblasRowMajor, CblasNoTrans, ...)". Returns the length it would have.
 */
int gmm_blas_call_text(const gmm_blas_call *call, char *text, size_t size);

/* "cblas_sgemm" or "sgemm_": the symbol without decorations that a library may add. */
void gmm_blas_symbol(const gmm_blas_call *call, char name[GMM_BLAS_NAME_BYTES]);

#endif
