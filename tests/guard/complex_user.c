/* complex_user.c - a program that calls Fortran's complex dot products, which return in registers or (HIDDEN) through
 * an address. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#define CALL(real, name)                                                                                               \
    do {                                                                                                               \
        real x[10], y[10], result[2];                                                                                  \
        const int n = 5, one = 1;                                                                                      \
        for (int i = 0; i < 10; i++) {                                                                                 \
            x[i] = (real)(i + 1);                                                                                      \
            y[i] = (real)(i + 3);                                                                                      \
        }                                                                                                              \
        RESULT(real, name);                                                                                            \
        printf("%g %g\n", (double)result[0], (double)result[1]);                                                       \
    } while (0)

#if HIDDEN
#define DECLARE(real, name) void name(real *, const int *, const real *, const int *, const real *, const int *)
#define RESULT(real, name) name(result, &n, x, &one, y, &one)
#else
#define DECLARE(real, name) real _Complex name(const int *, const real *, const int *, const real *, const int *)
#define RESULT(real, name)                                                                                             \
    real _Complex value = name(&n, x, &one, y, &one);                                                                  \
    memcpy(result, &value, sizeof value)
#endif

DECLARE(float, cdotu_);
DECLARE(float, cdotc_);
DECLARE(double, zdotu_);
DECLARE(double, zdotc_);

int main(void)
{
    CALL(float, cdotu_);
    CALL(float, cdotc_);
    CALL(double, zdotu_);
    CALL(double, zdotc_);
    return 0;
}
