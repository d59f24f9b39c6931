/* guard.h - watch the BLAS calls of a program that runs, and make a call that went wrong again.
 * SPDX-License-Identifier: MIT
 *
 * `gathermm guard` and `gathermm replay` are made of this. A guard prepares the environment in which a program is to be
 * started; the watching itself is done in that program, by libgathermm_guard.so, which lies beside this library.
 * docs/blas.md describes what is watched, what it costs, and the files. Linux with glibc 2.35 or newer.
 */
#ifndef GMM_GUARD_H
#define GMM_GUARD_H

#include "gathermm.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What was wrong with a call. */
typedef enum gmm_guard_verdict {
    GMM_GUARD_FINE = 0,
    GMM_GUARD_VIOLATION = 1, /**< NaN or infinity from finite operands; the result depends on what is not to be read */
    GMM_GUARD_MEMORY = 2,    /**< an operand that is only read, or memory around an operand, was changed */
    GMM_GUARD_STATE = 3,     /**< wrong once, but the same bytes again give a right result */
    GMM_GUARD_ACCURACY = 4,  /**< beyond the a-priori error bound */
    GMM_GUARD_CALLER = 5,    /**< the program's error: operands that overlap, an argument that is not allowed */
    GMM_GUARD_CRASH = 6,     /**< replay only: a signal */
    GMM_GUARD_HANG = 7       /**< replay only: did not return */
} gmm_guard_verdict;

/** "VIOLATION", ...; "" for a number that is none. */
GMM_API const char *gmm_guard_verdict_text(gmm_guard_verdict verdict);

/* ---- Watching ---------------------------------------------------------------------------------------------------- */

/** Zero means default; `size` is that of the structure. */
typedef struct gmm_guard_options {
    size_t size;
    const char *output; /**< directory of the files, made when there is something to write; default "gathermm-guard" */
    int32_t sample;     /**< do what costs much at one call in so many; default 1 */
} gmm_guard_options;

typedef struct gmm_guard gmm_guard;

/**
 * Prepare to watch a program.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_ARGUMENT for a negative sample or a path that is too long; GMM_ERR_FILE if
 *         libgathermm_guard.so is not there or no temporary file can be made; GMM_ERR_MEMORY.
 */
GMM_API gmm_status gmm_guard_create(const gmm_guard_options *options, gmm_guard **guard);

/** Remove the temporary file. The program must have ended. */
GMM_API void gmm_guard_destroy(gmm_guard *guard);

/** Variable number i, "NAME=value", for the environment of the program; NULL past the end. */
GMM_API const char *gmm_guard_variable_at(const gmm_guard *guard, size_t i);

/** How many processes were watched so far. 0 after the program has run: it could not be watched. */
GMM_API int64_t gmm_guard_processes(const gmm_guard *guard);

/** Functions that could not be watched because there was no room for more. */
GMM_API int64_t gmm_guard_unwatched(const gmm_guard *guard);

/** How often a routine was called. */
typedef struct gmm_guard_count {
    char routine[48]; /**< without decorations: "cblas_sgemm", "sgemm_" */
    int64_t calls;
} gmm_guard_count;

/** Routine number i of those that were called; false past the end. */
GMM_API bool gmm_guard_count_at(const gmm_guard *guard, size_t i, gmm_guard_count *count);

/** The first call of a routine that went wrong in one way. */
typedef struct gmm_guard_finding {
    gmm_guard_verdict verdict;
    char routine[48];
    char call[512];    /**< as C */
    char detail[256];  /**< what was wrong */
    char library[512]; /**< where the function lies */
    char path[1100];   /**< files are this and ".gmmcall", ".txt"; "" if none could be written */
    int64_t process;
    int64_t seen; /**< calls that went wrong so, of those that were looked into */
} gmm_guard_finding;

/** Finding number i; false past the end. */
GMM_API bool gmm_guard_finding_at(const gmm_guard *guard, size_t i, gmm_guard_finding *finding);

/* ---- Replaying --------------------------------------------------------------------------------------------------- */

typedef struct gmm_replay gmm_replay;

/**
 * Open a .gmmcall file.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_FILE; GMM_ERR_MALFORMED with what is wrong and where; GMM_ERR_MEMORY.
 */
GMM_API gmm_status gmm_replay_open(const char *path, gmm_replay **replay);

GMM_API void gmm_replay_close(gmm_replay *replay);

/** What a file holds. Texts live as long as the replay. */
typedef struct gmm_replay_info {
    gmm_guard_verdict verdict;
    const char *routine, *call, *detail;
    const char *library; /**< the one that it went wrong with */
    int32_t integer_bits;
    int64_t operand_bytes;
    size_t
        shown_by; /**< the control that showed it: 0, as it was, unless it was seen only when the guard made it again */
} gmm_replay_info;

GMM_API void gmm_replay_describe(const gmm_replay *replay, gmm_replay_info *info);

/** The call made again, with one thing changed. */
typedef struct gmm_replay_control {
    char name[48]; /**< "as it was", "C holds zeros", ... */
    bool ran;      /**< false: this library has no way to do it */
    bool fails;
    char detail[256]; /**< what was wrong */
} gmm_replay_control;

/**
 * Make the call with a library, by default the file's own: control number i, the first as it was, in a process of its
 * own.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_INDEX past the last control; GMM_ERR_FILE if the library cannot be loaded;
 *         GMM_ERR_FORMAT if it has not the routine; GMM_ERR_MEMORY, also when no process can be started.
 */
GMM_API gmm_status gmm_replay_run(const gmm_replay *replay, const char *library, size_t i, gmm_replay_control *control);

/**
 * Make the call smaller, as long as it goes wrong alike in a process of its own, with a library, by default the file's
 * own: numbers that do not matter by a formula, then M, N and K. Only the program of gmm_replay_program changes; its
 * first comment says what was done.
 *
 * @param seconds  after which it stops where it is.
 * @return GMM_OK, also if nothing could be made smaller; GMM_ERR_NULL; GMM_ERR_FILE, GMM_ERR_FORMAT, GMM_ERR_MEMORY as
 *         gmm_replay_run.
 */
GMM_API gmm_status gmm_replay_reduce(gmm_replay *replay, const char *library, double seconds);

/**
 * A C program that makes the call and its controls, needs nothing but a BLAS, prints OK or BAD for each and exits 1 if
 * the call is BAD as it was, or the control that showed it is. Large operands are read from the .gmmcall file. *text
 * lives as long as the replay.
 */
GMM_API gmm_status gmm_replay_program(gmm_replay *replay, const char **text);

#ifdef __cplusplus
}
#endif

#endif
