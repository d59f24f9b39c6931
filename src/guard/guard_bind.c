/* guard_bind.c - the LD_AUDIT half: hears of every binding to a BLAS function, and binds to a stub instead. */
/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE

/*
 * la_symbind64 is called for calls through the PLT, lazy or not, from any object however it was loaded (RTLD_LOCAL,
 * RTLD_DEEPBIND), and for dlsym. It is not called for addresses that are taken (-fno-plt, function pointers), which are
 * relocations of another type; so these are made into those of the PLT, which store the same value, while an object is
 * mapped and not yet relocated. Seen with glibc 2.36 on x86-64.
 */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "blas/blas_library.h"
#include "guard/guard_slots.h"

#if defined(__x86_64__)
#define ADDRESS_RELOCATION(type) ((type) == R_X86_64_GLOB_DAT || (type) == R_X86_64_64)
#define CALL_RELOCATION R_X86_64_JUMP_SLOT
#elif defined(__aarch64__)
#define ADDRESS_RELOCATION(type) ((type) == R_AARCH64_GLOB_DAT || (type) == R_AARCH64_ABS64)
#define CALL_RELOCATION R_AARCH64_JUMP_SLOT
#else
#error "gathermm guard knows x86-64 and AArch64 only"
#endif

/* The loader looks these up by name. */
unsigned la_version(unsigned version);
unsigned la_objopen(struct link_map *object, Lmid_t name_space, uintptr_t *cookie);
uintptr_t la_symbind64(Elf64_Sym *symbol, unsigned index, uintptr_t *from, uintptr_t *to, unsigned *flags,
                       const char *name);

/* ---- names ------------------------------------------------------------------------------------------------------- */

typedef struct meaning {
    char name[12];
    uint16_t routine;
    char type;
} meaning;

static meaning meanings[256];
static size_t meaning_count;

static void list_names(void)
{
    for (uint16_t r = 0; gmm_blas_routine_at(r); r++)
        for (const char *t = gmm_blas_routine_at(r)->types; *t; t++) {
            char name[GMM_BLAS_NAME_BYTES];
            meaning *m = &meanings[meaning_count];
            gmm_blas_routine_name(gmm_blas_routine_at(r), *t, name);
            if (meaning_count == sizeof meanings / sizeof meanings[0] || strlen(name) >= sizeof m->name)
                continue;
            strcpy(m->name, name);
            m->routine = r;
            m->type = *t;
            meaning_count++;
        }
}

static const meaning *find_name(const char *name, size_t length)
{
    for (size_t i = 0; i < meaning_count; i++)
        if (!strncmp(meanings[i].name, name, length) && !meanings[i].name[length])
            return &meanings[i];
    return NULL;
}

/* The routine that a symbol is, without whatever decoration. *plain: a Fortran name without an underscore; C libraries
 * have functions of their own that are called "sswap" or "drot", so where it lies has to be looked at. */
static const meaning *understand(const char *symbol, bool *fortran, bool *named_64, bool *plain)
{
    size_t length = strlen(symbol);

    if (length < 4 || length > 30)
        return NULL;
    for (size_t i = 0; gmm_blas_symbol_form_at(i); i++) {
        const gmm_blas_symbol_form *form = gmm_blas_symbol_form_at(i);
        size_t before = strlen(form->prefix), after = strlen(form->suffix);
        const char *at = symbol + before;
        if (before + after >= length || strncmp(symbol, form->prefix, before) ||
            strcmp(symbol + length - after, form->suffix))
            continue;
        size_t rest = length - before - after;
        if (!form->fortran && (rest <= 6 || strncmp(at, "cblas_", 6)))
            continue;
        at += form->fortran ? 0 : 6;
        rest -= form->fortran ? 0 : 6;
        const meaning *m = rest < sizeof m->name ? find_name(at, rest) : NULL;
        if (!m || (form->fortran && !gmm_blas_routine_at(m->routine)->fortran_void))
            continue;
        *fortran = form->fortran;
        *plain = form->fortran && !before && !after;
        *named_64 = strstr(form->suffix, "64") != NULL;
        return m;
    }
    return NULL;
}

/* ---- whose names have no underscore ------------------------------------------------------------------------------ */

typedef struct symbol_table {
    const ElfW(Sym) * symbols;
    const char *strings;
    size_t count;
} symbol_table;

