/* execinfo.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_EXECINFO_H
#define GMM_EXECINFO_H

int backtrace(void **array, int size);
void backtrace_symbols_fd(void *const *array, int size, int file);
char **backtrace_symbols(void *const *array, int size);

#endif
