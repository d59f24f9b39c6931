/* tinymoe.c - the demo: a trained mixture-of-experts model, run by libgathermm alone. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "results.h"
#include "stop.h"

/* The path of this program, for starting it again and for what lies beside it. */
static const char *own_path(const char *argv0)
{
    static char path[4096];
    ssize_t bytes = readlink("/proc/self/exe", path, sizeof path - 1);

    return bytes > 0 ? path : argv0; /* systems without /proc start it by argv[0] */
}

/*
 * libgomp's threads spin for some milliseconds after each parallel loop. Beside other programs that made one token at a
 * time ten times as slow (12 tokens/s for 120 on two busy cores). It reads its limit when a program starts, so start
 * again with one.
 */
static void limit_spinning(const char *self, char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY") || setenv("GOMP_SPINCOUNT", "5000", 1) != 0)
        return;
    execvp(self, argv); /* returns only if it cannot; then it is slow at worst */
}

static char *beside(const char *self, const char *name)
{
    const char *slash = strrchr(self, '/');
    int directory_bytes = slash ? (int)(slash - self) : 1;
    size_t bytes = (size_t)directory_bytes + strlen(name) + 2;
    char *path = allocate((int64_t)bytes, 1);

    snprintf(path, bytes, "%.*s/%s", directory_bytes, slash ? self : ".", name);
    return path;
}

/* --prompt: continue a text, nothing else. */
static void continue_text(const flags *f, const checkpoint *source, const gmm_context *context)
{
    int64_t prompt_bytes = (int64_t)strlen(f->prompt);
    model *m = model_create(source, context, f->formats[0]);
    uint8_t *text;

    if (prompt_bytes + f->generate > m->config.positions)
        stop(EXIT_USAGE, "%" PRId64 " bytes of prompt and %" PRId64 " more exceed the model's context of %" PRId64,
             prompt_bytes, f->generate, m->config.positions);
    text = allocate(prompt_bytes + f->generate, 1);
    memcpy(text, f->prompt, (size_t)prompt_bytes);
    generate(m, text, prompt_bytes, f->generate);
    fwrite(text, 1, (size_t)(prompt_bytes + f->generate), stdout);
    putchar('\n');
    free(text);
    model_destroy(m);
}

/* Text and logits of the f32 weights. */
static void check_model(results *r, const flags *f, const model *m)
{
    const reference *expected = r->expected;
    uint8_t *text = allocate(expected->prompt_bytes + f->generate, 1);
    float *together = reference_logits(m, expected, expected->token_count), *alone = reference_logits(m, expected, 1);
    size_t logits_bytes = (size_t)(expected->token_count * m->config.vocab) * sizeof *together;

    memcpy(text, expected->text, (size_t)expected->prompt_bytes);
    generate(m, text, expected->prompt_bytes, f->generate);
    r->text = text;
    r->text_bytes = expected->prompt_bytes + f->generate;
    r->compared_bytes = r->text_bytes < expected->text_bytes ? r->text_bytes : expected->text_bytes;
    r->text_equal = memcmp(text, expected->text, (size_t)r->compared_bytes) == 0;
    r->logit_error = logit_error(together, expected, m->config.vocab);
    r->margin = reference_margin(expected, m->config.vocab);
    r->same_alone = memcmp(together, alone, logits_bytes) == 0;
    if (!f->json) {
        results_show_text(r);
        results_show_logits(r);
    }
    free(together);
    free(alone);
}

static void replay(results *r, const flags *f, const char *self)
{
    r->processes = f->processes;
    r->processes_right = replay_processes(self, f->processes, f->threads);
    r->faulty_path = f->faulty_blas ? strdup(f->faulty_blas) : beside(self, "libfaulty_blas_m1.so");
    if (!replay_faulty(r->context, r->faulty_path, r->cases, &r->faulty_missing) && f->faulty_blas)
        stop(EXIT_BROKEN, "--faulty-blas %s: %s", f->faulty_blas, r->faulty_missing);
    if (!f->json)
        results_show_replay(r);
}

static int run_demo(const flags *f, const checkpoint *source, const gmm_context *context, const char *self)
{
    reference expected;
    results r = {.expected = &expected, .context = context};
    model *m;
    int status;

    reference_open(&expected, source);
    if (expected.prompt_bytes + f->generate > source->config.positions)
        stop(EXIT_USAGE, "--generate: the model's context has room for %" PRId64 " bytes after the prompt",
             source->config.positions - expected.prompt_bytes);
    if (f->windows > expected.windows)
        stop(EXIT_USAGE, "--windows: there are %" PRId64, expected.windows);
    m = model_create(source, context, &weight_formats[0]);
    if (!f->json)
        results_show_head(&r, m);
    check_model(&r, f, m);
    model_destroy(m);
    replay(&r, f, self);
    for (int i = 0; i < f->format_count; i++) {
        m = model_create(source, context, f->formats[i]);
        r.scores[r.score_count++] = evaluate(m, &expected, f->windows ? f->windows : expected.windows, f->generate);
        model_destroy(m);
    }
    if (f->json)
        results_show_json(&r);
    else
        results_show_table(&r);
    status = results_fault(&r) ? EXIT_WRONG : EXIT_FINE;
    free(r.text);
    free(r.faulty_path);
    reference_close(&expected);
    return status;
}

int main(int argc, char **argv)
{
    gmm_context_options options = {.size = sizeof options};
    gmm_context *context;
    checkpoint source;
    flags f;
    const char *self = own_path(argv[0]);
    int status = EXIT_FINE;

    flags_read(&f, argc, argv);
    limit_spinning(self, argv);
    options.threads = f.threads;
    must(gmm_context_create(&options, &context), "context");
    if (f.replay_seed) {
        status = replay_one(context, (uint64_t)f.replay_seed) ? EXIT_WRONG : EXIT_FINE;
    } else {
        checkpoint_open(&source, f.model);
        if (f.prompt)
            continue_text(&f, &source, context);
        else
            status = run_demo(&f, &source, context, self);
        checkpoint_close(&source);
    }
    gmm_context_destroy(context);
    if (fflush(stdout) != 0)
        stop(EXIT_BROKEN, "standard output cannot be written");
    return status;
}
