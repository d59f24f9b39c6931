/* guard_session.c - prepare the environment of a program that is to be watched, and read what the guard has noted. */
/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE      /* dladdr */
#define _DARWIN_C_SOURCE /* dladdr */

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "blas/blas_call.h"
#include "blas/guard_state.h"
#include "gathermm/guard.h"

/* Those of the loader that take the guard's object. */
#if defined(__APPLE__)
static const char *const loader_variables[] = {"DYLD_INSERT_LIBRARIES"};
#else
static const char *const loader_variables[] = {"LD_AUDIT", "LD_PRELOAD"};
#endif

enum {
    LOADER_VARIABLES = sizeof loader_variables / sizeof loader_variables[0],
    VARIABLES = LOADER_VARIABLES + 1
};

struct gmm_guard {
    char state_path[64];
    gmm_guard_state *state;
    char *variables[VARIABLES];
};

/* ---- preparing --------------------------------------------------------------------------------------------------- */

/* The guard's shared object, beside this library. */
static gmm_status find_object(char *path, size_t size)
{
    static const char place;
    Dl_info info;
    char resolved[PATH_MAX];

    if (!dladdr(&place, &info) || !realpath(info.dli_fname, resolved))
        return gmm_fail(GMM_ERR_FILE, "this library does not know where it lies");
    char *slash = strrchr(resolved, '/');
    *slash = '\0';
    if ((size_t)snprintf(path, size, "%s/libgathermm_guard.so", resolved) >= size)
        return gmm_fail(GMM_ERR_ARGUMENT, "%s: the path is too long", resolved);
    if (access(path, R_OK))
        return gmm_fail(GMM_ERR_FILE, "%s: %s", path, strerror(errno));
    return GMM_OK;
}

static gmm_status set_output(gmm_guard_state *state, const char *output)
{
    char folder[PATH_MAX] = "";
    const char *name = output ? output : "gathermm-guard";

    if (name[0] != '/' && !getcwd(folder, sizeof folder))
        return gmm_fail(GMM_ERR_FILE, "the working directory: %s", strerror(errno));
    int length = snprintf(state->output, sizeof state->output, "%s%s%s", folder, name[0] == '/' ? "" : "/", name);
    if (length < 0 || (size_t)length >= sizeof state->output)
        return gmm_fail(GMM_ERR_ARGUMENT, "output '%s' is too long", name);
    return GMM_OK;
}

