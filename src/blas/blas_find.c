/* blas_find.c - find the BLAS libraries of this machine: ask the dynamic loader for the names that programs use. */
/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE      /* dlinfo */
#define _DARWIN_C_SOURCE /* dladdr */

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__) || defined(__FreeBSD__)
#include <link.h>
#endif

#include "blas/blas_library.h"
#include "gathermm/blas.h"

#define BLAS(name, integer_bits) {name, integer_bits},
static const struct {
    const char *name;
    int32_t integer_bits;
} names[] = {
#include "blas/blas_name_list.h"
};

#define NAME_COUNT (sizeof names / sizeof names[0])

/* Libraries with 64-bit integers may rename their symbols, so that both kinds fit into one process. */
static const char *const cblas_symbols[] = {"cblas_sgemm", "cblas_sgemm64_", "cblas_sgemm_64", "cblas_sgemm_64_"};
static const char *const fortran_symbols[] = {"sgemm_", "sgemm_64_", "sgemm64_", "sgemm_64"};

typedef gmm_blas_any_function any_function;

static any_function *symbol(void *library, const char *name)
{
    void *object = dlsym(library, name);
    any_function *function = NULL;

    if (object)
        memcpy(&function, &object, sizeof function);
    return function;
}

static any_function *first_symbol(void *library, const char *const *symbols, size_t count)
{
    any_function *function = NULL;

    for (size_t i = 0; i < count && !function; i++)
        function = symbol(library, symbols[i]);
    return function;
}

static void find_path(void *library, any_function *any, gmm_blas_info *info)
{
    const char *found = NULL;
#if defined(__linux__) || defined(__FreeBSD__)
    struct link_map *map = NULL;

    (void)any;
    if (dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map)
        found = map->l_name;
#else
    void *object = NULL;
    Dl_info address;

    (void)library;
    if (any)
        memcpy(&object, &any, sizeof object);
    if (object && dladdr(object, &address))
        found = address.dli_fname;
#endif
    if (!found || !*found)
        found = info->name;
    char *resolved = realpath(found, NULL); /* fails where libraries live in a cache and have no file, as on macOS */
    snprintf(info->path, sizeof info->path, "%s", resolved ? resolved : found);
    free(resolved);
}

/* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY Zen MAX_THREADS=64"; USE64BITINT in it says 64 bits. */
static bool ask_openblas(void *library, gmm_blas_info *info)
{
    static const char *const symbols[] = {"openblas_get_config", "openblas_get_config64_", "openblas_get_config_64",
                                          "scipy_openblas_get_config64_", "scipy_openblas_get_config"};
    any_function *function = first_symbol(library, symbols, sizeof symbols / sizeof symbols[0]);

    if (!function)
        return false;
    snprintf(info->version, sizeof info->version, "%s", ((const char *(*)(void))function)());
    info->integer_bits = strstr(info->version, "USE64BITINT") ? 64 : 32;
    return true;
}

/* The answer is one of BLIS's own integers, of 32 or 64 bits; its lower half does. */
static void ask_blis(void *library, gmm_blas_info *info)
{
    any_function *version = symbol(library, "bli_info_get_version_str");
    any_function *bits = symbol(library, "bli_info_get_blas_int_type_size");

    if (!version)
        return;
    snprintf(info->version, sizeof info->version, "BLIS %s", ((const char *(*)(void))version)());
    if (bits) {
        int answer = ((int (*)(void))bits)();
        info->integer_bits = answer == 32 || answer == 64 ? answer : info->integer_bits;
    }
}

/* MKL 2026.2 is not asked: mkl_get_version_string loads MKL's other parts, and exits when one is missing. */
void gmm_blas_describe(void *handle, gmm_blas_any_function *any, gmm_blas_info *info)
{
    find_path(handle, any, info);
    if (!ask_openblas(handle, info))
        ask_blis(handle, info);
}

static void look(int32_t integer_bits, gmm_blas_info *info)
{
    void *library = dlopen(info->name, RTLD_LAZY | RTLD_LOCAL);

    if (!library)
        return;
    any_function *cblas = first_symbol(library, cblas_symbols, sizeof cblas_symbols / sizeof cblas_symbols[0]);
    any_function *fortran = first_symbol(library, fortran_symbols, sizeof fortran_symbols / sizeof fortran_symbols[0]);
    info->has_cblas = cblas != NULL;
    info->has_fortran = fortran != NULL;
    info->integer_bits = integer_bits;
    gmm_blas_describe(library, cblas ? cblas : fortran, info);
    dlclose(library);
}

bool gmm_blas_at(size_t i, gmm_blas_info *info)
{
    /* The loader has a lock of its own, but ThreadSanitizer does not see it; and OpenBLAS starts and joins its threads
     * whenever it is loaded and unloaded, which need not happen for several callers at once. */
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

    if (i >= NAME_COUNT || !info)
        return false;
    memset(info, 0, sizeof *info);
    info->name = names[i].name;
    pthread_mutex_lock(&lock);
    look(names[i].integer_bits, info);
    pthread_mutex_unlock(&lock);
    return true;
}
