/* fenv.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_FENV_H
#define GMM_FENV_H

typedef struct {
    unsigned long long fpcr, fpsr;
} fenv_t;
extern const fenv_t macos_default_environment;
#define FE_DFL_ENV (&macos_default_environment)
#define FE_TONEAREST 0
int fegetenv(fenv_t *environment);
int fesetenv(const fenv_t *environment);
int fegetround(void);

#endif
