/* reference.h - what the model must answer: text and logits computed in double precision, and the held-out text. */
/* SPDX-License-Identifier: MIT */
#ifndef TINYMOE_REFERENCE_H
#define TINYMOE_REFERENCE_H

#include "model.h"

typedef struct reference {
    uint8_t *text; /* the greedy continuation, prompt included */
    int64_t text_bytes, prompt_bytes;
    uint8_t *tokens; /* the input of `logits` */
    double *logits;  /* (token_count, vocab) */
    int64_t token_count;
    uint8_t *heldout; /* at least windows * window + 1 bytes */
    int64_t window, windows;
    double *nats_per_byte; /* of each window, from an empty context */
} reference;

/* Read reference.json, reference.safetensors and heldout.txt beside the model; EXIT_BROKEN if that cannot be. */
void reference_open(reference *r, const checkpoint *source);
void reference_close(reference *r);

/* Nats per byte over the first `windows` windows. */
double reference_nats(const reference *r, int64_t windows);

/* The smallest distance, over all tokens, between the largest logit and the one after it. */
double reference_margin(const reference *r, int64_t vocab);

#endif
