/* bench_run.c - a benchmark from its request to its files: weights, rows in batches between measurements, results. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "bench.h"
#include "command.h"
#include "gathermm/ceilings.h"
#include "output.h"
#include "progress.h"
#include "stop_signals.h"

/* Rows between two measurements of the ceilings take about so long. */
#define BATCH_SECONDS 10.0

/* A run: rows come one by one, and wait for the measurement of the ceilings that ends their batch. */
typedef struct running {
    const bench_request *request;
    bench_outputs *out;
    gmm_context **contexts;   /* [modes][numbers of threads] */
    gmm_context **blas;       /* [numbers of threads]; NULL without --blas */
    bench_ceilings *ceilings; /* one for each number of threads */
    bench_row *rows;
    size_t count, held;
    double batch_begin;
    const bench_shape *titled; /* the shape under whose titles rows are printed */
    progress bar;
} running;

/* The length of rows of matrices that are no whole groups of the format; 0: all are. */
static int64_t broken_rows(const bench_request *request, const bench_shape *shape, const bench_format *format)
{
    int64_t columns = request->plain ? shape->n : shape->k;

    if (!format->quantized)
        return 0;
    if (columns % format->group_size != 0)
        return columns;
    return request->layers && shape->n % format->group_size != 0 ? shape->n : 0;
}

static bool fits(const bench_request *request, const bench_shape *shape, const bench_format *format)
{
    return broken_rows(request, shape, format) == 0;
}

__attribute__((format(printf, 2, 3))) static void note(running *run, const char *format, ...)
{
    va_list arguments;
    FILE *to = run->out->text ? run->out->text : stderr;

    progress_wipe(&run->bar);
    fputs(run->out->text ? "note: " : "gathermm: note: ", to);
    va_start(arguments, format);
    vfprintf(to, format, arguments);
    va_end(arguments);
    fputc('\n', to);
    fflush(to);
}

/* What the memory does not allow is said, for it changes what is measured. Of layers, `w` is the first part of several
 * that are of a size. */
static void note_size(running *run, const bench_shape *shape, const bench_weights *w)
{
    char bytes[24], caches[24];
    int64_t parts = bench_part_count(run->request), total = w->stacks * w->stack_bytes * parts;

    if (!w->stacks) {
        note(run, "%s in %s left out: %d experts take %s (--memory)", shape->name, w->format->name, (int)shape->top_k,
             bytes_text((uint64_t)(w->matrix_bytes * parts * shape->top_k), bytes));
        return;
    }
    if (w->experts < shape->experts)
        note(run, "%s in %s: %" PRId64 " of %d experts are held (--memory)", shape->name, w->format->name, w->experts,
             (int)shape->experts);
    if (!run->request->in_cache && total < 3 * gmm_cache_bytes())
        note(run, "%s in %s: weights of %s (--memory), caches of %s: some reads may come from a cache", shape->name,
             w->format->name, bytes_text((uint64_t)total, bytes), bytes_text((uint64_t)gmm_cache_bytes(), caches));
}

/* Measure all ceilings, then judge and print the rows that waited. */
static int end_batch(running *run)
{
    int status = EXIT_FINE;

    progress_add(&run->bar, 0, "ceilings");
    for (size_t t = 0; !status && t < run->request->thread_count; t++)
        status = bench_ceilings_measure(&run->ceilings[t], run->request->seconds);
    if (status)
        return status;
    progress_wipe(&run->bar);
    for (; run->held < run->count; run->held++) {
        bench_row *row = &run->rows[run->held];
        bench_hold(row);
        if (!run->out->text)
            continue;
        if (row->shape != run->titled)
            bench_print_titles(run->out->text, row);
        run->titled = row->shape;
        bench_print_row(run->out->text, row);
    }
    run->batch_begin = monotonic_seconds();
    return EXIT_FINE;
}

/* The same products once more, through the BLAS. */
static int time_blas(bench_row *row, const bench_request *request, const bench_weights *weights,
                     const gmm_context *context)
{
    bench_row other = *row;
    bool takes = !row->format->quantized && row->format->dtype == GMM_F32 && row->activations->dtype == GMM_F32 &&
                 row->mode->arithmetic == GMM_ARITHMETIC_F32;

    if (!takes)
        return EXIT_FINE;
    int status = bench_time(&other, request, weights, context);
    row->blas_ratio = row->median_s > 0 ? other.median_s / row->median_s : 0;
    return status;
}

static int run_row(running *run, bench_row row, const bench_weights *weights, const gmm_context *context,
                   const gmm_context *blas)
{
    char *doing = must_format("%s %s x %s, %s, tokens %d, threads %d", row.shape->name, row.format->name,
                              row.activations->name, row.mode->name, (int)row.tokens, (int)row.threads);

    progress_add(&run->bar, 0, doing);
    int status = (row.layer ? bench_time_layer : bench_time)(&row, run->request, weights, context);
    if (blas && !status && !stop_signal())
        status = time_blas(&row, run->request, weights, blas);
    free(doing);
    if (status || stop_signal())
        return status;
    run->rows[run->count++] = row;
    progress_add(&run->bar, 1, "");
    return monotonic_seconds() - run->batch_begin > BATCH_SECONDS ? end_batch(run) : EXIT_FINE;
}

