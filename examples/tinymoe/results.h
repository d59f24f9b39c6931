/* results.h - what the demo found, as text and as JSON. */
/* SPDX-License-Identifier: MIT */
#ifndef TINYMOE_RESULTS_H
#define TINYMOE_RESULTS_H

#include "evaluate.h"
#include "flags.h"
#include "replay.h"

typedef struct results {
    const reference *expected;
    const gmm_context *context;
    /* Text. */
    uint8_t *text;
    int64_t text_bytes, compared_bytes; /* generated with the prompt; how many the reference has, too */
    bool text_equal;
    /* Logits. */
    double logit_error, margin;
    bool same_alone; /* one token at a time gives the same bits as all at once */
    /* The bug. */
    int64_t processes, processes_right;
    char *faulty_path;
    const char *faulty_missing; /* why it was not tried; NULL: it was */
    replay_case cases[REPLAY_CASES];
    /* The table. */
    score scores[MOST_FORMATS];
    int score_count;
} results;

/* Each part as text on stdout, as soon as it is known. */
void results_show_head(const results *r, const model *m);
void results_show_text(const results *r);
void results_show_logits(const results *r);
void results_show_replay(const results *r);
void results_show_table(const results *r);

/* Everything as one JSON object. */
void results_show_json(const results *r);

/* The first thing that is not as it must be, in words; NULL if all is right. */
const char *results_fault(const results *r);

#endif
