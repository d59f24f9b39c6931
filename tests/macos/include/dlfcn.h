/* dlfcn.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_DLFCN_H
#define GMM_DLFCN_H

#define RTLD_LAZY 1
#define RTLD_NOW 2
#define RTLD_LOCAL 4
typedef struct dl_info {
    const char *dli_fname;
    void *dli_fbase;
    const char *dli_sname;
    void *dli_saddr;
} Dl_info;
void *dlopen(const char *path, int mode);
int dlclose(void *handle);
char *dlerror(void);
void *dlsym(void *handle, const char *symbol);
int dladdr(const void *address, Dl_info *info);

#endif
