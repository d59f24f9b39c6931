/* no_sgemm.c - a BLAS that can copy, and nothing else. */
/* SPDX-License-Identifier: MIT */
#include <stddef.h>

void cblas_dcopy(int n, const double *x, int incx, double *y, int incy);

void cblas_dcopy(int n, const double *x, int incx, double *y, int incy)
{
    for (ptrdiff_t i = 0; i < n; i++)
        y[i * incy] = x[i * incx];
}
