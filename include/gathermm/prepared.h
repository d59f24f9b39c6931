/* prepared.h - weights in the order in which the kernels read them: made once, multiplied often, kept in files.
 * SPDX-License-Identifier: MIT
 *
 * Raw weights are multiplied where they lie; nothing needs to be prepared. A program that loads once and runs long can
 * have them in the kernels' own order instead: dense weights then need no packing when many rows meet a matrix, and
 * are read from the first byte to the last when one does. Set `prepared` in a gmm_product; the result is the same, to
 * the bit. docs/architecture.md says what the order is, and docs/performance.md what it brings.
 *
 * They are immutable, and any number of calls may use them at a time. They do not depend on the instruction set or on
 * threads: what one x86 machine has made another can use.
 */
#ifndef GMM_PREPARED_H
#define GMM_PREPARED_H

#include "gathermm.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What prepared weights are. Pointers are valid as long as the weights. */
typedef struct gmm_prepared_info {
    const char *mode;   /**< of quantized weights; NULL: dense */
    gmm_dtype dtype;    /**< dense: of the elements; quantized: of the scales */
    int32_t bits;       /**< of an element or a code */
    int32_t group_size; /**< 0: dense */
    bool transpose;     /**< weights lie (N, K): of a dense matrix, K's stride is the smaller one */
    int64_t k, n;       /**< the shape of a matrix, (K, N) in `rhs` terms */
    int32_t batch_ndim;
    const int64_t *batch_shape; /**< the other dimensions of a stack: indices count matrices over them */
    int64_t raw_bytes;          /**< the elements, or codes, scales and biases, alone */
    bool mapped;                /**< from a file, by gmm_prepared_open */
} gmm_prepared_info;

/**
 * Put weights into the kernels' order, with the threads of the context. They are copied: the originals may be freed.
 *
 * Dense weights take the room of their elements with N rounded up to 32, and K up to 16 if they are transposed;
 * quantized ones that of their codes, scales and biases.
 *
 * @param rhs        dense weights as in gmm_product, or NULL
 * @param quantized  quantized weights, or NULL
 * @param transpose  as in gmm_product: for quantized weights only
 * @return GMM_OK; GMM_ERR_NULL, _SHAPE, _DTYPE, _FORMAT, _SIZE, _ARGUMENT as gmm_run; GMM_ERR_MEMORY. On error
 * *prepared is not written.
 */
GMM_API gmm_status gmm_prepare(const gmm_context *context, const gmm_array *rhs, const gmm_quantized *quantized,
                               bool transpose, gmm_prepared **prepared);

/** Free weights that no call is using, or unmap their file; NULL is allowed. */
GMM_API void gmm_prepared_free(gmm_prepared *prepared);

/** The bytes that they take, in memory or in the mapped file; `prepared` may not be NULL. */
GMM_API int64_t gmm_prepared_bytes(const gmm_prepared *prepared);

/** Fill in *info; neither pointer may be NULL. */
GMM_API void gmm_prepared_describe(const gmm_prepared *prepared, gmm_prepared_info *info);

/**
 * Write a file that gmm_prepared_open reads; it appears under its name only when it is whole (io.h).
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_FILE; GMM_ERR_MEMORY. On error no file is left, and an older one is as it was.
 */
GMM_API gmm_status gmm_prepared_save(const gmm_prepared *prepared, const char *path);

/**
 * Map a file of prepared weights, read-only; pages are read from disk when a product first needs them. Everything that
 * the library will rely on is checked: the header's checksum, and every size against the file's length. As with all
 * mapped files (io.h), that nobody shortens it while it is open is up to the caller.
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_FILE; GMM_ERR_MALFORMED, with what is wrong; GMM_ERR_MEMORY. On error *prepared
 *         is not written.
 */
GMM_API gmm_status gmm_prepared_open(const char *path, gmm_prepared **prepared);

/**
 * Read all weights of an opened file and compare their checksum with the header's, which gmm_prepared_open does not:
 * changed weights are a danger to results only. Weights that come from no file are right by definition.
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_MALFORMED.
 */
GMM_API gmm_status gmm_prepared_verify(const gmm_prepared *prepared);

#ifdef __cplusplus
}
#endif

#endif
