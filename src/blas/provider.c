/* provider.c - libraries that multiply: one entry for each build, found by its build-id. */
/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE      /* dladdr, dl_iterate_phdr */
#define _DARWIN_C_SOURCE /* dladdr */

#include <dlfcn.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#if defined(__linux__) || defined(__FreeBSD__)
#include <link.h>
#endif

#include "base/error.h"
#include "blas/provider_state.h"
#include "cpu/fp_env.h"

/* All that were opened, good or not; a context's pointer to one is good for ever. */
static gmm_provider *providers;
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;

#if defined(__GNUC__)
/* A program that unloads the library gets its memory back. The BLAS stays: it may have threads. */
static __attribute__((destructor)) void free_providers(void)
{
    for (gmm_provider *next; providers; providers = next) {
        next = providers->next;
        pthread_mutex_destroy(&providers->lock);
        free(providers);
    }
}
#endif

/* ---- which build it is ------------------------------------------------------------------------------------------- */

#if defined(__linux__) || defined(__FreeBSD__)
typedef struct search {
    uintptr_t address;
    char *id;
    size_t size;
} search;

static void note_text(const unsigned char *note, size_t bytes, char *id, size_t size)
{
    ElfW(Nhdr) head; /* the same in both widths */

    while (bytes >= sizeof head) {
        memcpy(&head, note, sizeof head);
        size_t name = ((size_t)head.n_namesz + 3) / 4 * 4, rest = bytes - sizeof head;
        size_t whole = name + ((size_t)head.n_descsz + 3) / 4 * 4;
        if (whole > rest)
            return;
        if (head.n_type == 3 && head.n_namesz == 4 && !memcmp(note + sizeof head, "GNU", 4)) { /* NT_GNU_BUILD_ID */
            for (size_t i = 0; i < head.n_descsz && 2 * i + 2 < size; i++)
                snprintf(id + 2 * i, 3, "%02x", note[sizeof head + name + i]);
            return;
        }
        note += sizeof head + whole;
        bytes -= sizeof head + whole;
    }
}

static int look_at_object(struct dl_phdr_info *object, size_t size, void *argument)
{
    const search *wanted = argument;
    bool here = false;

    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        uintptr_t begin = object->dlpi_addr + part->p_vaddr;
        here |= part->p_type == PT_LOAD && wanted->address >= begin && wanted->address - begin < part->p_memsz;
    }
    for (int i = 0; here && i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_NOTE && !*wanted->id) {
            uintptr_t begin = object->dlpi_addr + part->p_vaddr;
            note_text((const unsigned char *)begin, part->p_memsz, wanted->id, wanted->size);
        }
    }
    return here;
}
#endif

/* The object that holds sgemm, which need not be the one that was named: its path, and its build-id if it has one. */
static void find_build(const gmm_provider *provider, char *path, size_t path_size, char *id, size_t id_size)
{
    void *address = NULL;
    Dl_info object;

    memcpy(&address, &provider->function, sizeof address);
    snprintf(path, path_size, "%s", provider->library.info.path);
    if (dladdr(address, &object) && object.dli_fname) {
        char *resolved = realpath(object.dli_fname, NULL);
        snprintf(path, path_size, "%s", resolved ? resolved : object.dli_fname);
        free(resolved);
    }
    *id = '\0';
#if defined(__linux__) || defined(__FreeBSD__)
    search wanted = {(uintptr_t)address, id, id_size};
    dl_iterate_phdr(look_at_object, &wanted);
#else
    (void)id_size;
#endif
}

