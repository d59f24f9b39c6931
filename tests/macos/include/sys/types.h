/* types.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_TYPES_H
#define GMM_TYPES_H

#include <stddef.h>
typedef long ssize_t;
typedef long long off_t;
typedef int pid_t;
typedef long time_t;
typedef unsigned short mode_t;

#endif
