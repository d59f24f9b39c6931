/* io.h - files of tensors: safetensors (read by memory mapping, written as a stream) and npy.
 * SPDX-License-Identifier: MIT
 *
 * Files are never trusted: every offset, size and count is checked before it is used, and a file that breaks its format
 * gives GMM_ERR_MALFORMED with a gmm_error_detail that names the file and the tensor. Written files appear under their
 * name only when they are whole: data goes to a temporary file beside it (".gathermm-PID-NUMBER.tmp"), which is renamed
 * at the end and removed on failure.
 *
 * Open files are mapped, not copied. That nobody shortens or rewrites a file while it is open is up to the caller:
 * reading a page that a file no longer has ends a process with SIGBUS, on every system. Replacing a file by renaming
 * another over it is harmless.
 *
 * Formats: safetensors as in https://github.com/huggingface/safetensors (8-byte little-endian header size, JSON header,
 * data); npy as in NumPy's numpy.lib.format, versions 1.0 to 3.0.
 */
#ifndef GMM_IO_H
#define GMM_IO_H

#include "gathermm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- safetensors, reading ---------------------------------------------------------------------------------------- */

/** An open file. Opaque; may be read from several threads at once. */
typedef struct gmm_safetensors gmm_safetensors;

/** One tensor of an open file; pointers are valid until the file is closed. */
typedef struct gmm_tensor {
    const char *name;
    gmm_dtype dtype;
    int32_t ndim;
    const int64_t *shape; /**< for sub-byte types the shape counts elements, not bytes */
    const void *data;     /**< mapped read-only; aligned no better than the file has it */
    size_t size_bytes;
} gmm_tensor;

/**
 * Open and check a whole file. Refused: a header over 100 MB or longer than the file, one that does not begin with '{',
 * invalid JSON or UTF-8, duplicate names, NUL in names, nesting, unknown types, fields of a tensor other than dtype,
 * shape and data_offsets, an entry over 64 KiB, __metadata__ that is not strings only, negative or huge sizes, a byte
 * count that is not shape times type, elements that do not fill whole bytes, offsets outside the data, overlaps, gaps
 * and trailing bytes, rank over GMM_MAX_NDIM. `path` must be a regular file.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_FILE; GMM_ERR_MALFORMED; GMM_ERR_MEMORY. On error *file is not written.
 */
GMM_API gmm_status gmm_safetensors_open(const char *path, gmm_safetensors **file);

/** Unmap and free; NULL is allowed. */
GMM_API void gmm_safetensors_close(gmm_safetensors *file);

/** How many tensors there are. */
GMM_API size_t gmm_safetensors_count(const gmm_safetensors *file);

/** Tensor number i in the order of their data; false past the end. */
GMM_API bool gmm_safetensors_at(const gmm_safetensors *file, size_t i, gmm_tensor *tensor);

/** The tensor of this name; false if there is none. */
GMM_API bool gmm_safetensors_find(const gmm_safetensors *file, const char *name, gmm_tensor *tensor);

/** Metadata entry number i of the header's __metadata__; false past the end. */
GMM_API bool gmm_safetensors_metadata_at(const gmm_safetensors *file, size_t i, const char **key, const char **value);

/** View a tensor as an array for products, row-major, in place; `array` borrows from the file. */
GMM_API void gmm_tensor_array(const gmm_tensor *tensor, gmm_array *array);

/* ---- safetensors, writing ---------------------------------------------------------------------------------------- */

/** A file being written. Opaque; used by one thread at a time. */
typedef struct gmm_safetensors_writer gmm_safetensors_writer;

/**
 * Begin a file that will hold these tensors in this order (`data` and `size_bytes` of each are ignored; the size
 * follows from type and shape).
 *
 * @param metadata  2 * metadata_count strings: key, value, key, value, ...
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_DTYPE; GMM_ERR_SHAPE; GMM_ERR_SIZE; GMM_ERR_ARGUMENT for a duplicate, reserved
 * or non-UTF-8 name; GMM_ERR_FILE; GMM_ERR_MEMORY. On error nothing is left on disk.
 */
GMM_API gmm_status gmm_safetensors_create(const char *path, const gmm_tensor *tensors, size_t count,
                                          const char *const *metadata, size_t metadata_count,
                                          gmm_safetensors_writer **writer);

/**
 * Append the next bytes of data, tensor after tensor; one tensor may come in several pieces.
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_SIZE for more than was announced; GMM_ERR_FILE.
 */
GMM_API gmm_status gmm_safetensors_append(gmm_safetensors_writer *writer, const void *data, size_t size_bytes);

/**
 * Flush to disk, give the file its name (replacing an older one) and free the writer, on error too.
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_SIZE when data is missing; GMM_ERR_FILE. On error no file is left.
 */
GMM_API gmm_status gmm_safetensors_finish(gmm_safetensors_writer *writer);

/** Give up: remove what was written and free the writer; NULL is allowed. */
GMM_API void gmm_safetensors_abandon(gmm_safetensors_writer *writer);

/* ---- npy --------------------------------------------------------------------------------------------------------- */

/** An open npy file. Opaque; may be read from several threads at once. */
typedef struct gmm_npy gmm_npy;

/**
 * Open, map and check an npy file that holds one array and nothing else: little-endian or byte-sized bool, integers,
 * f16, f32, f64, c64 (NumPy's complex64), in C or Fortran order. ml_dtypes' bfloat16, which NumPy writes as '<V2', is
 * read as GMM_BF16.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_FILE; GMM_ERR_MALFORMED (byte-swapped and object arrays too); GMM_ERR_MEMORY.
 */
GMM_API gmm_status gmm_npy_open(const char *path, gmm_npy **file);

/** Unmap and free; NULL is allowed. */
GMM_API void gmm_npy_close(gmm_npy *file);

/** The file's array, mapped read-only; borrows from the file. */
GMM_API void gmm_npy_array(const gmm_npy *file, gmm_array *array);

/**
 * Write an array of any strides as a row-major npy file, version 1.0 (2.0 if the header needs it), replacing an older
 * one. GMM_BF16 is written as '<V2', types that NumPy lacks are refused.
 *
 * @return GMM_OK; GMM_ERR_NULL; GMM_ERR_DTYPE; GMM_ERR_SHAPE; GMM_ERR_SIZE; GMM_ERR_FILE; GMM_ERR_MEMORY. On error no
 * file is left.
 */
GMM_API gmm_status gmm_npy_write(const char *path, const gmm_array *array);

#ifdef __cplusplus
}
#endif

#endif
