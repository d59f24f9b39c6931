/* faulty_route.c - a BLAS that is one Fortran sgemm, built right and with faults that products could meet. */
/* SPDX-License-Identifier: MIT */
#include <fenv.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef FAULT
#define FAULT NONE
#endif
#ifndef INTEGER
#define INTEGER int32_t
#define SGEMM sgemm_
#endif

enum {
    NONE,
    LATE,      /* wrong from K = 200 on: no small call shows it */
    STALE,     /* C is read, from M N = 20,000 on */
    ROUNDS_UP, /* leaves another rounding mode */
    MISPLACED, /* one column is wrong when B is off a 16-byte boundary */
    PADDED,    /* what lies behind A's columns times 0 is added */
    UNSTEADY,  /* every other call adds in another order */
    NARROW,    /* operands are rounded to bf16, without being asked */
    EARLIER,   /* what an earlier call saw times 0 is added */
    CLOBBERS   /* A is scaled in place */
};

#if defined(NAME)
#define NAMED __asm__(NAME)
#else
#define NAMED
#endif

void SGEMM(const char *transpose_a, const char *transpose_b, const INTEGER *m, const INTEGER *n, const INTEGER *k,
           const float *alpha, float *a, const INTEGER *lda, const float *b, const INTEGER *ldb, const float *beta,
           float *c, const INTEGER *ldc) NAMED;

static float earlier;
static int calls;

static float narrow(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    bits &= 0xFFFF0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

void SGEMM(const char *transpose_a, const char *transpose_b, const INTEGER *m, const INTEGER *n, const INTEGER *k,
           const float *alpha, float *a, const INTEGER *lda, const float *b, const INTEGER *ldb, const float *beta,
           float *c, const INTEGER *ldc)
{
    int a_turned = *transpose_a != 'N', b_turned = *transpose_b != 'N', reads_c = FAULT == STALE && *m * *n > 20000;
    float poison = FAULT == EARLIER ? earlier * 0.0f : 0.0f;

    calls++;
    for (ptrdiff_t j = 0; j < *n; j++)
        for (ptrdiff_t i = 0; i < *m; i++) {
            float sum = 0.0f, *to = c + j * *ldc + i;
            for (ptrdiff_t s = 0; s < *k; s++) {
                ptrdiff_t x = FAULT == UNSTEADY && calls % 2 ? *k - 1 - s : s;
                float left = a[a_turned ? i * *lda + x : x * *lda + i],
                      right = b[b_turned ? x * *ldb + j : j * *ldb + x];
                sum += FAULT == NARROW ? narrow(left) * narrow(right) : left * right;
            }
            sum = *alpha * sum + poison;
            if (*beta != 0.0f || reads_c)
                sum += *beta * *to;
            if (FAULT == LATE && *k > 200 && i + j == 1)
                sum += 1.0f;
            if (FAULT == MISPLACED && (uintptr_t)a % 16 != 0 && i == 1)
                sum += 1.0f;
            if (FAULT == PADDED && *lda > (a_turned ? *k : *m))
                sum += a[a_turned ? *k : *m] * 0.0f;
            *to = sum;
        }
    earlier = *k > 0 ? a[0] : 0.0f;
    if (FAULT == ROUNDS_UP)
        fesetround(FE_UPWARD);
    if (FAULT == CLOBBERS)
        a[0] *= 2.0f;
}
