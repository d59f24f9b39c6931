/* results.c - see results.h. */
/* SPDX-License-Identifier: MIT */
#include "results.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LINE 92

/* ---- the verdict ------------------------------------------------------------------------------------------------- */

/* With exact weights nats per byte must be the reference's to the five decimals shown. */
static bool is_nats_right(const results *r, const score *s)
{
    if (s->format->mode)
        return isfinite(s->nats_per_byte);
    return fabs(s->nats_per_byte - reference_nats(r->expected, s->windows)) < 0.5e-5;
}

static bool is_replay_case_expected(const replay_case *c, int i)
{
    return i == 0 ? !c->right && c->nan_count > 0 : c->right && c->nan_count == 0;
}

const char *results_fault(const results *r)
{
    if (!r->text_equal)
        return "the greedy text is not the reference's";
    if (!(r->logit_error < r->margin / 2.0))
        return "a logit is off by more than half the distance to the second best";
    if (!r->same_alone)
        return "one token at a time gives other bits than all at once";
    if (r->processes_right != r->processes)
        return "a replay of the bug came out wrong";
    for (int i = 0; i < REPLAY_CASES && !r->faulty_missing; i++)
        if (!is_replay_case_expected(&r->cases[i], i))
            return i < REPLAY_CASES - 1 ? "the faulty BLAS does not do what it is for" : "gathermm is wrong";
    for (int i = 0; i < r->score_count; i++)
        if (!is_nats_right(r, &r->scores[i]) || !isfinite(r->scores[i].logit_error))
            return "nats per byte or a logit of the table";
    return NULL;
}

/* ---- as text ----------------------------------------------------------------------------------------------------- */

void results_show_head(const results *r, const model *m)
{
    const model_config *c = &m->config;
    gmm_kernel_info kernel;
    int threads = gmm_context_threads(r->context), shown = 0;

    printf("tinymoe: %.1f million weights, %" PRId64 " layers, top %" PRId64 " of %" PRId64
           " experts; gathermm %s, %d %s",
           (double)m->weights / 1e6, c->layers, c->top_k, c->experts, gmm_version(), threads,
           threads == 1 ? "thread" : "threads");
    for (size_t i = 0; gmm_kernel_at(r->context, i, &kernel); i++)
        if (kernel.used)
            printf("%s %s", shown++ ? "," : "\nkernels:", kernel.name);
    printf("\n\n");
    fflush(stdout);
}

/* Print text indented and broken at blanks. */
static void show_wrapped(const uint8_t *text, int64_t bytes)
{
    for (int64_t start = 0; start < bytes;) {
        int64_t end = start, cut = bytes;
        while (end < bytes && text[end] != '\n' && end - start < LINE)
            end++;
        if (end < bytes && text[end] != '\n') {
            for (cut = end; cut > start && text[cut] != ' '; cut--)
                ;
            end = cut > start ? cut : end;
        }
        printf("     | ");
        for (int64_t i = start; i < end; i++)
            putchar(text[i] < 0x20 || text[i] > 0x7e ? '?' : text[i]);
        putchar('\n');
        start = end < bytes && (text[end] == '\n' || text[end] == ' ') ? end + 1 : end;
    }
}

void results_show_text(const results *r)
{
    printf("1. Greedy text from \"%.*s\", f32 weights, KV cache: %" PRId64 " bytes, ", (int)r->expected->prompt_bytes,
           (const char *)r->text, r->text_bytes - r->expected->prompt_bytes);
    printf("%s the reference's\n", r->text_equal ? "equal to" : "NOT");
    show_wrapped(r->text, r->text_bytes);
    putchar('\n');
    fflush(stdout);
}

void results_show_logits(const results *r)
{
    printf("2. Logits of %" PRId64 " tokens against double precision: largest error %.1e; the closest call between\n"
           "   two bytes is %.1e. One token at a time instead of all at once: %s\n\n",
           r->expected->token_count, r->logit_error, r->margin,
           r->same_alone ? "the same logits, bit for bit." : "OTHER BITS.");
    fflush(stdout);
}

