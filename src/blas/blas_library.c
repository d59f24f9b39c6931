/* blas_library.c - load a BLAS and find out what it is: names, integers, threads. */
/* SPDX-License-Identifier: MIT */
#include "blas/blas_library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "blas/blas_call.h"

#define FORM(fortran, prefix, suffix) {fortran, prefix, suffix},
static const gmm_blas_symbol_form forms[] = {
#include "blas/symbol_form_list.h"
};
#undef FORM

#define FORM_COUNT (sizeof forms / sizeof forms[0])

const gmm_blas_symbol_form *gmm_blas_symbol_form_at(size_t i)
{
    return i < FORM_COUNT ? &forms[i] : NULL;
}

gmm_blas_any_function *gmm_blas_raw_symbol(const gmm_blas_library *library, const char *name)
{
    void *object = dlsym(library->handle, name);
    gmm_blas_any_function *function = NULL;

    if (object)
        memcpy(&function, &object, sizeof function);
    return function;
}

static gmm_blas_any_function *decorated(const gmm_blas_library *library, const gmm_blas_symbol_form *form,
                                        const gmm_blas_routine *routine, char type)
{
    char base[GMM_BLAS_NAME_BYTES], name[2 * GMM_BLAS_NAME_BYTES];

    gmm_blas_routine_name(routine, type, base);
    snprintf(name, sizeof name, "%s%s%s%s", form->prefix, form->fortran ? "" : "cblas_", base, form->suffix);
    return gmm_blas_raw_symbol(library, name);
}

gmm_blas_any_function *gmm_blas_function(const gmm_blas_library *library, const gmm_blas_routine *routine, char type,
                                         bool fortran)
{
    const gmm_blas_symbol_form *form = fortran ? library->fortran : library->cblas;

    if (!form || (fortran && !routine->fortran_void) || (fortran && routine->complex_value && !library->complex_return))
        return NULL;
    return decorated(library, form, routine, type);
}

/* The first form under which there is any routine at all. */
static const gmm_blas_symbol_form *find_form(const gmm_blas_library *library, bool fortran)
{
    for (size_t f = 0; f < FORM_COUNT; f++)
        for (size_t r = 0; forms[f].fortran == fortran && gmm_blas_routine_at(r); r++)
            for (const char *t = gmm_blas_routine_at(r)->types; *t; t++)
                if (decorated(library, &forms[f], gmm_blas_routine_at(r), *t))
                    return &forms[f];
    return NULL;
}

/*
 * How wide are the integers? copy is called with n = 1 in the lower half of a word and -1 in the upper one: with 32-bit
 * integers it copies one number, with 64-bit ones n is negative and it returns at once, by its definition. Neither can
 * do harm. 0 if the library has no copy.
 */
static int32_t probe_integers(const gmm_blas_library *library)
{
    char type;
    const gmm_blas_routine *copy = gmm_blas_routine_find("scopy", &type);

    for (int fortran = 0; fortran < 2; fortran++)
        for (const char *t = copy->types; *t; t++) {
            gmm_blas_any_function *function = gmm_blas_function(library, copy, *t, fortran);
            double x[2] = {1.1, 1.1}, y[2] = {0, 0}; /* no half of 1.1 is zero */
            gmm_blas_call call = {.routine = copy, .type = *t, .fortran = fortran, .n = -0xFFFFFFFFLL};
            call.operands[0] = (struct gmm_blas_place){.data = x, .step = 1};
            call.operands[1] = (struct gmm_blas_place){.data = y, .step = 1};
            if (!function)
                continue;
            gmm_blas_invoke(&call, function, 64);
            return memcmp(y, (double[2]){0, 0}, sizeof y) ? 32 : 64;
        }
    return 0;
}

/* dotu by one of the two ways. Where the function has five arguments a sixth takes the place of what it might read. */
static void call_dotu(gmm_blas_any_function *function, char type, bool hidden, void *result, const int64_t *n,
                      const double *x, const double *y)
{
    static const int64_t step = 1;

    if (hidden) {
        ((void (*)(void *, const void *, const void *, const void *, const void *, const void *))function)(
            result, n, x, &step, y, &step);
    } else if (type == 'c') {
        float _Complex value = ((float _Complex (*)(const void *, const void *, const void *, const void *,
                                                    const void *, const void *))function)(n, x, &step, y, &step, &step);
        memcpy(result, &value, sizeof value);
    } else {
        double _Complex value =
            ((double _Complex (*)(const void *, const void *, const void *, const void *, const void *,
                                  const void *))function)(n, x, &step, y, &step, &step);
        memcpy(result, &value, sizeof value);
    }
}

