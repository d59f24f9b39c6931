/* io_file.h - files mapped for reading, and files that get their name only when they are whole. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_IO_FILE_H
#define GMM_IO_FILE_H

#include <stddef.h>

#include "gathermm/gathermm.h"

/* Elements are used where the file has them, and both formats store them little-endian. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files are used in place: this needs a little-endian machine"
#endif

/* A whole file in memory, read-only. */
typedef struct gmm_mapping {
    const unsigned char *bytes; /* NULL for an empty file */
    size_t size;
} gmm_mapping;

/* Map a regular file. GMM_OK; GMM_ERR_FILE, with the path and the system's reason. */
gmm_status gmm_mapping_open(const char *path, gmm_mapping *mapping);

void gmm_mapping_close(gmm_mapping *mapping);

/* A file under a temporary name in the folder of its final one. */
typedef struct gmm_new_file gmm_new_file;

/* GMM_OK; GMM_ERR_FILE (also when `path` names something that is no regular file); GMM_ERR_MEMORY. */
gmm_status gmm_new_file_open(const char *path, gmm_new_file **file);

/* Append, buffered. After a failure the file can only be finished, which then fails, or abandoned. */
gmm_status gmm_new_file_write(gmm_new_file *file, const void *data, size_t size_bytes);

/* Bring the data to disk, give it the name, replacing an older file, and free; on failure remove it and free. */
gmm_status gmm_new_file_finish(gmm_new_file *file);

/* Remove what was written, and free; NULL is allowed. */
void gmm_new_file_abandon(gmm_new_file *file);

#endif
