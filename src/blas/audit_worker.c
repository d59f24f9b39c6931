/* audit_worker.c - see audit_worker.h. */
/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* on_exit, MAP_ANONYMOUS, REG_ERR, prctl */

#include "blas/audit_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#include <ucontext.h>
#endif

#include "base/error.h"
#include "blas/audit_case.h"
#include "blas/audit_far.h"
#include "cpu/float_control.h"

enum {
    FAULT_STATUS = 120,
    EXIT_STATUS = 121,
    LOAD_STATUS = 122,
    MEMORY_STATUS = 123
};

/* A case has this much of processor time, or may wait so long without using any. Far more than the slowest needs; less
 * on a loaded machine than wall-clock time would be. */
#define MOST_CPU_SECONDS 6.0
#define MOST_CPU_SECONDS_SMALL 0.7
#define MOST_IDLE_SECONDS 5.0

typedef struct gmm_audit_shared {
    volatile int32_t loaded, inside;
    volatile int32_t current; /* the case at work; -1 before the first */
    volatile int32_t fault, fault_write, fault_operand, exit_code;
    volatile int64_t fault_offset;
    gmm_status status; /* of loading */
    char text[1024];
    gmm_blas_info info;
    uint8_t interfaces[GMM_AUDIT_MOST_ROUTINES][4];
    size_t cblas, fortran;
    bool hidden_result;
    gmm_audit_outcome outcomes[GMM_AUDIT_BATCH];
} gmm_audit_shared;

double gmm_audit_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- inside a worker --------------------------------------------------------------------------------------------- */

/* For handlers. */
static gmm_audit_shared *report;
static gmm_audit_bench bench;

