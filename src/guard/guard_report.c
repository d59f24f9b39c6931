/* guard_report.c - a finding noted in the shared memory, and the first of its kind in files. */
/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#if defined(__APPLE__)
#include <crt_externs.h>
#include <pthread.h>
#else
#include <sys/syscall.h>
#endif
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "blas/call_file.h"
#include "guard/guard_watch.h"

extern char **environ;

static _Atomic uint32_t *first_of(const gmm_guard_slot *slot, gmm_guard_verdict verdict)
{
    static const char types[] = "sdcz";

    return &gmm_guard_shared->first[slot->routine][strchr(types, slot->type) - types][slot->fortran][verdict];
}

bool gmm_guard_is_known(const gmm_guard_slot *slot, gmm_guard_verdict verdict, uint64_t times)
{
    uint32_t note = atomic_load(first_of(slot, verdict));

    return note > 0 && note <= GMM_GUARD_MOST_FINDINGS && atomic_load(&gmm_guard_shared->notes[note - 1].seen) >= times;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* The folder, and those that it is in. */
static void make_folder(const char *folder)
{
    char path[sizeof gmm_guard_shared->output];

    snprintf(path, sizeof path, "%s", folder);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    mkdir(path, 0777);
}

/* The first name that no file has yet; the text file, which is always written, is opened by it. */
static int open_text(char *path, size_t size)
{
    const char *folder = gmm_guard_shared->output;
    int file = -1;

    if (!*folder)
        return -1;
    make_folder(folder);
    for (int i = 1; i < 10000 && file < 0; i++) {
        char name[1200];
        snprintf(path, size, "%s/guard-%d", folder, i);
        snprintf(name, sizeof name, "%s.txt", path);
        file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file < 0 && errno != EEXIST)
            break;
    }
    return file;
}

static void write_operands(const gmm_guard_report *r, const char *path, const char *library)
{
    char name[1200];

    snprintf(name, sizeof name, "%s.gmmcall", path);
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0)
        return;
    gmm_call_record record = {.kept = *r->kept,
                              .verdict = r->verdict,
                              .trial = r->trial,
                              .operand = r->worst->operand,
                              .row = r->worst->row,
                              .column = r->worst->column,
                              .expected = r->worst->expected};
    snprintf(record.detail, sizeof record.detail, "%s", r->detail);
    snprintf(record.symbol, sizeof record.symbol, "%s", r->watch->slot->symbol);
    snprintf(record.library, sizeof record.library, "%s", library);
    if (!gmm_call_file_write(file, &record))
        unlink(name);
    close(file);
}

static void print_trials(int file, const gmm_guard_report *r)
{
    char name[48];

    dprintf(file, "\nMade again in clean memory:\n");
    for (int t = 0; t < GMM_TRIALS; t++) {
        if (!r->trials[t].ran)
            continue;
        gmm_trial_name(&r->watch->call, (gmm_trial)t, name);
        dprintf(file, "  %-4s%s%s%s\n", r->trials[t].bad ? "BAD" : "OK", name, r->trials[t].bad ? ": " : "",
                r->trials[t].detail);
    }
}

static void print_operands(int file, const gmm_blas_call *call)
{
    dprintf(file, "\nOperands:\n");
    for (int o = 0; o < gmm_blas_operand_count(call); o++)
        dprintf(file, "  %c at %p, %d bytes from a 64-byte boundary\n", call->routine->operands[o].name,
                call->operands[o].data, (int)((uintptr_t)call->operands[o].data % 64));
}

/* The value of the first line of /proc/cpuinfo that begins with "model name". */
static void print_processor(int file)
{
    char line[256];
    FILE *info = fopen("/proc/cpuinfo", "r");

    while (info && fgets(line, sizeof line, info))
        if (!strncmp(line, "model name", 10)) {
            dprintf(file, "  CPU      %s", strchr(line, ':') ? strchr(line, ':') + 2 : "\n");
            break;
        }
    if (info)
        fclose(info);
}

static void print_command(int file)
{
    char words[4096];
    int arguments = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t length = arguments < 0 ? 0 : read(arguments, words, sizeof words);

    if (arguments >= 0)
        close(arguments);
    for (ssize_t i = 0; i + 1 < length; i++)
        if (words[i] == 0 || words[i] == '\n')
            words[i] = ' ';
    dprintf(file, "  command  %.*s\n", length > 0 ? (int)length - 1 : 0, words);
}