static void set_key(gmm_provider *provider)
{
    char path[sizeof provider->info.library.path];
    struct stat file;

    find_build(provider, path, sizeof path, provider->info.build_id, sizeof provider->info.build_id);
    if (*provider->info.build_id)
        snprintf(provider->key, sizeof provider->key, "%s", provider->info.build_id);
    else if (stat(path, &file) == 0)
        snprintf(provider->key, sizeof provider->key, "%s %" PRIdMAX " %" PRIdMAX, path, (intmax_t)file.st_size,
                 (intmax_t)file.st_mtime);
    else
        snprintf(provider->key, sizeof provider->key, "%s", path); /* macOS keeps its own in a cache, without files */
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Accelerate has its interface three times over, side by side. The newest is the one that is still mended. */
static const struct {
    const char *symbol;
    bool fortran;
    int32_t integer_bits;
} newest[] = {
    {"cblas_sgemm$NEWLAPACK$ILP64", false, 64},
    {"cblas_sgemm$NEWLAPACK", false, 32},
    {"sgemm$NEWLAPACK$ILP64", true, 64},
    {"sgemm$NEWLAPACK", true, 32},
};

static gmm_status find_sgemm(gmm_provider *provider, const char *name)
{
    const gmm_blas_symbol_form *form;
    char type;

    provider->routine = gmm_blas_routine_find("sgemm", &type);
    for (size_t i = 0; i < sizeof newest / sizeof newest[0]; i++)
        if ((provider->function = gmm_blas_raw_symbol(&provider->library, newest[i].symbol))) {
            provider->fortran = newest[i].fortran;
            provider->library.info.integer_bits = newest[i].integer_bits;
            snprintf(provider->info.symbol, sizeof provider->info.symbol, "%s", newest[i].symbol);
            return GMM_OK;
        }
    provider->function = gmm_blas_function(&provider->library, provider->routine, 's', false);
    provider->fortran = !provider->function;
    if (provider->fortran)
        provider->function = gmm_blas_function(&provider->library, provider->routine, 's', true);
    if (!provider->function)
        return gmm_fail(GMM_ERR_BLAS, "%s has no sgemm under any known name", name);
    form = provider->fortran ? provider->library.fortran : provider->library.cblas;
    snprintf(provider->info.symbol, sizeof provider->info.symbol, "%s%ssgemm%s", form->prefix,
             provider->fortran ? "" : "cblas_", form->suffix);
    return GMM_OK;
}

/* Load a library and see what it is. */
static gmm_status load(const char *name, gmm_provider *provider)
{
    gmm_status status = gmm_blas_load(name, &provider->library);
    char reason[512];

    if (status) {
        snprintf(reason, sizeof reason, "%s", gmm_error_detail());
        return gmm_fail(GMM_ERR_BLAS, "no BLAS to use: %s", reason);
    }
    if ((status = find_sgemm(provider, name)))
        return status;
    provider->info.library = provider->library.info;
    provider->info.library.name = provider->info.library.path; /* the caller's string will not last */
    set_key(provider);
    return GMM_OK;
}

static gmm_status refuse(const gmm_provider *provider)
{
    return gmm_fail(GMM_ERR_BLAS, "%s is refused: %s", provider->info.library.path, provider->info.finding);
}

static gmm_status open_one(const char *name, gmm_provider **result)
{
    gmm_provider *made = calloc(1, sizeof *made), *known;
    gmm_status status;

    if (!made)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for a BLAS provider");
    if ((status = load(name, made))) {
        free(made);
        return status;
    }
    for (known = providers; known; known = known->next)
        if (!strcmp(known->key, made->key) && !strcmp(known->info.symbol, made->info.symbol))
            break;
    if (known) {
        free(made);
    } else {
        known = made;
        pthread_mutex_init(&known->lock, NULL);
        gmm_fp_env saved = gmm_fp_enter();
        known->info.state =
            (gmm_provider_state)gmm_provider_check_basics(known, known->info.finding, sizeof known->info.finding);
        gmm_fp_leave(saved);
        if (!known->info.state) {
            pthread_mutex_destroy(&known->lock);
            free(known);
            return gmm_fail(GMM_ERR_MEMORY, "no memory to check %s", name);
        }
        known->next = providers;
        providers = known;
    }
    pthread_mutex_lock(&known->lock); /* a product may be adding to what is known */
    status = known->info.state == GMM_PROVIDER_STATE_REFUSED ? refuse(known) : GMM_OK;
    pthread_mutex_unlock(&known->lock);
    if (!status)
        *result = known;
    return status;
}

/* The first of the known names that is good. MKL is left out: when a part of it is missing it ends the process. */
static gmm_status open_any(gmm_provider **result)
{
    gmm_blas_info info;
    gmm_status status;
    char last[512] = "none of the known names is found";

    for (size_t i = 0; gmm_blas_at(i, &info); i++) {
        if (!*info.path || !strncmp(info.name, "libmkl_rt", 9))
            continue;
        if ((status = open_one(info.name, result)) != GMM_ERR_BLAS)
            return status;
        snprintf(last, sizeof last, "%s", gmm_error_detail());
    }
    return gmm_fail(GMM_ERR_BLAS, "auto: no BLAS to use: %s", last);
}

gmm_status gmm_provider_open(const char *name, gmm_provider **provider)
{
    gmm_status status;

    pthread_mutex_lock(&list_lock);
    status = strcmp(name, "auto") ? open_one(name, provider) : open_any(provider);
    pthread_mutex_unlock(&list_lock);
    return status;
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

void gmm_provider_call(gmm_provider *provider, const gmm_provider_product *product, gmm_provider_layout layout)
{
    char transpose_b = product->transpose_b ? 'T' : 'N';
    struct gmm_blas_place a = {.step = layout.lda}, b = {.step = product->ldb}, c = {.step = layout.ldc};
    gmm_blas_call call = {
        .routine = provider->routine,
        .type = 's',
        .fortran = provider->fortran,
        .row_major = !provider->fortran,
        .transpose_a = 'N',
        .transpose_b = transpose_b,
        .m = product->m,
        .n = product->n,
        .k = product->k,
        .alpha = {1, 0},
        .beta = {0, 0},
    };

    memcpy(&a.data, &product->a, sizeof a.data); /* const, which the table of operands does not know */
    memcpy(&b.data, &product->b, sizeof b.data);
    c.data = product->c;
    call.operands[0] = a;
    call.operands[1] = b;
    call.operands[2] = c;
    if (provider->fortran) { /* columns first: the transposed product of the transposed matrices */
        call.m = product->n;
        call.n = product->m;
        call.transpose_a = transpose_b;
        call.transpose_b = 'N';
        call.operands[0] = b;
        call.operands[1] = a;
    }
    gmm_blas_invoke(&call, provider->function, provider->library.info.integer_bits);
}

int gmm_provider_size_class(int64_t size)
{
    int result = 0;

    while (result + 1 < GMM_PROVIDER_SIZES && size >= gmm_provider_size_first(result + 1))
        result++;
    return result;
}

/* Where libraries change course: small-matrix paths at 100, blocks and threads beyond. */
int64_t gmm_provider_size_first(int size_class)
{
    static const int64_t first[GMM_PROVIDER_SIZES] = {2, 33, 101, 193, 385, 513};

    return first[size_class];
}

static size_t class_of(const gmm_provider_product *p)
{
    size_t sizes =
        ((size_t)gmm_provider_size_class(p->m) * GMM_PROVIDER_SIZES + (size_t)gmm_provider_size_class(p->n)) *
            GMM_PROVIDER_SIZES +
        (size_t)gmm_provider_size_class(p->k);
    size_t offset = (uintptr_t)p->b % 64 / 4;

    return ((p->transpose_b ? GMM_PROVIDER_SIZES * GMM_PROVIDER_SIZES * GMM_PROVIDER_SIZES : 0) + sizes) *
               GMM_PROVIDER_OFFSETS +
           offset;
}

bool gmm_provider_takes(gmm_provider *provider, const gmm_provider_product *product)
{
    size_t number = class_of(product);
    int verdict;

    if (provider->library.info.integer_bits == 32 &&
        (product->m > INT32_MAX || product->n > INT32_MAX || product->k > INT32_MAX || product->ldb > INT32_MAX))
        return false;
    verdict = atomic_load_explicit(&provider->verdicts[number], memory_order_acquire);
    if (verdict == GMM_PROVIDER_UNKNOWN) {
        char text[sizeof provider->info.finding] = "";
        pthread_mutex_lock(&provider->lock);
        verdict = atomic_load_explicit(&provider->verdicts[number], memory_order_relaxed); /* another thread's work? */
        if (verdict == GMM_PROVIDER_UNKNOWN) {
            verdict = (int)gmm_provider_check_class(provider, product, text, sizeof text);
            provider->info.classes_checked += verdict != GMM_PROVIDER_UNKNOWN;
            provider->info.classes_remedied += verdict == GMM_PROVIDER_REMEDIED;
            provider->info.classes_refused += verdict == GMM_PROVIDER_REFUSED;
            if (*text &&
                (!*provider->info.finding || (verdict == GMM_PROVIDER_REFUSED && provider->info.classes_refused == 1)))
                memcpy(provider->info.finding, text, sizeof text);
            if (verdict == GMM_PROVIDER_REMEDIED)
                provider->info.state = GMM_PROVIDER_STATE_REMEDIED;
            atomic_store_explicit(&provider->verdicts[number], (unsigned char)verdict, memory_order_release);
        }
        pthread_mutex_unlock(&provider->lock);
    }
    return verdict == GMM_PROVIDER_GOOD || verdict == GMM_PROVIDER_REMEDIED;
}

void gmm_provider_multiply(gmm_provider *provider, const gmm_provider_product *product)
{
    pthread_mutex_lock(&provider->lock);
    gmm_provider_call(provider, product, (gmm_provider_layout){.lda = product->k, .ldc = product->n});
    if (!gmm_fp_is_default()) /* as the check of its class did not see it do */
        (void)gmm_fp_enter();
    pthread_mutex_unlock(&provider->lock);
}

void gmm_provider_describe(gmm_provider *provider, gmm_provider_info *info)
{
    pthread_mutex_lock(&provider->lock);
    *info = provider->info;
    info->library.name = provider->info.library.path;
    pthread_mutex_unlock(&provider->lock);
}