/* The chains of a GNU hash table end with an odd number; the last of them is the last symbol. */
static size_t count_by_gnu_hash(const uint32_t *table)
{
    uint32_t bucket_count = table[0], first = table[1], bloom_words = table[2], last = 0;
    const uint32_t *buckets = table + 4 + bloom_words * (sizeof(ElfW(Addr)) / sizeof *table);
    const uint32_t *chains = buckets + bucket_count;

    for (uint32_t i = 0; i < bucket_count; i++)
        last = buckets[i] > last ? buckets[i] : last;
    if (last < first)
        return first;
    while (!(chains[last - first] & 1))
        last++;
    return last + 1;
}

static symbol_table symbols_of(const struct link_map *object)
{
    symbol_table t = {NULL, NULL, 0};

    for (const ElfW(Dyn) *d = object->l_ld; d && d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_SYMTAB)
            t.symbols = (const ElfW(Sym) *)d->d_un.d_ptr;
        else if (d->d_tag == DT_STRTAB)
            t.strings = (const char *)d->d_un.d_ptr;
        else if (d->d_tag == DT_HASH)
            t.count = ((const uint32_t *)d->d_un.d_ptr)[1];
        else if (d->d_tag == DT_GNU_HASH && !t.count)
            t.count = count_by_gnu_hash((const uint32_t *)d->d_un.d_ptr);
    }
    return t;
}

/*
 * An object is taken for a Fortran BLAS whose names have no underscore if it has a routine of each level, and the one
 * that they all report wrong arguments to, under such names. If it has them with underscores, too, those without may be
 * its C interface, with numbers passed by value, as ACML's and Sun's are; MKL, which has both for Fortran, says who it
 * is.
 */
static bool has_plain_fortran(const struct link_map *object)
{
    static const char *const needed[] = {"xerbla", "dgemm", "dtrsm", "dgemv", "ddot", "daxpy", "dscal"};
    enum {
        NEEDED = sizeof needed / sizeof needed[0]
    };
    symbol_table t = symbols_of(object);
    bool found[NEEDED] = {false}, all = true, underscores = false, is_mkl = false;

    for (size_t i = 0; t.symbols && t.strings && i < t.count; i++) {
        const char *name = t.strings + t.symbols[i].st_name;
        if (t.symbols[i].st_shndx == SHN_UNDEF)
            continue;
        for (int n = 0; n < NEEDED; n++)
            found[n] |= !strcmp(name, needed[n]);
        underscores |= !strcmp(name, "dgemm_");
        is_mkl |= !strcmp(name, "MKL_Get_Version");
    }
    for (int n = 0; n < NEEDED; n++)
        all &= found[n];
    return all && (is_mkl || !underscores);
}

/* ---- the other copy ---------------------------------------------------------------------------------------------- */

static const struct link_map *own, *watcher; /* this copy; the one among the program's libraries */

/* Of an object of this copy, the same one of the other. */
static void *there(const void *here)
{
    return (char *)watcher->l_addr + ((uintptr_t)here - own->l_addr);
}

static size_t find_slot(const meaning *m, bool fortran, uintptr_t real, size_t from, size_t end)
{
    const gmm_guard_slot *slots = there(gmm_guard_slots);

    for (size_t i = from; i < end; i++) {
        if (!slots[i].ready)
            break;
        if ((uintptr_t)slots[i].real == real && slots[i].routine == m->routine && slots[i].type == m->type &&
            slots[i].fortran == fortran)
            return i;
    }
    return end;
}

static uintptr_t bind(const meaning *m, bool fortran, bool named_64, uintptr_t real, const struct link_map *object,
                      const char *symbol)
{
    static _Atomic uint32_t used[3]; /* several threads may bind at once */
    static const size_t first[] = {0, GMM_GUARD_WORD_SLOTS, GMM_GUARD_WORD_SLOTS + GMM_GUARD_NUMBER_SLOTS,
                                   GMM_GUARD_SLOTS};
    gmm_guard_result kind = gmm_guard_result_of(gmm_blas_routine_at(m->routine));
    size_t from = first[kind], end = first[kind + 1];
    size_t slot = find_slot(m, fortran, real, from, end);

    if (slot == end) {
        slot = from + atomic_fetch_add(&used[kind], 1);
        if (slot >= end) {
            atomic_fetch_add((_Atomic uint32_t *)there(&gmm_guard_slots_missing), 1);
            return real;
        }
        gmm_guard_slot *s = (gmm_guard_slot *)there(gmm_guard_slots) + slot;
        s->routine = m->routine;
        s->type = m->type;
        s->fortran = fortran;
        s->named_64 = named_64;
        s->object = object;
        strncpy(s->symbol, symbol, sizeof s->symbol - 1); /* understand() lets none pass that is longer */
        memcpy(&s->real, &real, sizeof s->real);
        atomic_store(&s->ready, 1);
    }
    gmm_blas_any_function *stub = gmm_guard_stub(slot);
    void *address;
    memcpy(&address, &stub, sizeof address);
    return (uintptr_t)there(address);
}