/*
 * How are complex numbers returned? dotu is called with six addresses that do no harm in either way: the first is n =
 * -1 to a function that has five arguments, which then returns at once, and the result to one that has six, whose n is
 * the second: 0. So the first is overwritten with zero by the latter alone. Then each way has to multiply right; x
 * begins with a negative number, which is a negative n to whoever takes it for one.
 */
static gmm_blas_complex_return probe_complex(const gmm_blas_library *library)
{
    char type;

    for (const char *t = "cz"; *t && library->fortran; t++) {
        const gmm_blas_routine *dotu = gmm_blas_routine_find(*t == 'c' ? "cdotu" : "zdotu", &type);
        gmm_blas_any_function *function = decorated(library, library->fortran, dotu, *t);
        int64_t place[4] = {-1, -1, -1, -1}, one[4] = {1, 0, 0, 0};
        static const int64_t zeros[4] = {0, 0, 0, 0};
        const float xf[2] = {-2, -1}, yf[2] = {-3, 0.5f}, wantf[2] = {6.5f, 2};
        double x[2] = {-2, -1}, y[2] = {-3, 0.5}, want[2] = {6.5, 2};
        if (!function)
            continue;
        ((void (*)(void *, const void *, const void *, const void *, const void *, const void *))function)(
            place, zeros, zeros, zeros, zeros, zeros);
        bool hidden = place[0] != -1;
        if (*t == 'c') {
            memcpy(x, xf, sizeof xf);
            memcpy(y, yf, sizeof yf);
            memcpy(want, wantf, sizeof wantf);
        }
        memset(place, 0xFF, sizeof place);
        call_dotu(function, *t, hidden, place, one, x, y);
        if (memcmp(place, want, *t == 'c' ? sizeof wantf : sizeof want) != 0)
            return GMM_COMPLEX_UNKNOWN;
        return hidden ? GMM_COMPLEX_HIDDEN : GMM_COMPLEX_REGISTERS;
    }
    return GMM_COMPLEX_UNKNOWN;
}

gmm_status gmm_blas_load(const char *name, gmm_blas_library *library)
{
    *library = (gmm_blas_library){.info.name = name};
    library->handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library->handle)
        return gmm_fail(GMM_ERR_FILE, "%s", dlerror());
    library->cblas = find_form(library, false);
    library->fortran = find_form(library, true);
    library->info.has_cblas = library->cblas != NULL;
    library->info.has_fortran = library->fortran != NULL;
    if (!library->cblas && !library->fortran)
        return gmm_fail(GMM_ERR_FORMAT, "%s has no BLAS routine under any known name", name);
    gmm_blas_describe(library->handle, NULL, &library->info);
    library->complex_return = probe_complex(library);
    int32_t probed = probe_integers(library);
    if (probed)
        library->info.integer_bits = probed;
    if (!library->info.integer_bits) {
        const gmm_blas_symbol_form *form = library->cblas ? library->cblas : library->fortran;
        library->info.integer_bits = strstr(form->suffix, "64") || strstr(library->info.path, "64.") ? 64 : 32;
    }
    return GMM_OK;
}

/* How libraries are asked for threads. The integers of these functions are C's int, but for BLIS's, whose argument is
 * read whole: a word serves both. */
static const char *const thread_setters[] = {"openblas_set_num_threads",
                                             "openblas_set_num_threads64_",
                                             "openblas_set_num_threads_64",
                                             "scipy_openblas_set_num_threads64_",
                                             "scipy_openblas_set_num_threads",
                                             "bli_thread_set_num_threads",
                                             "MKL_Set_Num_Threads"};
static const char *const thread_getters[] = {"openblas_get_num_threads",
                                             "openblas_get_num_threads64_",
                                             "openblas_get_num_threads_64",
                                             "scipy_openblas_get_num_threads64_",
                                             "scipy_openblas_get_num_threads",
                                             "bli_thread_get_num_threads",
                                             "MKL_Get_Max_Threads"};

static gmm_blas_any_function *first_of(const gmm_blas_library *library, const char *const *names, size_t count)
{
    gmm_blas_any_function *function = NULL;

    for (size_t i = 0; i < count && !function; i++)
        function = gmm_blas_raw_symbol(library, names[i]);
    return function;
}

bool gmm_blas_set_threads(const gmm_blas_library *library, int threads)
{
    gmm_blas_any_function *function =
        first_of(library, thread_setters, sizeof thread_setters / sizeof thread_setters[0]);

    if (function)
        ((void (*)(intptr_t))function)(threads);
    return function != NULL;
}

int gmm_blas_get_threads(const gmm_blas_library *library)
{
    gmm_blas_any_function *function =
        first_of(library, thread_getters, sizeof thread_getters / sizeof thread_getters[0]);
    int threads = function ? ((int (*)(void))function)() : 1;

    return threads > 0 ? threads : 1;
}
