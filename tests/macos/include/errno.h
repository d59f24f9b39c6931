/* errno.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_ERRNO_H
#define GMM_ERRNO_H

int *__error(void);
#define errno (*__error())
#define EINTR 4
#define EEXIST 17

#endif