static void note_fault(int number, siginfo_t *info, void *context)
{
    int operand = -1;
    int64_t offset = 0;

    (void)number;
    report->fault_write = -1;
#if defined(__linux__) && defined(__x86_64__)
    report->fault_write = (((const ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 2) != 0;
#else
    (void)context;
#endif
    report->fault = gmm_audit_locate(&bench.memory, info->si_addr, &operand, &offset) ? 2 : 1;
    report->fault_operand = operand;
    report->fault_offset = offset;
    _exit(FAULT_STATUS);
}

/* The library calls exit(): what the program has registered with atexit is not to run here. */
#if defined(__GLIBC__)
static void note_exit(int code, void *unused)
{
    (void)unused;
    report->exit_code = code;
    _exit(EXIT_STATUS);
}
#else
static void note_exit(void)
{
    report->exit_code = -1;
    _exit(EXIT_STATUS);
}
#endif

static void isolate(void)
{
    static char handler_stack[65536];
    stack_t stack = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    int nothing = open("/dev/null", O_RDWR);

    setpgid(0, 0);
#if defined(__linux__)
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    for (int i = 0; i < 3 && nothing >= 0; i++)
        dup2(nothing, i);
    sigaltstack(&stack, NULL);
    action.sa_sigaction = note_fault;
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    for (int i = 0; i < 3; i++)
        signal((const int[]){SIGINT, SIGTERM, SIGHUP}[i], SIG_DFL);
#if defined(__GLIBC__)
    on_exit(note_exit, NULL);
#else
    atexit(note_exit);
#endif
}

/* "NAME=value NAME=value" */
static void set_environment(const char *words)
{
    while (words && *words) {
        char pair[256];
        size_t length = strcspn(words, " ");
        snprintf(pair, sizeof pair, "%.*s", (int)(length < 255 ? length : 255), words);
        char *value = strchr(pair, '=');
        if (value) {
            *value = '\0';
            setenv(pair, value + 1, 1);
        }
        words += length + (words[length] == ' ');
    }
}

static void list_interfaces(void)
{
    for (size_t r = 0; r < GMM_AUDIT_MOST_ROUTINES && gmm_blas_routine_at(r); r++)
        for (const char *t = gmm_blas_routine_at(r)->types; *t; t++)
            for (int fortran = 0; fortran < 2; fortran++)
                if (gmm_blas_function(&bench.library, gmm_blas_routine_at(r), *t, fortran))
                    report->interfaces[r][strchr("sdcz", *t) - "sdcz"] |= (uint8_t)(1 << fortran);
}

static size_t form_number(const gmm_blas_symbol_form *form)
{
    size_t i = 0;

    while (gmm_blas_symbol_form_at(i) && gmm_blas_symbol_form_at(i) != form)
        i++;
    return i;
}

static void load(const gmm_audit_crew *crew)
{
    set_environment(crew->environment);
    gmm_float_control before = gmm_float_control_read();
    report->status = gmm_blas_load(crew->library, &bench.library);
    gmm_float_control after = gmm_float_control_read();
    if (!gmm_float_control_same(&before, &after, bench.loading, sizeof bench.loading))
        gmm_float_control_write(&before);
    if (report->status) {
        snprintf(report->text, sizeof report->text, "%s", gmm_error_detail());
        _exit(LOAD_STATUS);
    }
    bench.inside = &report->inside;
    if (crew->threads)
        gmm_blas_set_threads(&bench.library, crew->threads);
    bench.threads = gmm_blas_get_threads(&bench.library);
    if (!gmm_audit_memory_open(&bench.memory))
        _exit(MEMORY_STATUS);
    report->loaded = 1;
}

static void work(const gmm_audit_crew *crew, const gmm_audit_case *cases, int first, int count, double until)
{
    load(crew);
    if (!cases) {
        report->info = bench.library.info;
        report->hidden_result = bench.library.complex_return == GMM_COMPLEX_HIDDEN;
        report->cblas = form_number(bench.library.cblas);
        report->fortran = form_number(bench.library.fortran);
        list_interfaces();
        _exit(0);
    }
    for (int i = first; i < count; i++) {
        report->current = i;
        gmm_audit_case_run(&bench, &cases[i], &report->outcomes[i]);
        if (gmm_audit_seconds() > until && i + 1 < count) {
            report->current = i + 1;
            break;
        }
        if (i + 1 == count)
            report->current = count;
    }
    _exit(0);
}

/* ---- watching one ------------------------------------------------------------------------------------------------ */

static double cpu_seconds(pid_t worker)
{
    clockid_t clock;
    struct timespec used;

    if (clock_getcpuclockid(worker, &clock) || clock_gettime(clock, &used))
        return 0;
    return (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
}

static double allowance(const gmm_audit_case *c)
{
    double m = (double)c->call.m + 1, n = (double)c->call.n + 1, k = (double)c->call.k + 1;

    return m * n * k < 1e6 && n * n * m < 1e6 && m * m * n < 1e6 ? MOST_CPU_SECONDS_SMALL : MOST_CPU_SECONDS;
}

/* How a worker came to its end. */
typedef enum ending {
    ENDED,
    KILLED_BUSY, /* it had to be: it works and works */
    KILLED_IDLE, /* it waits for what does not come */
    OUT_OF_TIME  /* of the audit, whatever it did */
} ending;

static ending watch(const gmm_audit_crew *crew, const gmm_audit_case *cases, pid_t worker, int *status)
{
    const gmm_audit_shared *shared = crew->shared;
    double most_idle = crew->budget > 0 ? crew->budget / 8 : MOST_IDLE_SECONDS;
    int32_t seen = -2;
    double begun_cpu = 0, moved = gmm_audit_seconds(), moved_cpu = 0;
    long pause = 100000;

    while (waitpid(worker, status, WNOHANG) == 0) {
        int32_t current = shared->current;
        double cpu = cpu_seconds(worker), now = gmm_audit_seconds();
        double most = cases && current >= 0 && shared->inside ? allowance(&cases[current]) : 10 * MOST_CPU_SECONDS;
        if (current != seen || cpu > moved_cpu + 0.002) {
            moved = now;
            moved_cpu = cpu;
        }
        if (current != seen) {
            seen = current;
            begun_cpu = cpu;
        }
        if (cpu - begun_cpu > most || now - moved > most_idle || now > crew->deadline) {
            kill(-worker, SIGKILL);
            kill(worker, SIGKILL);
            waitpid(worker, status, 0);
            return cpu - begun_cpu > most ? KILLED_BUSY : now - moved > most_idle ? KILLED_IDLE : OUT_OF_TIME;
        }
        nanosleep(&(struct timespec){0, pause}, NULL);
        pause = pause < 4000000 ? pause * 5 / 4 : pause;
    }
    return ENDED;
}

/* Children of a worker, threads that will not end: none may stay. */
static void sweep(pid_t worker)
{
    kill(-worker, SIGKILL);
}

static void judge_death(const gmm_audit_shared *shared, const gmm_audit_case *c, ending killed, int status,
                        gmm_audit_outcome *o)
{
    memset(o, 0, sizeof *o);
    o->ran = true;
    o->operand = -1;
    if (killed) {
        o->verdict = GMM_AUDIT_HANG;
        snprintf(o->detail, sizeof o->detail, killed == KILLED_IDLE ? GMM_AUDIT_WAITS : "it does not return");
    } else if (WIFSIGNALED(status)) {
        o->verdict = GMM_AUDIT_CRASH;
        snprintf(o->detail, sizeof o->detail, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) == EXIT_STATUS) {
        o->verdict = GMM_AUDIT_EXIT;
        snprintf(o->detail, sizeof o->detail, "it ends the process, exit status %d", (int)shared->exit_code & 255);
    } else if (WEXITSTATUS(status) == FAULT_STATUS && shared->fault == 2) {
        int operand =
            shared->fault_operand >= 0 && shared->fault_operand < GMM_BLAS_OPERANDS ? shared->fault_operand : 0;
        const char *how = shared->fault_write > 0 ? "a write" : shared->fault_write < 0 ? "an access" : "a read";
        gmm_blas_call call = c->call;
        if (c->settings[1].far)
            gmm_audit_far_steps(&call, c->settings[1].far, shared->info.integer_bits);
        long long bytes = gmm_blas_extent(&call, operand) * (long long)gmm_blas_element_bytes(call.type);
        o->verdict = GMM_AUDIT_MEMORY;
        o->operand = operand;
        snprintf(o->detail, sizeof o->detail, "%s at byte %lld of %c, which has %lld", how,
                 (long long)shared->fault_offset, c->call.routine->operands[operand].name, bytes);
    } else {
        o->verdict = GMM_AUDIT_CRASH;
        snprintf(o->detail, sizeof o->detail,
                 WEXITSTATUS(status) == FAULT_STATUS ? "segmentation fault" : "the process ended by itself");
    }
}

/* ---- crews ------------------------------------------------------------------------------------------------------- */

/* One process, from case `first` on. */
static gmm_status run_worker(gmm_audit_crew *crew, const gmm_audit_case *cases, int first, int count, double until,
                             ending *killed, int *status)
{
    gmm_audit_shared *shared = crew->shared;

    shared->loaded = shared->inside = shared->fault = 0;
    shared->current = -1;
    fflush(NULL);
    pid_t worker = fork();
    if (worker < 0)
        return gmm_fail(GMM_ERR_MEMORY, "no process can be started: %s", strerror(errno));
    if (worker == 0) {
        report = shared;
        isolate();
        work(crew, cases, first, count, until);
    }
    setpgid(worker, worker);
    *killed = watch(crew, cases, worker, status);
    sweep(worker);
    return GMM_OK;
}

/* Why a worker could not load the library. */
static gmm_status load_failure(const gmm_audit_crew *crew, ending killed, int status)
{
    const gmm_audit_shared *shared = crew->shared;

    if (!killed && WIFEXITED(status) && WEXITSTATUS(status) == LOAD_STATUS)
        return gmm_fail(shared->status, "%s", shared->text);
    if (!killed && WIFEXITED(status) && WEXITSTATUS(status) == MEMORY_STATUS)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for operands");
    if (killed)
        return gmm_fail(GMM_ERR_FILE, "%s does not finish loading", crew->library);
    if (WIFSIGNALED(status))
        return gmm_fail(GMM_ERR_FILE, "%s: signal %d while it was loaded", crew->library, WTERMSIG(status));
    return gmm_fail(GMM_ERR_FILE, "%s: %s while it was loaded", crew->library,
                    WEXITSTATUS(status) == FAULT_STATUS ? "segmentation fault" : "the process ended");
}

gmm_status gmm_audit_crew_start(gmm_audit_crew *crew, const char *library, const char *environment, int32_t threads,
                                double budget)
{
    ending killed;
    int status;

    *crew = (gmm_audit_crew){.library = library,
                             .environment = environment,
                             .threads = threads,
                             .budget = budget,
                             .deadline = budget > 0 ? gmm_audit_seconds() + budget : INFINITY};
    void *memory = mmap(NULL, sizeof *crew->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return gmm_fail(GMM_ERR_MEMORY, "no memory to share with other processes");
    crew->shared = memory;
    gmm_status failed = run_worker(crew, NULL, 0, 0, 0, &killed, &status);
    if (!failed && (killed || !WIFEXITED(status) || WEXITSTATUS(status)))
        failed = load_failure(crew, killed, status);
    if (failed) {
        gmm_audit_crew_end(crew);
        return failed;
    }
    crew->info = crew->shared->info;
    crew->info.name = library;
    crew->cblas = crew->shared->cblas;
    crew->hidden_result = crew->shared->hidden_result;
    crew->fortran = crew->shared->fortran;
    memcpy(crew->interfaces, crew->shared->interfaces, sizeof crew->interfaces);
    return GMM_OK;
}

void gmm_audit_crew_end(gmm_audit_crew *crew)
{
    if (crew->shared)
        munmap(crew->shared, sizeof *crew->shared);
    crew->shared = NULL;
}

gmm_status gmm_audit_crew_run(gmm_audit_crew *crew, const gmm_audit_case *cases, int count, double until,
                              gmm_audit_outcome *outcomes, int *ran)
{
    const gmm_audit_shared *shared = crew->shared;

    *ran = 0;
    for (int next = 0; next < count && gmm_audit_seconds() <= crew->deadline;) {
        ending killed;
        int status;
        gmm_status failed = run_worker(crew, cases, next, count, until, &killed, &status);
        if (failed)
            return failed;
        int reached = shared->current;
        if (killed == OUT_OF_TIME)
            reached = reached < next ? next : reached;
        else if (!shared->loaded || reached < next || reached > count)
            return load_failure(crew, killed, status); /* it loaded before, and now does not */
        memcpy(&outcomes[next], &crew->shared->outcomes[next], (size_t)(reached - next) * sizeof *outcomes);
        if (!killed && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            *ran = reached;
            return GMM_OK;
        }
        if (killed == OUT_OF_TIME) {
            *ran = reached;
            return GMM_OK;
        }
        if (reached < count)
            judge_death(shared, &cases[reached], killed, status, &outcomes[reached]);
        next = *ran = reached + 1 < count ? reached + 1 : count;
        if (gmm_audit_seconds() > until)
            return GMM_OK;
    }
    return GMM_OK;
}
