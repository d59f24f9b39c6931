/* ceilings.h - what this machine can do at most, measured: read bandwidth, and the rates of its arithmetic.
 * SPDX-License-Identifier: MIT
 *
 * A product is held against these numbers (the roofline): one that reads B bytes and does F operations takes at least
 *
 *     max(B / read, F / peak)
 *
 * seconds, whatever its code is. Measure them in the same run, near in time: the read bandwidth of a machine that
 * others share moves by tens of percent from minute to minute.
 *
 * Every function may be called from several threads at once, but two measurements at a time measure each other.
 */
#ifndef GMM_CEILINGS_H
#define GMM_CEILINGS_H

#include "gathermm.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Something that bounds products. */
typedef struct gmm_ceiling_info {
    const char *name;   /**< "read", "fma_f32", "dot_bf16", "dot_int8" */
    const char *unit;   /**< "GB/s" (1e9 bytes), "GFLOP/s" or "Gop/s" (1e9; a multiply-add is 2) */
    const char *about;  /**< what is measured, one line */
    const char *kernel; /**< the loop that would measure it, also the name of its source file; NULL if not usable */
    bool usable;        /**< the CPU has the instructions and no mask forbids them */
} gmm_ceiling_info;

/**
 * Ceiling number i; false past the end of the list.
 *
 *     read      bytes that threads load one after the other from memory (each from a part of its own that it has
 *               touched first; huge pages where the system gives them), from three times the last-level caches, or a
 *               quarter of the memory if that is less
 *     fma_f32   f32 multiply-adds on registers: fused on AVX2 and AVX-512; a multiplication and an addition in portable
 *               C
 *     dot_bf16  tdpbf16ps on tile registers, or vdpbf16ps: bf16 multiply-adds into f32
 *     dot_int8  tdpbusd on tile registers, or vpdpbusd: u8 by i8 multiply-adds into i32; with AVX2 vpmaddubsw, into i16
 */
GMM_API bool gmm_ceiling_at(const gmm_context *context, size_t i, gmm_ceiling_info *info);

/** A measured ceiling, in its unit, all threads together. */
typedef struct gmm_ceiling_result {
    double best;     /**< of the fastest window */
    double median;   /**< of all windows */
    int32_t windows; /**< equal parts of the time, about 10 ms each; at least 3 */
} gmm_ceiling_result;

/**
 * Measure a ceiling: `threads` threads (0: gmm_context_threads) begin together and work for about `seconds` (0 <
 * seconds
 * <= 3600). The time is cut into windows; the rate of a window is the sum over the threads of
 *
 *     work that the thread did in it / time that it took
 *
 * "read" takes memory for the while, and time to touch it, beyond `seconds`. The threads are those of products:
 * OpenMP's or the context's parallel_for, which must run `threads` calls of its body at once.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_ARGUMENT for an unknown name, one that is not usable, threads < 0, seconds out
 *         of range, or a parallel loop that does not run so many threads at once; GMM_ERR_CPU; GMM_ERR_MEMORY. On error
 *         *result is not written.
 */
GMM_API gmm_status gmm_ceiling_measure(const gmm_context *context, const char *name, int32_t threads, double seconds,
                                       gmm_ceiling_result *result);

/**
 * Bytes of the last-level caches of this machine, all of them together; 32 MiB where the system does not say. Data
 * several times as large comes from memory.
 */
GMM_API int64_t gmm_cache_bytes(void);

#ifdef __cplusplus
}
#endif

#endif
