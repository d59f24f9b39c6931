/* audit_call.c - see audit_call.h: stack, registers, scratch, threads and processes around a call. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include "blas/audit_call.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu/dead_stack.h"
#include "cpu/float_control.h"
#include "cpu/registers.h"

enum {
    STACK_FRAMES = 4, /* 64 KiB */
    EARLIER_SIZE = 80,
    MOST_CALLERS = 8,
    PAGE = 4096
};

/* ---- the dead stack ---------------------------------------------------------------------------------------------- */

/* NaN both as two floats and as a double. */
static uint64_t pattern_of(uint8_t fill)
{
    return fill == GMM_FILL_ZERO ? 0 : fill == GMM_FILL_INFINITY ? 0x7F8000007F800000u : 0x7FF8F0007FC0F000u;
}

/* Through a pointer that the compiler must not see through: its frame is to be one of its own, where the dirt is. */
static gmm_blas_result (*volatile invoker)(const gmm_blas_call *, gmm_blas_any_function *, int) = gmm_blas_invoke;

/* ---- earlier calls ----------------------------------------------------------------------------------------------- */

/* Unrelated products that leave their operands in the library's packing buffers: level 3 and level 2, both precisions.
 */
static void make_earlier_calls(const gmm_audit_bench *bench, gmm_audit_fill fill)
{
    static double memory[3][EARLIER_SIZE * EARLIER_SIZE];
    static const char types[] = "sdcz";
    static const char *const names[] = {"gemm", "gemv"};

    for (int t = 0; t < 4; t++)
        for (int r = 0; r < 2; r++) {
            char name[8] = {types[t], 0}, type;
            memcpy(name + 1, names[r], 5);
            const gmm_blas_routine *routine = gmm_blas_routine_find(name, &type);
            int64_t n = gmm_blas_is_complex(type) ? EARLIER_SIZE / 2 : EARLIER_SIZE;
            bool fortran = !gmm_blas_function(&bench->library, routine, type, false);
            gmm_blas_any_function *function = gmm_blas_function(&bench->library, routine, type, fortran);
            gmm_blas_call call = {.routine = routine,
                                  .type = type,
                                  .fortran = fortran,
                                  .transpose_a = r ? 'T' : 'N',
                                  .transpose_b = 'N',
                                  .m = n,
                                  .n = n,
                                  .k = n,
                                  .alpha = {1, 0}};
            if (!function)
                continue;
            for (int i = 0; i < gmm_blas_operand_count(&call); i++) {
                bool vector = routine->operands[i].form == GMM_FORM_VECTOR;
                call.operands[i] = (struct gmm_blas_place){.data = memory[i], .step = vector ? 1 : n};
                for (int64_t e = 0; e < (vector ? n : n * n); e++)
                    gmm_audit_fill_element(type, (char *)memory[i], e, fill, GMM_PART_ALL);
            }
            gmm_blas_invoke(&call, function, bench->library.info.integer_bits);
        }
}

/* ---- several callers --------------------------------------------------------------------------------------------- */

typedef struct caller {
    pthread_t thread;
    pthread_barrier_t *barrier;
    gmm_blas_call call;
    gmm_blas_any_function *function;
    int integer_bits;
    gmm_blas_result result;
    char *memory[GMM_BLAS_OPERANDS], *copies[GMM_BLAS_OPERANDS];
} caller;

static void *call_once(void *argument)
{
    caller *c = argument;

    pthread_barrier_wait(c->barrier);
    c->result = gmm_blas_invoke(&c->call, c->function, c->integer_bits);
    return NULL;
}

