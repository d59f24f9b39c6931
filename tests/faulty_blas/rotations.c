/* rotations.c - Givens rotations as netlib has them, for the tests of the audit and the guard; WRONG says which routine
 * has a fault: G rotg's sine for |a| < |b|, M rotm's diagonal under flag 0, H rotmg's x1 under flag 1. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

enum {
    NONE,
    G,
    M,
    H
};

#define ROTATIONS(T, t)                                                                                                \
    void cblas_##t##rotg(T *a, T *b, T *c, T *s);                                                                      \
    void cblas_##t##rotg(T *a, T *b, T *c, T *s)                                                                       \
    {                                                                                                                  \
        double x = (double)*a, y = (double)*b, r = copysign(hypot(x, y), fabs(x) > fabs(y) ? x : y);                   \
        *c = (T)(r == 0 ? 1 : x / r);                                                                                  \
        *s = (T)(r == 0 ? 0 : y / r * (WRONG == G && fabs(x) < fabs(y) ? 1.001 : 1));                                  \
        *a = (T)r;                                                                                                     \
        *b = (T)(r == 0 ? 0 : fabs(x) > fabs(y) ? y / r : x != 0 ? r / x : 1);                                         \
    }                                                                                                                  \
    void t##rotg_(T *a, T *b, T *c, T *s);                                                                             \
    void t##rotg_(T *a, T *b, T *c, T *s)                                                                              \
    {                                                                                                                  \
        cblas_##t##rotg(a, b, c, s);                                                                                   \
    }                                                                                                                  \
    void cblas_##t##rotm(int n, T *x, int incx, T *y, int incy, const T *p);                                           \
    void cblas_##t##rotm(int n, T *x, int incx, T *y, int incy, const T *p)                                            \
    {                                                                                                                  \
        T flag = p[0], h11 = flag == 0 && WRONG != M ? 1 : p[1], h22 = flag == 0 ? 1 : p[4];                           \
        T h21 = flag > 0 ? -1 : p[2], h12 = flag > 0 ? 1 : p[3];                                                       \
        x += incx < 0 ? (1 - n) * incx : 0;                                                                            \
        y += incy < 0 ? (1 - n) * incy : 0;                                                                            \
        for (int i = 0; i < n && flag != -2; i++, x += incx, y += incy) {                                              \
            T w = *x, z = *y;                                                                                          \
            *x = w * h11 + z * h12;                                                                                    \
            *y = w * h21 + z * h22;                                                                                    \
        }                                                                                                              \
    }                                                                                                                  \
    void cblas_##t##rotmg(T *d1, T *d2, T *x1, T y1, T *p);                                                            \
    void cblas_##t##rotmg(T *d1, T *d2, T *x1, T y1, T *p)                                                             \
    {                                                                                                                  \
        double d[2] = {(double)*d1, (double)*d2}, x = (double)*x1, y = (double)y1, h[2][2] = {{1, 0}, {0, 1}};         \
        double q1 = d[0] * x * x, q2 = d[1] * y * y, u;                                                                \
        p[0] = -2;                                                                                                     \
        if (q2 == 0)                                                                                                   \
            return;                                                                                                    \
        p[0] = fabs(q1) > fabs(q2) ? 0 : 1;                                                                            \
        if (p[0] == 0) {                                                                                               \
            h[1][0] = -y / x;                                                                                          \
            h[0][1] = d[1] * y / (d[0] * x);                                                                           \
            u = 1 + q2 / q1;                                                                                           \
            d[0] /= u;                                                                                                 \
            d[1] /= u;                                                                                                 \
            x *= u;                                                                                                    \
        } else {                                                                                                       \
            double first = d[0];                                                                                       \
            h[0][0] = d[0] * x / (d[1] * y);                                                                           \
            h[1][1] = x / y;                                                                                           \
            h[0][1] = 1;                                                                                               \
            h[1][0] = -1;                                                                                              \
            u = 1 + q1 / q2;                                                                                           \
            d[0] = d[1] / u;                                                                                           \
            d[1] = first / u;                                                                                          \
            x = WRONG == H ? x * u : y * u;                                                                            \
        }                                                                                                              \
        for (int i = 0; i < 2; i++)                                                                                    \
            while (d[i] != 0 && (fabs(d[i]) <= 0x1p-24 || fabs(d[i]) >= 0x1p24)) {                                     \
                double by = fabs(d[i]) < 1 ? 4096 : 1 / 4096.0;                                                        \
                d[i] *= by * by;                                                                                       \
                x /= i == 0 ? by : 1;                                                                                  \
                h[i][0] /= by;                                                                                         \
                h[i][1] /= by;                                                                                         \
                p[0] = -1;                                                                                             \
            }                                                                                                          \
        *d1 = (T)d[0];                                                                                                 \
        *d2 = (T)d[1];                                                                                                 \
        *x1 = (T)x;                                                                                                    \
        if (p[0] != 0) {                                                                                               \
            p[1] = (T)h[0][0];                                                                                         \
            p[4] = (T)h[1][1];                                                                                         \
        }                                                                                                              \
        if (p[0] != 1) {                                                                                               \
            p[2] = (T)h[1][0];                                                                                         \
            p[3] = (T)h[0][1];                                                                                         \
        }                                                                                                              \
    }                                                                                                                  \
    void t##rotmg_(T *d1, T *d2, T *x1, const T *y1, T *p);                                                            \
    void t##rotmg_(T *d1, T *d2, T *x1, const T *y1, T *p)                                                             \
    {                                                                                                                  \
        cblas_##t##rotmg(d1, d2, x1, *y1, p);                                                                          \
    }

ROTATIONS(float, s)
ROTATIONS(double, d)
