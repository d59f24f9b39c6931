/* stdlib.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_STDLIB_H
#define GMM_STDLIB_H

#include <stddef.h>
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *memory, size_t size);
void *aligned_alloc(size_t alignment, size_t size);
int posix_memalign(void **memory, size_t alignment, size_t size);
void free(void *memory);
void abort(void) __attribute__((noreturn));
char *getenv(const char *name);
char *realpath(const char *path, char *resolved);
int mkstemp(char *path);
long strtol(const char *text, char **end, int base);

#endif