/* ---- what the loader calls --------------------------------------------------------------------------------------- */

__attribute__((visibility("default"))) unsigned la_version(unsigned version)
{
    own = gmm_guard_own_object();
    list_names();
    return version < LAV_CURRENT ? version : LAV_CURRENT;
}

/* The rights of the page of an object in which `address` lies. */
static int rights_of(const struct link_map *object, uintptr_t address)
{
    Dl_info info;

    if (!dladdr((void *)address, &info))
        return PROT_READ;
    const ElfW(Ehdr) *file = info.dli_fbase;
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)((const char *)info.dli_fbase + file->e_phoff);
    for (int i = 0; i < file->e_phnum; i++) {
        uintptr_t first = object->l_addr + segments[i].p_vaddr;
        if (segments[i].p_type == PT_LOAD && address >= first && address < first + segments[i].p_memsz)
            return (segments[i].p_flags & PF_R ? PROT_READ : 0) | (segments[i].p_flags & PF_W ? PROT_WRITE : 0) |
                   (segments[i].p_flags & PF_X ? PROT_EXEC : 0);
    }
    return PROT_READ;
}

/* Where the relocation cannot be written, the address stays unwatched. */
static void make_call_relocation(const struct link_map *object, ElfW(Rela) * relocation)
{
    uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE), place = (uintptr_t)&relocation->r_info;
    void *page = (void *)(place - place % page_bytes);
    int rights = rights_of(object, place);

    if (mprotect(page, page_bytes, PROT_READ | PROT_WRITE | (rights & PROT_EXEC)))
        return;
    relocation->r_info = ELF64_R_INFO(ELF64_R_SYM(relocation->r_info), CALL_RELOCATION);
    mprotect(page, page_bytes, rights);
}

static void see_addresses(const struct link_map *object)
{
    ElfW(Rela) *relocations = NULL;
    const ElfW(Sym) *symbols = NULL;
    const char *strings = NULL;
    size_t bytes = 0;

    for (const ElfW(Dyn) *d = object->l_ld; d && d->d_tag != DT_NULL; d++) {
        /* glibc has already added the object's address to these. */
        if (d->d_tag == DT_RELA)
            relocations = (ElfW(Rela) *)d->d_un.d_ptr;
        else if (d->d_tag == DT_RELASZ)
            bytes = d->d_un.d_val;
        else if (d->d_tag == DT_SYMTAB)
            symbols = (const ElfW(Sym) *)d->d_un.d_ptr;
        else if (d->d_tag == DT_STRTAB)
            strings = (const char *)d->d_un.d_ptr;
    }
    /* The kernel's vDSO is not relocated, and its entries are offsets. */
    if (!relocations || !symbols || !strings || (uintptr_t)relocations < object->l_addr)
        return;
    for (size_t i = 0; i < bytes / sizeof *relocations; i++) {
        bool fortran, named_64, plain = false;
        ElfW(Rela) *r = &relocations[i];
        if (ADDRESS_RELOCATION(ELF64_R_TYPE(r->r_info)) && r->r_addend == 0 &&
            understand(strings + symbols[ELF64_R_SYM(r->r_info)].st_name, &fortran, &named_64, &plain) && !plain)
            make_call_relocation(object, r);
    }
}

__attribute__((visibility("default"))) unsigned la_objopen(struct link_map *object, Lmid_t name_space,
                                                           uintptr_t *cookie)
{
    *cookie = (uintptr_t)object;
    if (name_space != LM_ID_BASE || !own)
        return 0;
    if (!strcmp(object->l_name, own->l_name)) {
        watcher = object;
        atomic_store((_Atomic uint32_t *)there(&gmm_guard_connected), 1);
        return 0; /* what the guard looks up for itself is what there is */
    }
    see_addresses(object);
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

__attribute__((visibility("default"))) uintptr_t la_symbind64(Elf64_Sym *symbol, unsigned index, uintptr_t *from,
                                                              uintptr_t *to, unsigned *flags, const char *name)
{
    bool fortran, named_64, plain;
    const meaning *m = watcher && symbol->st_value ? understand(name, &fortran, &named_64, &plain) : NULL;

    (void)index, (void)from, (void)flags;
    if (m && plain && !has_plain_fortran((const struct link_map *)*to))
        m = NULL;
    return m ? bind(m, fortran, named_64, symbol->st_value, (const struct link_map *)*to, name) : symbol->st_value;
}
