/* crt_externs.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_CRT_EXTERNS_H
#define GMM_CRT_EXTERNS_H

char ***_NSGetEnviron(void);

#endif
