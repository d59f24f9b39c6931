/* gguf_source.h - where the matrices of one projection lie in GGUF files. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_GGUF_SOURCE_H
#define GMM_GGUF_SOURCE_H

#include "checkpoint/source.h"

/* NAME.weight, `count` matrices stacked, or one without that axis for count 0; and NAME.bias, if there is one. GMM_OK;
 * GMM_ERR_MALFORMED; GMM_ERR_ARGUMENT for a type that is not supported; GMM_ERR_MEMORY. */
__attribute__((format(printf, 6, 7))) gmm_status gmm_find_gguf(const gmm_finder *finder, int64_t count, int64_t rows,
                                                               int64_t cols, gmm_source *source, const char *format,
                                                               ...);

#endif
