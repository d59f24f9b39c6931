/* plain_fortran.c - Fortran names without underscores, and what must not be taken for them. */
/* SPDX-License-Identifier: MIT */

/* ddot loses its last element (LOST). BY_VALUE: a C interface of those names, beside Fortran's with underscores. */

/* No test calls these. */
#define UNUSED(name)                                                                                                   \
    void name(void);                                                                                                   \
    void name(void)                                                                                                    \
    {                                                                                                                  \
    }

UNUSED(xerbla)
UNUSED(dgemm)
UNUSED(dtrsm)
UNUSED(dgemv)
UNUSED(daxpy)
UNUSED(dscal)

static double sum(int n, const double *x, int incx, const double *y, int incy)
{
    double total = 0;

    for (int i = 0; i < n - (LOST && n > 3); i++)
        total += x[i * incx] * y[i * incy];
    return total;
}

#if BY_VALUE
UNUSED(dgemm_)

double ddot(int n, const double *x, int incx, const double *y, int incy);
double ddot(int n, const double *x, int incx, const double *y, int incy)
{
    return sum(n, x, incx, y, incy);
}
#else
double ddot(const int *n, const double *x, const int *incx, const double *y, const int *incy);
double ddot(const int *n, const double *x, const int *incx, const double *y, const int *incy)
{
    return sum(*n, x, *incx, y, *incy);
}
#endif