/* A file rather than nameless memory: programs that the program starts open it by its name. */
static gmm_status open_state(gmm_guard *guard)
{
    const char *folder = getenv("TMPDIR");

    if (!folder || folder[0] != '/' || strlen(folder) > sizeof guard->state_path - 32)
        folder = "/tmp";
    snprintf(guard->state_path, sizeof guard->state_path, "%s/gathermm-guard-XXXXXX", folder);
    int file = mkstemp(guard->state_path);
    if (file < 0) {
        guard->state_path[0] = '\0';
        return gmm_fail(GMM_ERR_FILE, "%s: cannot make a temporary file: %s", folder, strerror(errno));
    }
    void *map = MAP_FAILED;
    if (ftruncate(file, sizeof(gmm_guard_state)) == 0)
        map = mmap(NULL, sizeof(gmm_guard_state), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    int error = errno;
    close(file);
    if (map == MAP_FAILED)
        return gmm_fail(GMM_ERR_FILE, "%s: %s", guard->state_path, strerror(error));
    guard->state = map;
    return GMM_OK;
}

/* NAME=value, before what the variable holds already. */
static char *variable(const char *name, const char *value, bool list)
{
    const char *old = list ? getenv(name) : NULL;
    size_t size = strlen(name) + strlen(value) + (old ? strlen(old) : 0) + 3;
    char *text = malloc(size);

    if (text)
        snprintf(text, size, "%s=%s%s%s", name, value, old && *old ? ":" : "", old ? old : "");
    return text;
}

static gmm_status prepare(gmm_guard *guard, const gmm_guard_options *options)
{
    char object[PATH_MAX];
    gmm_status status = find_object(object, sizeof object);

    if (status == GMM_OK && strpbrk(object, ": "))
        status = gmm_fail(GMM_ERR_FILE, "%s: the loader takes no path with a space or a colon", object);
    if (status == GMM_OK)
        status = open_state(guard);
    if (status == GMM_OK)
        status = set_output(guard->state, options ? options->output : NULL);
    if (status != GMM_OK)
        return status;
    guard->state->version = GMM_GUARD_VERSION;
    guard->state->sample = options && options->sample ? options->sample : 1;
    for (int i = 0; i < LOADER_VARIABLES; i++)
        guard->variables[i] = variable(loader_variables[i], object, true);
    guard->variables[LOADER_VARIABLES] = variable(GMM_GUARD_VARIABLE, guard->state_path, false);
    for (int i = 0; i < VARIABLES; i++)
        if (!guard->variables[i])
            return gmm_fail(GMM_ERR_MEMORY, "no memory for a guard");
    return GMM_OK;
}

gmm_status gmm_guard_create(const gmm_guard_options *options, gmm_guard **guard)
{
    if (!guard)
        return gmm_fail(GMM_ERR_NULL, "guard is NULL");
    *guard = NULL;
    if (options && options->size != sizeof *options)
        return gmm_fail(GMM_ERR_ARGUMENT, "options.size is %zu; it is %zu here", options->size, sizeof *options);
    if (options && options->sample < 0)
        return gmm_fail(GMM_ERR_ARGUMENT, "sample is %d", (int)options->sample);
    if (options && options->output && !*options->output)
        return gmm_fail(GMM_ERR_ARGUMENT, "output is empty");
    gmm_guard *g = calloc(1, sizeof *g);
    if (!g)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for a guard");
    gmm_status status = prepare(g, options);
    if (status == GMM_OK)
        *guard = g;
    else
        gmm_guard_destroy(g);
    return status;
}

void gmm_guard_destroy(gmm_guard *guard)
{
    if (!guard)
        return;
    if (guard->state)
        munmap(guard->state, sizeof *guard->state);
    if (*guard->state_path)
        unlink(guard->state_path);
    for (int i = 0; i < VARIABLES; i++)
        free(guard->variables[i]);
    free(guard);
}

const char *gmm_guard_variable_at(const gmm_guard *guard, size_t i)
{
    return guard && i < VARIABLES ? guard->variables[i] : NULL;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

int64_t gmm_guard_processes(const gmm_guard *guard)
{
    return guard ? (int64_t)atomic_load(&guard->state->processes) : 0;
}

int64_t gmm_guard_unwatched(const gmm_guard *guard)
{
    return guard ? (int64_t)atomic_load(&guard->state->unwatched) : 0;
}

bool gmm_guard_count_at(const gmm_guard *guard, size_t i, gmm_guard_count *count)
{
    static const char types[] = "sdcz";

    if (!guard || !count)
        return false;
    for (size_t r = 0; r < GMM_GUARD_MOST_ROUTINES && gmm_blas_routine_at(r); r++)
        for (int t = 0; t < 4; t++)
            for (int fortran = 0; fortran < 2; fortran++) {
                uint64_t calls = atomic_load(&guard->state->calls[r][t][fortran]);
                gmm_blas_call call = {.routine = gmm_blas_routine_at(r), .type = types[t], .fortran = fortran};
                if (calls == 0 || i-- > 0)
                    continue;
                gmm_blas_symbol(&call, count->routine);
                count->calls = (int64_t)calls;
                return true;
            }
    return false;
}

bool gmm_guard_finding_at(const gmm_guard *guard, size_t i, gmm_guard_finding *finding)
{
    if (!guard || !finding)
        return false;
    for (size_t n = 0; n < GMM_GUARD_MOST_FINDINGS; n++) {
        gmm_guard_note *note = &guard->state->notes[n];
        if (!atomic_load(&note->ready) || i-- > 0)
            continue;
        finding->verdict = (gmm_guard_verdict)note->verdict;
        finding->process = note->process;
        finding->seen = (int64_t)atomic_load(&note->seen);
        memcpy(finding->routine, note->routine, sizeof finding->routine);
        memcpy(finding->call, note->call, sizeof finding->call);
        memcpy(finding->detail, note->detail, sizeof finding->detail);
        memcpy(finding->library, note->library, sizeof finding->library);
        memcpy(finding->path, note->path, sizeof finding->path);
        return true;
    }
    return false;
}
