/* pthread.h - what is needed of macOS's header of this name, to compile for it where it is not. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_PTHREAD_H
#define GMM_PTHREAD_H

#include <stdint.h>
typedef struct {
    long signature;
    char opaque[56];
} pthread_mutex_t;
typedef struct macos_thread *pthread_t;
#define PTHREAD_MUTEX_INITIALIZER                                                                                      \
    {                                                                                                                  \
        0x32AAABA7,                                                                                                    \
        {                                                                                                              \
            0                                                                                                          \
        }                                                                                                              \
    }
int pthread_mutex_init(pthread_mutex_t *mutex, const void *attributes);
int pthread_mutex_destroy(pthread_mutex_t *mutex);
int pthread_mutex_lock(pthread_mutex_t *mutex);
int pthread_mutex_unlock(pthread_mutex_t *mutex);
int pthread_threadid_np(pthread_t thread, uint64_t *number);

#endif
