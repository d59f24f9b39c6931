/* guard_library.c - the libraries that watched functions lie in: how wide their integers are. */
/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "guard/guard_watch.h"

/* Instead of base/error.c: nobody here asks for the detail, and thread-local memory is short where LD_AUDIT is. */
gmm_status gmm_fail(gmm_status status, const char *format, ...)
{
    (void)format;
    return status;
}

enum {
    MOST_LIBRARIES = 16
};

static struct {
    const struct link_map *object;
    gmm_blas_library library;
    bool loaded;
} libraries[MOST_LIBRARIES];
static size_t count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* taken once for each function */

static size_t find(const struct link_map *object)
{
    size_t i = 0;

    while (i < count && libraries[i].object != object)
        i++;
    if (i < count || count == MOST_LIBRARIES)
        return i;
    libraries[i].object = object;
    /* It is loaded already; this asks it, and keeps it. */
    libraries[i].loaded = *object->l_name && gmm_blas_load(object->l_name, &libraries[i].library) == GMM_OK;
    return count++;
}

int gmm_guard_library(const gmm_guard_slot *slot, const gmm_blas_library **library)
{
    int bits = slot->named_64 ? 64 : 32; /* a program that holds its own BLAS has no name: the usual width */

    *library = NULL;
    pthread_mutex_lock(&lock);
    size_t i = find(slot->object);
    if (i < count && libraries[i].loaded) {
        *library = &libraries[i].library;
        bits = slot->named_64 ? 64 : libraries[i].library.info.integer_bits;
    }
    pthread_mutex_unlock(&lock);
    return bits;
}