/* All make the call at once; outputs are their own, inputs shared. */
static bool call_together(const gmm_audit_bench *bench, const gmm_blas_call *call, gmm_blas_any_function *function,
                          int count, gmm_blas_result *result, bool *same)
{
    caller callers[MOST_CALLERS];
    pthread_barrier_t barrier;
    bool fine = true;

    count = count < MOST_CALLERS ? count : MOST_CALLERS;
    memset(callers, 0, sizeof callers);
    for (int i = 0; i < count; i++) {
        caller *c = &callers[i];
        c->call = *call;
        c->barrier = &barrier;
        c->function = function;
        c->integer_bits = bench->library.info.integer_bits;
        for (int o = 0; o < bench->memory.count; o++) {
            const gmm_audit_operand *operand = &bench->memory.operands[o];
            if (!i || !gmm_blas_is_output(call, o))
                continue;
            /* At the same place of a page: bits may vary with alignment, and that is another check's business. */
            size_t offset = (uintptr_t)operand->base % PAGE;
            c->memory[o] = aligned_alloc(PAGE, (operand->bytes + offset + PAGE) / PAGE * PAGE);
            fine &= c->memory[o] != NULL;
            if (!c->memory[o])
                continue;
            c->copies[o] = c->memory[o] + offset;
            memcpy(c->copies[o], operand->base, operand->bytes);
            c->call.operands[o].data = c->copies[o];
        }
    }
    fine &= pthread_barrier_init(&barrier, NULL, (unsigned)count) == 0;
    for (int i = 0; i < count && fine; i++)
        if (pthread_create(&callers[i].thread, NULL, call_once, &callers[i]))
            _exit(3); /* the others wait for it for ever */
    for (int i = 0; i < count && fine; i++)
        pthread_join(callers[i].thread, NULL);
    *result = callers[0].result;
    for (int i = 1; i < count; i++) {
        *same &= !memcmp(callers[i].result.value, result->value, sizeof result->value);
        for (int o = 0; o < bench->memory.count; o++)
            if (callers[i].copies[o]) {
                *same &= !memcmp(callers[i].copies[o], bench->memory.operands[o].base, bench->memory.operands[o].bytes);
                free(callers[i].memory[o]);
            }
    }
    return fine;
}

/* ---- the call ---------------------------------------------------------------------------------------------------- */

/* The library has made a call and may have threads; a child of a fork makes the next one. */
static bool call_in_child(const gmm_audit_bench *bench, const gmm_blas_call *call, gmm_blas_any_function *function,
                          gmm_blas_result *result)
{
    int status = 0;
    gmm_blas_result *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (shared == MAP_FAILED)
        return false;
    pid_t child = fork();
    if (child == 0) {
        *shared = gmm_blas_invoke(call, function, bench->library.info.integer_bits);
        _exit(0);
    }
    bool fine = child > 0 && waitpid(child, &status, 0) == child;
    if (fine && WIFSIGNALED(status))
        raise(WTERMSIG(status));
    if (fine && WEXITSTATUS(status))
        _exit(WEXITSTATUS(status));
    *result = *shared;
    munmap(shared, sizeof *shared);
    return fine;
}

gmm_blas_result gmm_audit_call_watched(gmm_audit_bench *bench, const gmm_audit_setting *setting,
                                       const gmm_blas_call *call, gmm_blas_any_function *function)
{
    gmm_float_control own = gmm_float_control_read(), before = gmm_float_control_of(&own, setting->float_mode), after;

    *bench->inside = 1;
    if (setting->float_mode)
        gmm_float_control_write(&before);
    if (setting->stack)
        gmm_dead_stack_fill(pattern_of(setting->stack), STACK_FRAMES);
    if (setting->registers)
        gmm_registers_fill(pattern_of(setting->registers));
    gmm_blas_result result = invoker(call, function, bench->library.info.integer_bits);
    after = gmm_float_control_read();
    bool same = gmm_float_control_same(&before, &after, bench->control, sizeof bench->control);
    if (!same || setting->float_mode)
        gmm_float_control_write(&own);
    *bench->inside = 0;
    return result;
}

bool gmm_audit_call(gmm_audit_bench *bench, const gmm_audit_case *c, const gmm_audit_setting *setting,
                    gmm_blas_result *result, bool *same)
{
    gmm_blas_call call;
    gmm_blas_any_function *function =
        gmm_blas_function(&bench->library, c->call.routine, c->call.type, c->call.fortran);
    int bits = bench->library.info.integer_bits;

    *same = true;
    if (!function)
        return false;
    if (setting->threads && !gmm_blas_set_threads(&bench->library, setting->threads))
        return false;
    if (!gmm_audit_place(&bench->memory, c, setting, &call))
        return false;
    call.hidden_result = bench->library.complex_return == GMM_COMPLEX_HIDDEN;
    *bench->inside = 1;
    if (setting->earlier)
        make_earlier_calls(bench, setting->earlier);
    if (setting->process) {
        gmm_blas_invoke(&call, function, bits);
        if (!gmm_audit_place(&bench->memory, c, setting, &call))
            return false;
        call.hidden_result = bench->library.complex_return == GMM_COMPLEX_HIDDEN;
        bool fine = call_in_child(bench, &call, function, result);
        *bench->inside = 0;
        return fine;
    }
    if (setting->callers > 1) {
        bool fine = call_together(bench, &call, function, setting->callers, result, same);
        *bench->inside = 0;
        return fine;
    }
    *result = gmm_audit_call_watched(bench, setting, &call, function);
    if (setting->threads)
        gmm_blas_set_threads(&bench->library, bench->threads);
    return true;
}