static long thread_number(void)
{
#if defined(__APPLE__)
    uint64_t number = 0;

    pthread_threadid_np(NULL, &number);
    return (long)number;
#else
    return (long)syscall(SYS_gettid);
#endif
}

/* Variables that decide which BLAS is loaded and how it works. */
static void print_variables(int file)
{
    static const char *const prefixes[] = {"OPENBLAS_", "BLIS_", "MKL_",      "OMP_",          "GOMP_",
                                           "KMP_",      "GOTO_", "ATLAS_",    "LD_",           "DYLD_",
                                           "VECLIB_",   "GMM_",  "GATHERMM_", "GLIBC_TUNABLES"};

#if defined(__APPLE__)
    char **variables = *_NSGetEnviron(); /* libraries have no environ there */
#else
    char **variables = environ;
#endif

    for (char **v = variables; v && *v; v++)
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
            if (!strncmp(*v, prefixes[i], strlen(prefixes[i])))
                dprintf(file, "  %s\n", *v);
}

static void print_environment(int file, const gmm_guard_report *r, const char *path)
{
    const gmm_blas_library *library;
    struct utsname system;
    time_t now = time(NULL);
    struct tm utc;
    char date[32] = "";

    gmm_guard_library(r->watch->slot, &library);
    if (gmtime_r(&now, &utc))
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &utc);
    dprintf(file, "\nEnvironment:\n  date     %s\n  library  %s\n", date, path);
    if (library)
        dprintf(file, "  version  %s\n  integers of %d bits, %d threads\n",
                *library->info.version ? library->info.version : "not told", (int)r->watch->integer_bits,
                gmm_blas_get_threads(library));
    print_command(file);
    dprintf(file, "  process  %ld, thread %ld\n", (long)getpid(), thread_number());
    print_processor(file);
    if (uname(&system) == 0)
        dprintf(file, "  system   %s %s %s\n", system.sysname, system.release, system.machine);
    print_variables(file);
}

static void write_text(int file, const gmm_guard_report *r, const gmm_guard_note *note)
{
    void *frames[64];

    dprintf(file, "%s: %s\n\n  %s\n", gmm_guard_verdict_text(r->verdict), r->detail, note->call);
    if (r->trials)
        print_trials(file, r);
    print_operands(file, &r->watch->call);
    dprintf(file, "\nBacktrace, the guard's own frames first:\n");
    backtrace_symbols_fd(frames, backtrace(frames, 64), file);
    print_environment(file, r, note->library);
    close(file);
}

/* ---- the note ---------------------------------------------------------------------------------------------------- */

static void find_library(const gmm_guard_slot *slot, char *path, size_t size)
{
    const char *name = slot->object->l_name;
    char *real = *name ? realpath(name, NULL) : NULL;

    snprintf(path, size, "%s", real ? real : *name ? name : "the program itself");
    free(real);
}

static void write_note(const gmm_guard_report *r, gmm_guard_note *note)
{
    note->verdict = (int32_t)r->verdict;
    note->process = getpid();
    gmm_blas_symbol(&r->watch->call, note->routine);
    gmm_blas_call_text(&r->watch->call, note->call, sizeof note->call);
    snprintf(note->detail, sizeof note->detail, "%s", r->detail);
    find_library(r->watch->slot, note->library, sizeof note->library);
    int file = open_text(note->path, sizeof note->path);
    if (file >= 0) {
        if (r->kept)
            write_operands(r, note->path, note->library);
        write_text(file, r, note);
    } else {
        note->path[0] = '\0';
    }
    atomic_store(&note->ready, 1);
}

void gmm_guard_note_finding(const gmm_guard_report *r)
{
    _Atomic uint32_t *first = first_of(r->watch->slot, r->verdict);
    uint32_t none = 0, number = atomic_load(first);

    if (number == 0) {
        /* Another thread or process may be first; its number then is in `none`. */
        uint32_t taken = atomic_fetch_add(&gmm_guard_shared->note_count, 1) + 1;
        if (atomic_compare_exchange_strong(first, &none, taken)) {
            number = taken;
            if (taken <= GMM_GUARD_MOST_FINDINGS)
                write_note(r, &gmm_guard_shared->notes[taken - 1]);
        } else {
            number = none; /* the note that was taken stays empty */
        }
    }
    if (number <= GMM_GUARD_MOST_FINDINGS)
        atomic_fetch_add(&gmm_guard_shared->notes[number - 1].seen, 1);
}
