/* evaluate.c - see evaluate.h. */
/* SPDX-License-Identifier: MIT */
#include "evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "activations.h"
#include "bar.h"
#include "forward.h"
#include "stop.h"

/* Windows that are read side by side: 2048 tokens give each of 8 experts about 512 rows. */
#define WINDOWS_AT_ONCE 4

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static uint8_t likeliest(const float *logits, int64_t vocab)
{
    int64_t best = 0;

    for (int64_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best])
            best = i;
    return (uint8_t)best;
}

double generate(const model *m, uint8_t *text, int64_t prompt_bytes, int64_t count)
{
    int64_t vocab = m->config.vocab;
    forward *f = forward_create(m, 1, prompt_bytes);
    float *logits = allocate(prompt_bytes * vocab, sizeof *logits);
    double start;

    forward_run(f, text, 1, prompt_bytes, logits);
    if (count > 0)
        text[prompt_bytes] = likeliest(logits + (prompt_bytes - 1) * vocab, vocab);
    start = seconds();
    for (int64_t i = prompt_bytes + 1; i < prompt_bytes + count; i++) {
        forward_run(f, text + i - 1, 1, 1, logits);
        text[i] = likeliest(logits, vocab);
    }
    start = seconds() - start;
    forward_destroy(f);
    free(logits);
    return count > 1 ? (double)(count - 1) / start : 0.0;
}

float *reference_logits(const model *m, const reference *r, int64_t at_once)
{
    int64_t vocab = m->config.vocab;
    forward *f = forward_create(m, 1, at_once);
    float *logits = allocate(r->token_count * vocab, sizeof *logits);

    for (int64_t t = 0, count; t < r->token_count; t += count) {
        count = r->token_count - t < at_once ? r->token_count - t : at_once;
        forward_run(f, r->tokens + t, 1, count, logits + t * vocab);
    }
    forward_destroy(f);
    return logits;
}

double logit_error(const float *logits, const reference *r, int64_t vocab)
{
    double worst = 0.0;

    for (int64_t i = 0; i < r->token_count * vocab; i++) {
        double error = fabs((double)logits[i] - r->logits[i]);
        if (!(error <= worst))
            worst = error;
        if (isnan(worst))
            return worst;
    }
    return worst;
}

/* The sum of -ln p(next byte) over every token of `count` windows that begin at text. */
static double nats(const float *logits, const uint8_t *text, int64_t tokens, int64_t vocab)
{
    double total = 0.0;

    for (int64_t t = 0; t < tokens; t++)
        total += log_sum_exp(logits + t * vocab, vocab) - (double)logits[t * vocab + text[t + 1]];
    return total;
}

static void read_heldout_windows(const model *m, const reference *r, score *s)
{
    int64_t vocab = m->config.vocab, window = r->window;
    forward *f = forward_create(m, WINDOWS_AT_ONCE, window);
    float *logits = allocate(WINDOWS_AT_ONCE * window * vocab, sizeof *logits);
    double total = 0.0, elapsed = 0.0;

    for (int64_t w = 0, count; w < s->windows; w += count) {
        const uint8_t *text = r->heldout + w * window;
        double start = seconds();
        count = s->windows - w < WINDOWS_AT_ONCE ? s->windows - w : WINDOWS_AT_ONCE;
        bar_show(m->format->name, w, s->windows);
        forward_reset(f);
        forward_run(f, text, count, window, logits);
        elapsed += seconds() - start;
        total += nats(logits, text, count * window, vocab);
    }
    bar_clear();
    s->nats_per_byte = total / (double)(s->windows * window);
    s->prompt_tokens_per_s = (double)(s->windows * window) / elapsed;
    forward_destroy(f);
    free(logits);
}

score evaluate(const model *m, const reference *r, int64_t windows, int64_t generated)
{
    score s = {.format = m->format, .weights = m->weights, .bytes = m->bytes, .windows = windows};
    uint8_t *text = allocate(r->prompt_bytes + generated, 1);
    float *logits = reference_logits(m, r, r->token_count);

    s.logit_error = logit_error(logits, r, m->config.vocab);
    read_heldout_windows(m, r, &s);
    memcpy(text, r->text, (size_t)r->prompt_bytes);
    s.single_tokens_per_s = generate(m, text, r->prompt_bytes, generated);
    free(text);
    free(logits);
    return s;
}
