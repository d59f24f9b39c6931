/* cblas_arguments.h - the CBLAS's numbers of flags, and which argument of a gemm is wrong, for the faulty libraries. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CBLAS_ARGUMENTS_H
#define GMM_CBLAS_ARGUMENTS_H

enum {
    ROW_MAJOR = 101,
    COLUMN_MAJOR = 102,
    NO_TRANSPOSE = 111,
    CONJUGATE_TRANSPOSE = 113,
    UPPER = 121,
    LOWER = 122
};

/* Whether lines of storage are columns of op(X) and not rows. */
static inline int turned(int order, int transpose)
{
    return (order == COLUMN_MAJOR) != (transpose != NO_TRANSPOSE);
}

/* Of an operand that is rows x columns as op(X). */
static inline int wrong_ld(int order, int transpose, int rows, int columns, int ld)
{
    int line = turned(order, transpose) ? rows : columns;

    return ld < 1 || ld < line;
}

/* The number of the first argument that is wrong, counted as the CBLAS counts them; 0 if none is. */
static inline int wrong_gemm(int order, int transpose_a, int transpose_b, int m, int n, int k, int lda, int ldb,
                             int ldc)
{
    if (order != ROW_MAJOR && order != COLUMN_MAJOR)
        return 1;
    if (transpose_a < NO_TRANSPOSE || transpose_a > CONJUGATE_TRANSPOSE)
        return 2;
    if (transpose_b < NO_TRANSPOSE || transpose_b > CONJUGATE_TRANSPOSE)
        return 3;
    if (m < 0)
        return 4;
    if (n < 0)
        return 5;
    if (k < 0)
        return 6;
    if (wrong_ld(order, transpose_a, m, k, lda))
        return 9;
    if (wrong_ld(order, transpose_b, k, n, ldb))
        return 11;
    return wrong_ld(order, NO_TRANSPOSE, m, n, ldc) ? 14 : 0;
}

#endif
