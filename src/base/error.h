/* error.h - the thread-local message behind gmm_error_detail. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_ERROR_H
#define GMM_ERROR_H

#include "gathermm/gathermm.h"

/* Keep the message for gmm_error_detail and hand the status back: `return gmm_fail(GMM_ERR_SHAPE, "k is %" PRId64,
 * k);`. Messages start with what is wrong, carry the numbers, and have no final period. */
__attribute__((format(printf, 2, 3))) gmm_status gmm_fail(gmm_status status, const char *format, ...);

#endif