/* All rows of one shape, format, activations and mode. */
static int run_tokens(running *run, bench_row row, const bench_weights *weights, gmm_context *const *contexts)
{
    const bench_request *r = run->request;
    int status = EXIT_FINE;

    for (size_t i = 0; i < r->token_count; i++)
        for (size_t t = 0; !status && !stop_signal() && t < r->thread_count; t++) {
            row.tokens = r->tokens[i];
            row.threads = r->threads[t];
            row.ceilings = &run->ceilings[t];
            status = run_row(run, row, weights, contexts[t], run->blas ? run->blas[t] : NULL);
        }
    return status;
}

static void free_weights(bench_weights weights[BENCH_PARTS])
{
    for (int part = 0; part < BENCH_PARTS; part++)
        bench_weights_free(&weights[part]);
}

/* The matrices of one shape and format: for products, or for gate, up and down. */
static int make_weights(running *run, const bench_shape *shape, const bench_format *format, gmm_dtype scales,
                        bench_weights weights[BENCH_PARTS])
{
    const bench_shape turned = {shape->name, shape->n, shape->k, shape->experts, shape->top_k};
    int status = EXIT_FINE;

    free_weights(weights);
    progress_add(&run->bar, 0, "making weights");
    for (int part = 0; !status && part < bench_part_count(run->request); part++) {
        status = bench_weights_make(&weights[part], run->request, part == 2 ? &turned : shape, format, scales);
        if (!status && !weights[0].stacks)
            break;
    }
    if (!status)
        note_size(run, shape, &weights[0]);
    return status;
}

/* All rows of one shape and format. Affine scales have the type of 16-bit activations, so that the product has it too;
 * bf16 with f32 ones, as checkpoints do. */
static int run_format(running *run, const bench_shape *shape, const bench_format *format)
{
    const bench_request *r = run->request;
    bench_weights weights[BENCH_PARTS] = {0};
    gmm_dtype made_for = GMM_BOOL;
    int status = EXIT_FINE;

    for (size_t a = 0; !status && !stop_signal() && a < r->activation_count; a++) {
        const bench_activations *activations = r->activations[a];
        gmm_dtype scales = format->has_biases && activations->dtype == GMM_F16 ? GMM_F16 : GMM_BF16;
        if (scales != made_for) {
            status = make_weights(run, shape, format, scales, weights);
            made_for = scales;
        }
        for (size_t m = 0; !status && weights[0].stacks && m < r->mode_count; m++)
            if (bench_mode_fits(r->modes[m], r, format))
                status = run_tokens(run,
                                    (bench_row){.shape = shape,
                                                .format = format,
                                                .activations = activations,
                                                .mode = r->modes[m],
                                                .weights = r->prepared ? "prepared" : "raw",
                                                .layout = r->plain ? "plain" : "transposed",
                                                .in_cache = r->in_cache,
                                                .layer = r->layers},
                                    weights, run->contexts + m * r->thread_count);
    }
    free_weights(weights);
    return status;
}

static int run_all(running *run)
{
    const bench_request *r = run->request;
    int status = end_batch(run); /* the measurement before the first row */

    for (size_t s = 0; s < r->shape_count; s++)
        for (size_t f = 0; !status && !stop_signal() && f < r->format_count; f++) {
            const bench_shape *shape = &r->shapes[s];
            const bench_format *format = &r->formats[f];
            if (fits(r, shape, format))
                status = run_format(run, shape, format);
            else
                note(run, "%s: %s left out: rows of %" PRId64 " weights are no whole groups of %d", shape->name,
                     format->name, broken_rows(r, shape, format), (int)format->group_size);
        }
    if (!status && !stop_signal() && run->held < run->count)
        status = end_batch(run);
    return status;
}

static uint64_t row_count(const bench_request *r)
{
    uint64_t count = 0;

    for (size_t s = 0; s < r->shape_count; s++)
        for (size_t f = 0; f < r->format_count; f++)
            for (size_t m = 0; m < r->mode_count; m++)
                count += fits(r, &r->shapes[s], &r->formats[f]) && bench_mode_fits(r->modes[m], r, &r->formats[f]);
    return count * r->activation_count * r->token_count * r->thread_count;
}

/* ---- before and after -------------------------------------------------------------------------------------------- */

