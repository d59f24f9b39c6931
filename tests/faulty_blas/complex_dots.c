/* complex_dots.c - Fortran's complex dot products, returning as gfortran's do, as f2c's do (HIDDEN), or with a
 * fault: WRONG numbers, OVER_READ by one element, the last one LOST. */
/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <string.h>

#define DOT(name, real, sign)                                                                                          \
    static void sum_##name(const int *n, const real *x, const int *incx, const real *y, const int *incy,               \
                           real total[2])                                                                              \
    {                                                                                                                  \
        ptrdiff_t i = *incx < 0 ? (ptrdiff_t)(1 - *n) * *incx : 0, j = *incy < 0 ? (ptrdiff_t)(1 - *n) * *incy : 0;    \
                                                                                                                       \
        total[0] = total[1] = 0;                                                                                       \
        for (int k = 0; k < *n - (LOST && *n > 3); k++, i += *incx, j += *incy) {                                      \
            total[0] += x[2 * i] * y[2 * j] - sign x[2 * i + 1] * y[2 * j + 1];                                        \
            total[1] += x[2 * i] * y[2 * j + 1] + sign x[2 * i + 1] * y[2 * j];                                        \
        }                                                                                                              \
        total[1] += (real)WRONG;                                                                                       \
        if (OVER_READ && *n > 2 && *incx == 1)                                                                         \
            *(volatile real *)total = total[0] + 0 * *(volatile const real *)&x[2 * i];                                \
    }                                                                                                                  \
    RETURNING(name, real)

#if HIDDEN
#define RETURNING(name, real)                                                                                          \
    void name(real *result, const int *n, const real *x, const int *incx, const real *y, const int *incy);             \
    void name(real *result, const int *n, const real *x, const int *incx, const real *y, const int *incy)              \
    {                                                                                                                  \
        sum_##name(n, x, incx, y, incy, result);                                                                       \
    }
#else
#define RETURNING(name, real)                                                                                          \
    real _Complex name(const int *n, const real *x, const int *incx, const real *y, const int *incy);                  \
    real _Complex name(const int *n, const real *x, const int *incx, const real *y, const int *incy)                   \
    {                                                                                                                  \
        real total[2];                                                                                                 \
        real _Complex value;                                                                                           \
                                                                                                                       \
        sum_##name(n, x, incx, y, incy, total);                                                                        \
        memcpy(&value, total, sizeof value);                                                                           \
        return value;                                                                                                  \
    }
#endif

DOT(cdotu_, float, +)
DOT(cdotc_, float, -)
DOT(zdotu_, double, +)
DOT(zdotc_, double, -)
