/* explain.h - words that explanations share. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_EXPLAIN_H
#define GMM_EXPLAIN_H

#include <stddef.h>

#include "core/call.h"

/* A number of bytes as people read it: "1.5 MB". Returns text. */
const char *gmm_explain_bytes(double bytes, char *text, size_t size);

/* The format of a call's weights: "affine, 4 bits, groups of 64". */
void gmm_explain_weights(const gmm_call *call, char *text, size_t size);

/* The kernel that decodes panels for many rows: its name, "portable" or "none". */
const char *gmm_explain_decoder(const gmm_call *call, const gmm_plan *plan);

#endif
