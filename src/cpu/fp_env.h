/* fp_env.h - the floating-point environment of a computation: default, whatever the caller's is.
 * SPDX-License-Identifier: MIT
 *
 * A host may run with another rounding mode or with subnormals flushed to zero (any library built with -ffast-math can
 * switch that on at load time), in one thread and not in the next: a result would depend on which thread computed it.
 * Entering also saves the exception flags, so that they do not change for the caller. */
#ifndef GMM_FP_ENV_H
#define GMM_FP_ENV_H

#include <stdbool.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

typedef unsigned gmm_fp_env;

static inline gmm_fp_env gmm_fp_enter(void)
{
    unsigned saved = _mm_getcsr();

    _mm_setcsr(0x1f80); /* all exceptions masked, round to nearest, no flushing */
    return saved;
}

static inline void gmm_fp_leave(gmm_fp_env saved)
{
    _mm_setcsr(saved);
}

/* Exception flags aside. */
static inline bool gmm_fp_is_default(void)
{
    return (_mm_getcsr() & 0xffc0) == 0x1f80;
}
#else
#include <fenv.h>

typedef fenv_t gmm_fp_env;

static inline gmm_fp_env gmm_fp_enter(void)
{
    fenv_t saved;

    fegetenv(&saved);
    fesetenv(FE_DFL_ENV);
    return saved;
}

static inline void gmm_fp_leave(gmm_fp_env saved)
{
    fesetenv(&saved);
}

/* As far as C can tell. */
static inline bool gmm_fp_is_default(void)
{
    return fegetround() == FE_TONEAREST;
}
#endif

#endif