static int make_contexts(running *run)
{
    const bench_request *r = run->request;
    gmm_context *probe;

    /* Without --cpu-mask only the environment can be at fault. */
    gmm_status status = gmm_context_create(NULL, &probe);
    if (status)
        return complain_status(status);
    gmm_context_destroy(probe);
    for (size_t i = 0; i < r->mode_count * r->thread_count; i++) {
        gmm_context_options wanted = {.size = sizeof wanted,
                                      .threads = r->threads[i % r->thread_count],
                                      .cpu_mask = r->cpu_mask,
                                      .arithmetic = r->modes[i / r->thread_count]->arithmetic};
        status = gmm_context_create(&wanted, &run->contexts[i]);
        if (status == GMM_ERR_CPU)
            return usage_error(&cmd_bench, "--cpu-mask: %s", gmm_error_detail());
        if (status)
            return complain_status(status);
    }
    if (r->blas)
        run->blas = must_allocate(r->thread_count, sizeof *run->blas);
    for (size_t t = 0; run->blas && t < r->thread_count; t++) {
        gmm_context_options wanted = {
            .size = sizeof wanted, .threads = r->threads[t], .cpu_mask = r->cpu_mask, .blas = r->blas};
        status = gmm_context_create(&wanted, &run->blas[t]);
        if (status)
            return complain_status(status);
    }
    for (size_t t = 0; t < r->thread_count; t++)
        run->ceilings[t] = (bench_ceilings){.context = run->contexts[t], .threads = r->threads[t]};
    return EXIT_FINE;
}

static int begin_outputs(bench_outputs *out)
{
    int status = EXIT_FINE;

    if (out->compare_path && !(out->old = bench_load_rows(out->compare_path)))
        status = EXIT_COULD_NOT_RUN;
    if (!status && out->json_path)
        status = whole_file_begin(&out->json, out->json_path);
    if (!status && out->csv_path)
        status = whole_file_begin(&out->csv, out->csv_path);
    if (!status && out->plot_path)
        status = whole_file_begin(&out->plot, out->plot_path);
    return status;
}

/* Nothing is faster than its ceiling, unless the two met different machines. */
static void note_busy(running *run)
{
    size_t above = 0;

    for (size_t i = 0; i < run->count; i++)
        above += run->rows[i].ceiling_share > 1.1;
    if (above && !run->request->in_cache)
        note(run,
             "%zu row%s above 110%% of the ceiling: weights came from a cache, or something else kept the machine busy "
             "while the ceiling was measured",
             above, above == 1 ? " is" : "s are");
}

/* Everything is written first and then published, so that a full disk leaves neither half a file nor half of the files.
 */
static int finish_outputs(running *run)
{
    bench_outputs *out = run->out;
    whole_file *files[] = {&out->json, &out->csv, &out->plot};
    int status = EXIT_FINE;

    if (out->text) {
        fprintf(out->text, "\nceilings, medians of the run:\n");
        for (size_t t = 0; t < run->request->thread_count; t++)
            bench_print_ceilings(out->text, &run->ceilings[t]);
    }
    note_busy(run);
    if (out->json.stream)
        bench_write_json(out->json.stream, run->rows, run->count);
    if (out->csv.stream)
        bench_write_csv(out->csv.stream, run->rows, run->count);
    if (out->plot.stream)
        bench_plot(out->plot.stream, run->rows, run->count, run->ceilings, run->request->thread_count);
    for (size_t i = 0; !status && i < 3; i++)
        status = whole_file_publish(files[i]);
    if (!status && out->old && bench_compare(out->text ? out->text : stderr, out->old, run->rows, run->count))
        status = EXIT_FOUND;
    return status;
}

static void release(running *run)
{
    bench_outputs *out = run->out;

    for (size_t i = 0; i < run->request->mode_count * run->request->thread_count; i++)
        gmm_context_destroy(run->contexts[i]);
    for (size_t t = 0; run->blas && t < run->request->thread_count; t++)
        gmm_context_destroy(run->blas[t]);
    free(run->blas);
    free(run->contexts);
    free(run->ceilings);
    free(run->rows);
    whole_file_abandon(&out->json);
    whole_file_abandon(&out->csv);
    whole_file_abandon(&out->plot);
    json_decref(out->old);
}

int bench_run(const bench_request *request, bench_outputs *out)
{
    uint64_t count = row_count(request);
    if (!count && fits(request, &request->shapes[0], &request->formats[0]))
        return usage_error(&cmd_bench, "%s weights have no %s sums in this layout", request->formats[0].name,
                           request->modes[0]->name);
    if (!count)
        return usage_error(&cmd_bench, "rows of %" PRId64 " weights are no whole groups of %s",
                           broken_rows(request, &request->shapes[0], &request->formats[0]), request->formats[0].name);
    running run = {
        .request = request,
        .out = out,
        .contexts = must_allocate(request->mode_count * request->thread_count, sizeof *run.contexts),
        .ceilings = must_allocate(request->thread_count, sizeof *run.ceilings),
        .rows = must_allocate(count, sizeof *run.rows),
    };

    stop_notice();
    int status = make_contexts(&run);
    if (!status)
        status = begin_outputs(out);
    if (!status) {
        progress_start(&run.bar, count, "rows", false);
        status = run_all(&run);
        progress_end(&run.bar);
    }
    if (!status && !stop_signal() && !run.count) {
        complain("no row could be timed: use --memory");
        status = EXIT_COULD_NOT_RUN;
    }
    if (!status && !stop_signal())
        status = finish_outputs(&run);
    release(&run);
    if (stop_signal())
        complain("stopped by a signal; no file is written");
    stop_die();
    return status;
}
