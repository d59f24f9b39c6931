/* unistd.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_UNISTD_H
#define GMM_UNISTD_H

#include <stddef.h>
#include <sys/types.h>
#define R_OK 4
#define STDERR_FILENO 2
#define _SC_PAGESIZE 29
long sysconf(int name);
int close(int file);
int access(const char *path, int mode);
int unlink(const char *path);
int ftruncate(int file, off_t size);
ssize_t read(int file, void *to, size_t size);
ssize_t write(int file, const void *from, size_t size);
char *getcwd(char *to, size_t size);
pid_t getpid(void);
pid_t fork(void);
void _exit(int status) __attribute__((noreturn));

#endif
