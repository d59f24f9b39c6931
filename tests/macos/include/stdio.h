/* stdio.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_STDIO_H
#define GMM_STDIO_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
typedef struct macos_file FILE;
extern FILE *__stderrp;
#define stderr __stderrp
#define SEEK_SET 0
#define SEEK_END 2
FILE *fopen(const char *path, const char *mode);
FILE *fdopen(int file, const char *mode);
int fclose(FILE *file);
char *fgets(char *line, int size, FILE *file);
size_t fread(void *to, size_t size, size_t count, FILE *file);
size_t fwrite(const void *from, size_t size, size_t count, FILE *file);
int fseek(FILE *file, long offset, int from);
long ftell(FILE *file);
int ferror(FILE *file);
int feof(FILE *file);
int fflush(FILE *file);
int fputs(const char *text, FILE *file);
int fprintf(FILE *file, const char *format, ...) __attribute__((format(printf, 2, 3)));
int dprintf(int file, const char *format, ...) __attribute__((format(printf, 2, 3)));
int snprintf(char *to, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char *to, size_t size, const char *format, va_list list) __attribute__((format(printf, 3, 0)));

#endif
