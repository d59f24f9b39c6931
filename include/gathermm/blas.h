/* blas.h - the BLAS libraries of this machine, and an audit of any of them against the BLAS's contract.
 * SPDX-License-Identifier: MIT
 *
 * The products of gathermm.h need no BLAS. This header tells which ones a program here would meet, and whether one
 * keeps its promises: that C need not be set if beta is 0, that nothing outside the operands is touched, that the same
 * operands give the same result, and more. docs/blas.md describes the checks and the verdicts.
 */
#ifndef GMM_BLAS_H
#define GMM_BLAS_H

#include "gathermm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Which libraries there are ----------------------------------------------------------------------------------- */

/** A BLAS shared library that the dynamic loader finds. */
typedef struct gmm_blas_info {
    const char *name;     /**< what was asked for: "libopenblas.so.0", ... */
    char path[1024];      /**< where it was found, links resolved */
    char version[256];    /**< what the library says of itself; "" if it says nothing or may exit when asked (MKL) */
    bool has_cblas;       /**< a program that loads it finds cblas_sgemm (or a suffixed form) */
    bool has_fortran;     /**< a program that loads it finds sgemm_ (or a suffixed form) */
    int32_t integer_bits; /**< 32 or 64; 0 when the library does not say */
} gmm_blas_info;

/**
 * Look for BLAS library number i of the known names by loading it for a moment, which runs its initialisers. Returns
 * false past the end of the list; info->path is "" for a name that is not found.
 */
GMM_API bool gmm_blas_at(size_t i, gmm_blas_info *info);

/* ---- The library's own use of one ------------------------------------------------------------------------------- */

/** Whether a BLAS keeps the part of its contract that products rely on. */
typedef enum gmm_provider_state {
    GMM_PROVIDER_STATE_GOOD = 1,
    GMM_PROVIDER_STATE_REMEDIED =
        2, /**< it reads C although beta is 0, and is right if C holds zeros, as it always does */
    GMM_PROVIDER_STATE_REFUSED = 3
} gmm_provider_state;

/** The BLAS that a context was made with, and what was seen of it in this process so far. */
typedef struct gmm_provider_info {
    gmm_blas_info library;
    char symbol[64];          /**< the function that is called: "cblas_sgemm", "sgemm_64_", ... */
    char build_id[72];        /**< of the object that holds it, in hexadecimal; "" if it has none */
    gmm_provider_state state; /**< never REFUSED in a context */
    int32_t classes_checked;  /**< classes of calls met so far: layout, sizes, alignment */
    int32_t classes_remedied;
    int32_t classes_refused; /**< these are multiplied by the native kernels */
    char finding[512];       /**< the gravest, in words; "" if there is none */
} gmm_provider_info;

/** Say which BLAS a context (NULL: the default one) uses. False if none, or if info is NULL; then nothing is written.
 * Any threads. */
GMM_API bool gmm_context_provider(const gmm_context *context, gmm_provider_info *info);

/* ---- The audit --------------------------------------------------------------------------------------------------- */

/** What a case showed, the gravest first. */
typedef enum gmm_audit_verdict {
    GMM_AUDIT_PASS = 0,
    GMM_AUDIT_VIOLATION = 1, /**< not what the BLAS's text promises */
    GMM_AUDIT_MEMORY = 2,    /**< a write outside the operands, or a read beyond what must exist */
    GMM_AUDIT_CRASH = 3,     /**< a signal */
    GMM_AUDIT_HANG = 4,      /**< did not return */
    GMM_AUDIT_EXIT = 5,      /**< ended the process, by a right call */
    GMM_AUDIT_STATE = 6,     /**< the same bytes, another answer: hidden state */
    GMM_AUDIT_ACCURACY = 7,  /**< beyond the a-priori error bound */
    GMM_AUDIT_DIFFERS = 8,   /**< unspecified, but not what netlib's reference does; no violation */
    GMM_AUDIT_NONREPRO = 9   /**< bits vary with alignment or threads; no violation */
} gmm_audit_verdict;

/** "VIOLATION", ...; "" for a number that is none. */
GMM_API const char *gmm_audit_verdict_text(gmm_audit_verdict verdict);

/** A check of the list. */
typedef struct gmm_audit_check {
    const char *name;
    const char *summary;
    bool on_request; /**< runs only if it is named */
} gmm_audit_check;

/** Check number i; false past the end of the list. */
GMM_API bool gmm_audit_check_at(size_t i, gmm_audit_check *check);

/** What to audit and how. Zero means default; `size` is that of the structure. */
typedef struct gmm_audit_options {
    size_t size;
    uint64_t seed;           /**< default 1; the same seed gives the same cases */
    const char *checks;      /**< names separated by commas; default: all that are not on request */
    const char *routines;    /**< "sgemm,gemv": with type or for all types; default: all */
    int32_t threads;         /**< threads to ask the library for; default: what it takes by itself */
    const char *environment; /**< "NAME=value NAME=value": set before the library is loaded */
    /** Seconds from gmm_audit_create on, after which nothing is begun and what runs is broken off, unjudged; calls that
     * wait without using the processor are given up after an eighth of it. 0: no such limit, and 5 seconds. */
    double budget;
} gmm_audit_options;

