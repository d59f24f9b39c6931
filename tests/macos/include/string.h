/* string.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_STRING_H
#define GMM_STRING_H

#include <stddef.h>
void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
void *memchr(const void *memory, int value, size_t size);
char *strchr(const char *text, int letter);
char *strrchr(const char *text, int letter);
char *strstr(const char *text, const char *part);
char *strpbrk(const char *text, const char *letters);
char *strcpy(char *to, const char *from);
size_t strlcpy(char *to, const char *from, size_t size);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t size);
size_t strlen(const char *text);
char *strerror(int error);
char *strdup(const char *text);
size_t strspn(const char *text, const char *letters);
size_t strcspn(const char *text, const char *letters);

#endif
