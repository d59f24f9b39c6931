/* file_check.h - what the readers of both file formats share: sizes of tensors, and messages that quote a file. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_FILE_CHECK_H
#define GMM_FILE_CHECK_H

#include "gathermm/gathermm.h"

/* The bytes of a tensor of this type and shape: GMM_OK; GMM_ERR_SHAPE with a message for a negative size or for
 * elements that do not fill whole bytes; GMM_ERR_SIZE for more than 2^63 - 1 bits. `what` begins the message. */
gmm_status gmm_tensor_bytes(const char *what, gmm_dtype dtype, int32_t ndim, const int64_t *shape, int64_t *size_bytes);

/* gmm_fail(GMM_ERR_MALFORMED, "path: message"), where the message may quote the file: control characters, which could
 * reprogram a terminal, become '?'. */
__attribute__((format(printf, 2, 3))) gmm_status gmm_malformed(const char *path, const char *format, ...);

/* Strings in messages: longer ones are cut. */
#define GMM_QUOTED "\"%.200s\""

#endif
