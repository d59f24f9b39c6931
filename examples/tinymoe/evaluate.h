/* evaluate.h - measure a model: its text, its logits, its nats per byte, its speed. */
/* SPDX-License-Identifier: MIT */
#ifndef TINYMOE_EVALUATE_H
#define TINYMOE_EVALUATE_H

#include "reference.h"

/* One row of the demo's table. */
typedef struct score {
    const weight_format *format;
    int64_t weights, bytes; /* of the linear layers */
    int64_t windows;        /* of held-out text that were read */
    double nats_per_byte;
    double logit_error;         /* the largest, against the reference */
    double prompt_tokens_per_s; /* many tokens at once */
    double single_tokens_per_s; /* one after the other */
} score;

/* Extend text, which holds prompt_bytes, greedily by `count` bytes; a tie goes to the lower byte. Returns tokens per
 * second. */
double generate(const model *m, uint8_t *text, int64_t prompt_bytes, int64_t count);

/* The logits (token_count, vocab) of the reference's tokens, `at_once` tokens at a time. */
float *reference_logits(const model *m, const reference *r, int64_t at_once);

/* The largest |logit - reference|; NaN if any logit is. */
double logit_error(const float *logits, const reference *r, int64_t vocab);

/* Everything in a row. */
score evaluate(const model *m, const reference *r, int64_t windows, int64_t generated);

#endif
