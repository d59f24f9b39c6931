/* stat.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_STAT_H
#define GMM_STAT_H

#include <sys/types.h>
struct timespec {
    time_t tv_sec;
    long tv_nsec;
};
struct stat {
    mode_t st_mode;
    struct timespec st_mtimespec;
    off_t st_size;
};
#define st_mtime st_mtimespec.tv_sec
int stat(const char *path, struct stat *file);
int fstat(int number, struct stat *file);
int mkdir(const char *path, mode_t mode);
#define S_ISREG(mode) (((mode)&0170000) == 0100000)

#endif