void results_show_replay(const results *r)
{
    printf("3. The bug replayed: M = 1, N = %d, K = %d, C full of NaN, B at all %d offsets of a float from a\n"
           "   64-byte boundary, both layouts, in %" PRId64 " fresh processes: %" PRId64 " right.\n",
           REPLAY_N, REPLAY_K, REPLAY_OFFSETS, r->processes, r->processes_right);
    if (r->faulty_missing)
        printf("   Not through the faulty BLAS: %s\n", r->faulty_missing);
    else
        printf("   Through a BLAS with that fault (libfaulty_blas_m1), one cblas_sgemm for each row:\n");
    for (int i = 0; i < REPLAY_CASES && !r->faulty_missing; i++) {
        const replay_case *c = &r->cases[i];
        printf("     %-12s %-42s", c->product, c->operands);
        if (c->nan_count)
            printf("NaN in columns %d to %d\n", c->first_nan, c->last_nan);
        else
            printf("%s\n", c->right ? "right" : "WRONG");
    }
    putchar('\n');
    fflush(stdout);
}

void results_show_table(const results *r)
{
    const char *fault = results_fault(r);
    int64_t windows = r->scores[0].windows; /* the same in every row */

    printf("4. Formats of the weights of every linear layer; activations f32. Nats per byte over %" PRId64 " windows\n"
           "   of %" PRId64 " held-out bytes: %.5f in double precision.\n\n",
           windows, r->expected->window, reference_nats(r->expected, windows));
    printf("%-9s %9s %10s %10s %12s %18s %22s\n", "weights", "size (MB)", "bits each", "nats/byte", "logit error",
           "prompt (tokens/s)", "one by one (tokens/s)");
    for (int i = 0; i < r->score_count; i++) {
        const score *s = &r->scores[i];
        printf("%-9s %9.2f %10.2f %10.5f %12.1e %18.0f %22.0f\n", s->format->name, (double)s->bytes / 1e6,
               8.0 * (double)s->bytes / (double)s->weights, s->nats_per_byte, s->logit_error, s->prompt_tokens_per_s,
               s->single_tokens_per_s);
    }
    if (fault)
        printf("\nWRONG: %s\n", fault);
    else
        printf("\nAll right: text, logits, replay and table are as they must be.\n");
}

/* ---- as JSON ----------------------------------------------------------------------------------------------------- */

/* JSON has no NaN. */
static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *replay_json(const results *r)
{
    json_t *cases = json_array();

    for (int i = 0; i < REPLAY_CASES && !r->faulty_missing; i++) {
        const replay_case *c = &r->cases[i];
        json_array_append_new(cases, json_pack("{s:s, s:s, s:b, s:i}", "product", c->product, "operands", c->operands,
                                               "right", c->right, "nan_count", c->nan_count));
    }
    return json_pack("{s:I, s:I, s:s?, s:s?, s:o}", "processes", (json_int_t)r->processes, "processes_right",
                     (json_int_t)r->processes_right, "faulty_blas", r->faulty_path, "faulty_blas_missing",
                     r->faulty_missing, "faulty_blas_cases", cases);
}

void results_show_json(const results *r)
{
    const char *fault = results_fault(r);
    json_t *rows = json_array(), *root;

    for (int i = 0; i < r->score_count; i++) {
        const score *s = &r->scores[i];
        json_array_append_new(rows,
                              json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:f, s:f}", "format", s->format->name,
                                        "weights", (json_int_t)s->weights, "bytes", (json_int_t)s->bytes, "windows",
                                        (json_int_t)s->windows, "nats_per_byte", number_or_null(s->nats_per_byte),
                                        "logit_error", number_or_null(s->logit_error), "prompt_tokens_per_s",
                                        s->prompt_tokens_per_s, "single_tokens_per_s", s->single_tokens_per_s));
    }
    root = json_pack("{s:s, s:i, s:{s:b, s:I}, s:{s:o, s:f, s:b}, s:o, s:f, s:o, s:s?}", "version", gmm_version(),
                     "threads", (int)gmm_context_threads(r->context), "text", "equal", r->text_equal, "bytes_compared",
                     (json_int_t)r->compared_bytes, "logits", "error", number_or_null(r->logit_error), "margin",
                     r->margin, "same_alone", r->same_alone, "replay", replay_json(r), "reference_nats_per_byte",
                     reference_nats(r->expected, r->scores[0].windows), "formats", rows, "fault", fault);
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(root);
}