typedef struct gmm_audit gmm_audit;

/** A kind of failure: of one check and one routine, all cases that failed alike. Texts live as long as the audit. */
typedef struct gmm_audit_finding {
    gmm_audit_verdict verdict;
    const char *check;
    const char *routine; /**< the symbol: "cblas_sgemm", "sgemm_" */
    int64_t failed;      /**< cases that failed */
    int64_t cases;       /**< cases of this check and routine that were run */
    const char *call;    /**< the smallest failing call so far, as C */
    const char *detail;  /**< what was wrong in it */
    const char *advice;  /**< the check's summary: what should have been */
    bool minimized;
} gmm_audit_finding;

/** A control of a finding: the failing case with one thing changed. */
typedef struct gmm_audit_control {
    const char *name; /**< "C holds zeros", "M + 1", ... */
    bool fails;       /**< it fails too */
} gmm_audit_control;

/**
 * Begin an audit of the library with this name or path. It is loaded in processes of their own only, never in this one:
 * a crash, a hang or an exit there is a finding.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_ARGUMENT for an unknown check or routine; GMM_ERR_FILE if it cannot be loaded
 *         (with the loader's reason), or breaks while it is; GMM_ERR_FORMAT if it is no BLAS; GMM_ERR_MEMORY.
 */
GMM_API gmm_status gmm_audit_create(const char *library, const gmm_audit_options *options, gmm_audit **audit);

GMM_API void gmm_audit_destroy(gmm_audit *audit);

/** The library, as its own process saw it. */
GMM_API void gmm_audit_library(const gmm_audit *audit, gmm_blas_info *info);

/**
 * Run cases: those after the last one that was run, until there have been `cases` in all or `seconds` have passed. May
 * be called again to run more. Not from several threads at once.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_MEMORY, also when no process can be started.
 */
GMM_API gmm_status gmm_audit_run(gmm_audit *audit, int64_t cases, double seconds);

/** How many cases have been run, and how far in the sequence: cases without a meaning for the library are passed over.
 */
GMM_API int64_t gmm_audit_cases(const gmm_audit *audit);
GMM_API int64_t gmm_audit_position(const gmm_audit *audit);

/** Finding number i, in the order of first appearance; false past the end. */
GMM_API bool gmm_audit_finding_at(const gmm_audit *audit, size_t i, gmm_audit_finding *finding);

/**
 * Make the failing case of finding number i smaller for up to `seconds`, each step in a fresh process, then run its
 * controls. Statuses as of gmm_audit_run; GMM_ERR_ARGUMENT if there is no such finding.
 */
GMM_API gmm_status gmm_audit_minimize(gmm_audit *audit, size_t i, double seconds);

/** Control number j of finding number i, once it is minimized; false past the end. */
GMM_API bool gmm_audit_control_at(const gmm_audit *audit, size_t i, size_t j, gmm_audit_control *control);

/**
 * A whole C program that shows finding number i: it prints OK or BAD for the case and each control, and exits 1 if it
 * reproduces. Its first lines say how to compile it. *text lives as long as the audit.
 */
GMM_API gmm_status gmm_audit_reproduction(gmm_audit *audit, size_t i, const char **text);

/** Results of a routine that two libraries computed with other bits. */
typedef struct gmm_audit_difference {
    char routine[48];            /**< "dgemm" */
    int64_t differing, compared; /**< cases */
    char call[512];              /**< the first such case's call, as C */
} gmm_audit_difference;

/**
 * Compare the bits of results that two audits of the same seed, checks and routines found to be right: those of cases
 * that were run by both, through the same interface, and were within their bounds in both. What differs is no failure.
 * Fills up to `room` differences, one for each routine and type that has any, and sets *count to their number.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_ARGUMENT if the audits are of other cases; GMM_ERR_MEMORY. May be called from
 *         several threads, as long as none runs one of the audits.
 */
GMM_API gmm_status gmm_audit_compare(const gmm_audit *a, const gmm_audit *b, gmm_audit_difference *differences,
                                     size_t room, size_t *count);

/** Behaviour worth knowing that is no failure: "sgemm_: wrong arguments end the process, exit status 0". NULL past the
 * end. */
GMM_API const char *gmm_audit_note_at(gmm_audit *audit, size_t i);

/** Environment number i that makes this library use other kernels on this CPU: "OPENBLAS_CORETYPE=Prescott". Each was
 * tried in a process of its own; NULL past the end, and for libraries without any. */
GMM_API const char *gmm_audit_forced_kernel_at(gmm_audit *audit, size_t i);

#ifdef __cplusplus
}
#endif

#endif
