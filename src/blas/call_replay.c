/* call_replay.c - a call from a file, made again with any library, in processes of their own. */
/* SPDX-License-Identifier: MIT */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include "blas/call_replay.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

enum {
    LIMIT_SECONDS = 20
};

/* Multiplications that are spent on comparing a result. */
#define OPERATIONS 5e6

gmm_status gmm_replay_open(const char *path, gmm_replay **replay)
{
    if (!path || !replay)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", path ? "replay" : "path");
    *replay = NULL;
    gmm_replay *r = calloc(1, sizeof *r);
    char *copy = r ? malloc(strlen(path) + 1) : NULL;
    if (!copy) {
        free(r);
        return gmm_fail(GMM_ERR_MEMORY, "no memory for a replay");
    }
    memcpy(copy, path, strlen(path) + 1);
    r->path = copy;
    gmm_status status = gmm_call_file_read(path, &r->record, &r->memory);
    if (status != GMM_OK) {
        gmm_replay_close(r);
        return status;
    }
    r->small = r->record;
    gmm_blas_symbol(&r->record.kept.call, r->symbol);
    gmm_blas_call_text(&r->record.kept.call, r->call, sizeof r->call);
    *replay = r;
    return GMM_OK;
}

void gmm_replay_close(gmm_replay *replay)
{
    if (!replay)
        return;
    free(replay->memory);
    free(replay->path);
    free(replay->program);
    for (int o = 0; o < GMM_BLAS_OPERANDS; o++)
        free(replay->made[o]);
    free(replay);
}

void gmm_replay_describe(const gmm_replay *replay, gmm_replay_info *info)
{
    const gmm_call_record *record = &replay->record;

    *info = (gmm_replay_info){.verdict = record->verdict,
                              .routine = replay->symbol,
                              .call = replay->call,
                              .detail = record->detail,
                              .library = record->library,
                              .integer_bits = record->kept.integer_bits};
    for (gmm_trial t = GMM_TRIAL_AS_IT_WAS; t < record->trial; t++)
        info->shown_by += gmm_trial_applies(&record->kept.call, t);
    for (int o = 0; o < gmm_blas_operand_count(&record->kept.call); o++)
        info->operand_bytes += (int64_t)record->kept.bytes[o];
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

/* What a child leaves: how far it came, and what it saw. */
typedef struct answer {
    enum {
        ANSWER_NONE,
        ANSWER_FAILED, /* the library cannot be used */
        ANSWER_CANNOT, /* not this control */
        ANSWER_CALLING,
        ANSWER_DONE
    } state;
    gmm_status status;
    char detail[512];
    gmm_trial_outcome outcome;
} answer;

static void fail_with(answer *a, gmm_status status, const char *detail)
{
    a->status = status;
    snprintf(a->detail, sizeof a->detail, "%s", detail);
    a->state = ANSWER_FAILED;
}

static void call_in_child(const gmm_call_record *record, const char *name, gmm_trial trial, answer *a)
{
    gmm_kept_call kept = record->kept;
    gmm_blas_library library;
    char why[192];
    gmm_status status = gmm_blas_load(name, &library);

    if (status != GMM_OK) {
        fail_with(a, status, gmm_error_detail());
        return;
    }
    gmm_blas_any_function *function = gmm_blas_function(&library, kept.call.routine, kept.call.type, kept.call.fortran);
    if (!function) {
        char symbol[GMM_BLAS_NAME_BYTES];
        gmm_blas_symbol(&kept.call, symbol);
        snprintf(why, sizeof why, "%.80s has no %s", name, symbol);
        fail_with(a, GMM_ERR_FORMAT, why);
        return;
    }
    kept.integer_bits = library.info.integer_bits;
    kept.call.hidden_result =
        kept.call.routine->complex_value && kept.call.fortran && library.complex_return == GMM_COMPLEX_HIDDEN;
    if (trial == GMM_TRIAL_ONE_THREAD && (gmm_blas_get_threads(&library) < 2 || !gmm_blas_set_threads(&library, 1))) {
        a->state = ANSWER_CANNOT;
        return;
    }
    a->state = ANSWER_CALLING;
    gmm_trial_run(&kept, function, trial, OPERATIONS, &a->outcome);
    a->state = ANSWER_DONE;
}

static void understand(const answer *a, int status, gmm_replay_control *control)
{
    control->ran = a->state == ANSWER_CALLING || (a->state == ANSWER_DONE && a->outcome.ran);
    if (a->state == ANSWER_DONE) {
        control->fails = a->outcome.bad;
        snprintf(control->detail, sizeof control->detail, "%s", a->outcome.detail);
        return;
    }
    control->fails = control->ran;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(control->detail, sizeof control->detail, "it does not return within %d s", LIMIT_SECONDS);
    else if (WIFSIGNALED(status))
        snprintf(control->detail, sizeof control->detail, "signal %d", WTERMSIG(status));
    else
        snprintf(control->detail, sizeof control->detail, "it ended the process, exit status %d", WEXITSTATUS(status));
}

static gmm_status run_child(const gmm_call_record *record, const char *library, gmm_trial trial, int *status, answer *a)
{
    pid_t child = fork();

    if (child < 0)
        return gmm_fail(GMM_ERR_MEMORY, "cannot start a process: %s", strerror(errno));
    if (child == 0) {
        alarm(LIMIT_SECONDS);
        call_in_child(record, library, trial, a);
        _exit(0);
    }
    while (waitpid(child, status, 0) < 0)
        if (errno != EINTR)
            return gmm_fail(GMM_ERR_MEMORY, "cannot wait for a process: %s", strerror(errno));
    if (a->state == ANSWER_FAILED)
        return gmm_fail(a->status, "%s", a->detail);
    if (a->state == ANSWER_NONE)
        return gmm_fail(GMM_ERR_FILE, "%s ends the process that loads it", library);
    return GMM_OK;
}

/* Shared with the child. */
static answer *open_answer(void)
{
    void *map = mmap(NULL, sizeof(answer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    return map == MAP_FAILED ? NULL : map;
}

gmm_status gmm_replay_try(const gmm_call_record *record, const char *library, gmm_trial trial,
                          gmm_trial_outcome *outcome)
{
    answer *a = open_answer();
    int ended = 0;

    *outcome = (gmm_trial_outcome){.ran = false};
    if (!a)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for an answer");
    gmm_status status = run_child(record, library, trial, &ended, a);
    if (status == GMM_OK && a->state == ANSWER_DONE)
        *outcome = a->outcome;
    munmap(a, sizeof *a);
    return status;
}

gmm_status gmm_replay_run(const gmm_replay *replay, const char *library, size_t i, gmm_replay_control *control)
{
    gmm_trial trial = GMM_TRIAL_AS_IT_WAS;

    if (!replay || !control)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", replay ? "control" : "replay");
    memset(control, 0, sizeof *control);
    for (; trial < GMM_TRIALS; trial++)
        if (gmm_trial_applies(&replay->record.kept.call, trial) && i-- == 0)
            break;
    if (trial == GMM_TRIALS)
        return gmm_fail(GMM_ERR_INDEX, "there is no such control");
    gmm_trial_name(&replay->record.kept.call, trial, control->name);
    answer *a = open_answer();
    if (!a)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for an answer");
    int ended = 0;
    gmm_status status = run_child(&replay->record, library ? library : replay->record.library, trial, &ended, a);
    if (status == GMM_OK)
        understand(a, ended, control);
    munmap(a, sizeof *a);
    return status;
}
