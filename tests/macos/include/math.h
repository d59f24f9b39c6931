/* math.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_MATH_H
#define GMM_MATH_H

#define NAN __builtin_nanf("")
#define INFINITY __builtin_inff()
#define isfinite(x) __builtin_isfinite(x)
#define isnan(x) __builtin_isnan(x)
#define isinf(x) __builtin_isinf(x)
#define signbit(x) __builtin_signbit(x)
double fabs(double x);
long double fabsl(long double x);
float fabsf(float x);
double sqrt(double x);
long double sqrtl(long double x);
double fmax(double x, double y);
double fmin(double x, double y);
double ldexp(double x, int exponent);
double hypot(double x, double y);
long double hypotl(long double x, long double y);
double copysign(double x, double y);

#endif
