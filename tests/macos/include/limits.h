/* limits.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_LIMITS_H
#define GMM_LIMITS_H

#define PATH_MAX 1024
#define INT_MAX __INT_MAX__

#endif
