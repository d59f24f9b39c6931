/* layer_run.c - layers of a checkpoint one by one: loaded, run, checked, timed in every format, and told to go again.
 */
/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "gathermm/io.h"
#include "layer.h"
#include "output.h"
#include "progress.h"
#include "shard_set.h"
#include "stop_signals.h"

/* Drawn hidden states, so that runs of one token do not always meet the same experts. */
#define LEAST_DRAWN 64

/* Seconds for which measured ceilings hold. */
#define CEILINGS_LAST 1.0

/* Stands for an error that is no number: JSON has none for it. */
#define LARGEST 1e9

typedef struct running {
    const layer_request *request;
    gmm_checkpoint *checkpoint;
    gmm_context *context;
    bench_ceilings ceilings;
    double measured; /* when they were */
    size_t *chosen;  /* numbers of layers for gmm_checkpoint_layer_load */
    size_t chosen_count;
    gmm_checkpoint_layer *described; /* of the chosen ones */
    layer_facts *facts;
    layer_row *rows;
    size_t count, held;
    layer_input given; /* --input */
    float *output;     /* for --output */
    FILE *text;        /* NULL: standard output is for a program */
    whole_file json, plot;
    char *unfinished; /* the file that will be --output */
    progress bar;
} running;

/* One layer at work. */
typedef struct working {
    layer_facts *facts;
    const gmm_moe_layer *moe; /* as in the files */
    layer_input input;
    layer_choice choice;
    layer_exact exact;
    int64_t *checked; /* rows of the input */
} working;

static int print_note(running *run, char *message)
{
    FILE *to = run->text ? run->text : stderr;

    progress_wipe(&run->bar);
    fprintf(to, "%snote: %s\n", run->text ? "" : "gathermm: ", message);
    free(message);
    return EXIT_FINE;
}

/* ---- which layers ------------------------------------------------------------------------------------------------ */

static char *layer_numbers(const gmm_checkpoint *opened)
{
    char *text = must_format("%s", "");
    gmm_checkpoint_layer layer;

    for (size_t i = 0; gmm_checkpoint_layer_at(opened, i, &layer); i++) {
        char *longer = must_format("%s%s%" PRId64, text, i ? ", " : "", layer.number);
        free(text);
        text = longer;
    }
    return text;
}

/* Choose the layers in [first, last]; false if there is none. */
static bool choose_range(running *run, int32_t first, int32_t last)
{
    gmm_checkpoint_layer layer;
    bool any = false;

    for (size_t i = 0; gmm_checkpoint_layer_at(run->checkpoint, i, &layer); i++) {
        bool there = false;
        if (layer.number < first || layer.number > last)
            continue;
        for (size_t c = 0; c < run->chosen_count; c++)
            there |= run->chosen[c] == i;
        if (!there)
            run->chosen[run->chosen_count++] = i;
        any = true;
    }
    return any;
}

/* One of "0" and "3-5". */
static char *choose_word(running *run, const char *word)
{
    const char *dash = strchr(word, '-');
    char *from = must_format("%.*s", dash ? (int)(dash - word) : (int)strlen(word), word), *message = NULL;
    int32_t first, last;

    if (!parse_number(from, 0, INT32_MAX, &first) || !parse_number(dash ? dash + 1 : from, first, INT32_MAX, &last)) {
        message = must_format("'%s' is neither a layer's number nor a range like 3-5", word);
    } else if (!choose_range(run, first, last)) {
        char *numbers = layer_numbers(run->checkpoint);
        message = must_format("'%s' has no layer with experts; these have: %s", word, numbers);
        free(numbers);
    }
    free(from);
    return message;
}

static int choose_layers(running *run)
{
    const char *rest = run->request->layers;
    size_t count = gmm_checkpoint_layer_count(run->checkpoint);
    char *message = NULL;

    run->chosen = must_allocate(count + 1, sizeof *run->chosen);
    if (!rest)
        choose_range(run, 0, INT32_MAX);
    while (rest && !message) {
        size_t length = strcspn(rest, ",");
        char *word = must_format("%.*s", (int)length, rest);
        message = choose_word(run, word);
        free(word);
        rest = rest[length] ? rest + length + 1 : NULL;
    }
    if (message) {
        char *shown = escape_text(message);
        usage_error(&cmd_moe, "--layers: %s", shown);
        free(shown);
        free(message);
        return EXIT_USAGE;
    }
    run->described = must_allocate(run->chosen_count + 1, sizeof *run->described);
    run->facts = must_allocate(run->chosen_count + 1, sizeof *run->facts);
    for (size_t c = 0; c < run->chosen_count; c++)
        gmm_checkpoint_layer_at(run->checkpoint, run->chosen[c], &run->described[c]);
    if (run->request->output_path && run->chosen_count != 1)
        return usage_error(&cmd_moe, "--output takes one layer, and there are %zu: use --layers", run->chosen_count);
    return EXIT_FINE;
}

/* ---- one layer --------------------------------------------------------------------------------------------------- */

/* Whole outputs, which also bring every expert that will be timed into memory. */
static int run_all_tokens(running *run, const working *w)
{
    const int64_t shape[] = {w->input.rows, w->input.hidden};
    gmm_array x = {.data = w->input.values, .dtype = GMM_F32, .ndim = 2, .shape = shape}, out = x;

    out.data = must_allocate((size_t)(shape[0] * shape[1]), sizeof(float));
    gmm_status status = gmm_moe_run(run->context, w->moe, &x, NULL, NULL, &out);
    if (!status && run->request->output_path)
        run->output = out.data;
    else
        free(out.data);
    return status && status != GMM_ERR_CANCELLED ? complain_status(status) : EXIT_FINE;
}

static void measure_balance(working *w)
{
    layer_facts *f = w->facts;
    int64_t slots = w->choice.tokens * w->choice.slots, most = 0;
    int64_t *counts = must_allocate((size_t)f->info.experts, sizeof *counts);

    for (int64_t i = 0; i < slots; i++)
        counts[w->choice.ids[i]]++;
    f->routing_tokens = w->choice.tokens;
    for (int64_t e = 0; e < f->info.experts; e++) {
        double share = (double)counts[e] / (double)slots;
        f->experts_used += counts[e] > 0;
        f->entropy -= counts[e] ? share * log2(share) : 0;
        most = counts[e] > most ? counts[e] : most;
    }
    f->busiest = (double)most / (double)slots * (double)f->info.experts;
    free(counts);
}

/* Choose rows from the first to the last evenly, and compute what they give. */
static gmm_status compute_exactly(const running *run, working *w)
{
    int64_t wanted = run->request->check < w->input.rows ? run->request->check : w->input.rows;
    gmm_status status = layer_choose(w->moe, &w->facts->info, w->input.values, w->input.rows, &w->choice);

    if (status)
        return status;
    w->checked = must_allocate((size_t)wanted + 1, sizeof *w->checked);
    for (int64_t i = 0; i < wanted; i++) {
        int64_t row = i * w->input.rows / wanted;
        if (w->choice.undecided[row])
            w->facts->undecided++;
        else
            w->checked[w->facts->checked++] = row;
    }
    return layer_compute(w->moe, &w->facts->info, w->input.values, &w->choice, w->checked, w->facts->checked,
                         &w->exact);
}

/* Against the layer in the files, and against the bound for the weights that it has. */
static void compare(layer_row *row, const float *got, const working *w, const layer_exact *own)
{
    double off = 0, size = 0;

    for (int64_t i = 0; i < w->facts->checked * w->input.hidden; i++) {
        double error = (double)got[i] - w->exact.y[i], ratio = fabs((double)got[i] - own->y[i]) / own->bound[i];
        off += error * error;
        size += w->exact.y[i] * w->exact.y[i];
        row->bound_ratio = fmax(row->bound_ratio, isfinite(ratio) ? ratio : LARGEST);
    }
    row->error = size > 0 ? sqrt(off / size) : 0;
    row->error = isfinite(row->error) ? row->error : LARGEST;
}

static int check(const running *run, const working *w, const gmm_moe_layer *moe, layer_row *row)
{
    const int64_t shape[] = {w->facts->checked, w->input.hidden};
    size_t count = (size_t)(shape[0] * shape[1]);
    gmm_array x = {.dtype = GMM_F32, .ndim = 2, .shape = shape}, out = x;
    layer_exact own = {0};
    gmm_status status = GMM_OK;

    if (!w->facts->checked)
        return EXIT_FINE;
    x.data = must_allocate(count, sizeof(float));
    out.data = must_allocate(count, sizeof(float));
    for (int64_t i = 0; i < shape[0]; i++)
        memcpy((float *)x.data + i * shape[1], w->input.values + w->checked[i] * shape[1],
               (size_t)shape[1] * sizeof(float));
    if (!row->stored)
        status = layer_compute(moe, &w->facts->info, w->input.values, &w->choice, w->checked, shape[0], &own);
    if (!status)
        status = gmm_moe_run(run->context, moe, &x, NULL, NULL, &out);
    if (!status)
        compare(row, out.data, w, row->stored ? &w->exact : &own);
    free(x.data);
    free(out.data);
    layer_exact_free(&own);
    return status && status != GMM_ERR_CANCELLED ? complain_status(status) : EXIT_FINE;
}

/* All rows of one format. */
static int run_rows(running *run, const working *w, const gmm_moe_layer *moe, layer_row row)
{
    const gmm_moe_projections *p = &moe->experts;
    const bench_request *lists = &run->request->lists;
    int status;

    row.facts = w->facts;
    row.threads = gmm_context_threads(run->context);
    row.expert_bytes = layer_weight_bytes(&p->gate) + layer_weight_bytes(&p->up) + layer_weight_bytes(&p->gate_up) +
                       layer_weight_bytes(&p->down);
    status = check(run, w, moe, &row);
    for (size_t t = 0; !status && !stop_signal() && t < lists->token_count; t++) {
        row.tokens = lists->tokens[t];
        char *doing =
            must_format("layer %" PRId64 ", %s, tokens %d", w->facts->layer->number, row.format, (int)row.tokens);
        progress_add(&run->bar, 0, doing);
        status = layer_time(&row, run->request, run->context, moe, &w->input, &w->choice);
        if (!status && !stop_signal())
            run->rows[run->count++] = row;
        progress_add(&run->bar, 1, doing);
        free(doing);
    }
    return status;
}

static int run_format(running *run, const working *w, const bench_format *format)
{
    layer_copy copy = {0};
    layer_row row = {0};
    int64_t cols;
    int status;

    if (!strcmp(format->name, w->facts->format)) { /* that is what is stored */
        progress_add(&run->bar, run->request->lists.token_count, "");
        return EXIT_FINE;
    }
    if (!layer_format_fits(w->facts->layer, format, &cols)) {
        progress_add(&run->bar, run->request->lists.token_count, "");
        return print_note(run, must_format("layer %" PRId64 ": %s left out: rows of %" PRId64
                                           " weights are no whole groups of %d",
                                           w->facts->layer->number, format->name, cols, (int)format->group_size));
    }
    char *doing = must_format("layer %" PRId64 ", quantizing to %s", w->facts->layer->number, format->name);
    progress_add(&run->bar, 0, doing);
    free(doing);
    gmm_status failed = layer_copy_make(&copy, w->moe, w->facts->layer, format);
    memcpy(row.format, format->name, sizeof row.format);
    status = failed ? complain_status(failed) : run_rows(run, w, &copy.moe, row);
    layer_copy_free(&copy);
    return status;
}

static int run_formats(running *run, working *w)
{
    const bench_request *lists = &run->request->lists;
    layer_row row = {.stored = true};
    int status = run_all_tokens(run, w);

    if (status || stop_signal())
        return status;
    progress_add(&run->bar, 0, "double precision");
    gmm_status failed = compute_exactly(run, w);
    if (failed)
        return complain_status(failed);
    measure_balance(w);
    memcpy(row.format, w->facts->format, sizeof row.format);
    status = run_rows(run, w, w->moe, row);
    for (size_t f = 0; !status && !stop_signal() && f < lists->format_count; f++)
        status = run_format(run, w, &lists->formats[f]);
    return status;
}

/* The hidden states of a layer. */
static void take_input(const running *run, working *w, const gmm_checkpoint_layer *layer)
{
    int64_t rows = LEAST_DRAWN;

    if (run->given.rows) {
        w->input = run->given;
        return;
    }
    for (size_t t = 0; t < run->request->lists.token_count; t++)
        rows = run->request->lists.tokens[t] > rows ? run->request->lists.tokens[t] : rows;
    layer_input_draw(&w->input, run->request->path, layer->number, rows, layer->hidden, run->request->seed);
}

static int run_loaded(running *run, const gmm_checkpoint_layer *loaded, layer_facts *facts)
{
    working w = {.facts = facts};
    const gmm_moe_layer *described;
    gmm_status failed = gmm_moe_layer_from_checkpoint(loaded, &described);

    if (failed)
        return complain_status(failed);
    gmm_moe_layer moe = *described;
    moe.progress = layer_goes_on;
    w.moe = &moe;
    facts->owned = loaded->owned_bytes;
    layer_format_name(facts->layer, facts->format);
    failed = gmm_moe_describe(&moe, &facts->info);
    int status = failed ? complain_status(failed) : EXIT_FINE;
    if (!status) {
        take_input(run, &w, facts->layer);
        status = run_formats(run, &w);
    }
    if (!run->given.rows)
        free(w.input.values);
    free(w.checked);
    layer_choice_free(&w.choice);
    layer_exact_free(&w.exact);
    gmm_moe_layer_free(described);
    return status;
}

static int measure_ceilings(running *run)
{
    progress_add(&run->bar, 0, "ceilings");
    int status = bench_ceilings_measure(&run->ceilings, run->request->seconds);
    run->measured = monotonic_seconds();
    return status;
}

/* Measure the ceilings anew if it has been a while, then judge and print the rows of the layer. */
static int end_layer(running *run, const layer_facts *facts)
{
    int status = EXIT_FINE;

    if (monotonic_seconds() - run->measured > CEILINGS_LAST)
        status = measure_ceilings(run);
    if (status)
        return status;
    progress_wipe(&run->bar);
    if (run->text) {
        layer_print_facts(run->text, facts);
        layer_print_titles(run->text);
    }
    layer_row *rows = run->rows + run->held;
    size_t count = run->count - run->held, *order = layer_order(rows, count);
    for (size_t i = 0; i < count; i++) {
        layer_hold(&rows[order[i]], &run->ceilings);
        if (run->text)
            layer_print_row(run->text, &rows[order[i]]);
    }
    free(order);
    run->held = run->count;
    return EXIT_FINE;
}

/* The next layer is asked for while this one works, and this one may go afterwards. */
static int run_layer(running *run, size_t c)
{
    const gmm_checkpoint_layer *loaded;
    layer_facts *facts = &run->facts[c];
    size_t number = run->chosen[c];
    gmm_status failed = gmm_checkpoint_layer_load(run->checkpoint, number, NULL, &loaded);

    if (failed)
        return complain_status(failed);
    facts->layer = &run->described[c];
    if (c + 1 < run->chosen_count)
        gmm_checkpoint_advise(run->checkpoint, run->chosen[c + 1], -1, GMM_CHECKPOINT_WILL_NEED);
    int status = run_loaded(run, loaded, facts);
    if (gmm_checkpoint_resident(run->checkpoint, number, &facts->resident))
        facts->resident = -1;
    gmm_checkpoint_layer_free(loaded);
    gmm_checkpoint_advise(run->checkpoint, number, -1, GMM_CHECKPOINT_DONT_NEED);
    return status || stop_signal() ? status : end_layer(run, facts);
}

/* ---- before and after -------------------------------------------------------------------------------------------- */

/* Tokens that are asked for must be there; by default those are that fit. */
static int set_tokens(running *run, bench_request *lists)
{
    static const int32_t usual[] = {1, 32, 512};

    for (size_t t = 0; run->given.rows && t < lists->token_count; t++)
        if (lists->tokens[t] > run->given.rows)
            return usage_error(&cmd_moe, "--tokens: %d are asked for, and the input has %" PRId64,
                               (int)lists->tokens[t], run->given.rows);
    if (lists->token_count)
        return EXIT_FINE;
    lists->tokens = must_allocate(3, sizeof *lists->tokens);
    for (size_t t = 0; t < 3; t++)
        if (!run->given.rows || usual[t] <= run->given.rows)
            lists->tokens[lists->token_count++] = usual[t];
    return EXIT_FINE;
}

static int read_input(running *run)
{
    const char *path = run->request->input_path;
    int status = path ? layer_input_read(&run->given, path) : EXIT_FINE;

    for (size_t c = 0; !status && path && c < run->chosen_count; c++)
        if (run->described[c].hidden != run->given.hidden) {
            char *shown = escape_text(path);
            complain("%s: it is (%" PRId64 ", %" PRId64 "); layer %" PRId64 " takes (tokens, %" PRId64 ")", shown,
                     run->given.rows, run->given.hidden, run->described[c].number, run->described[c].hidden);
            free(shown);
            status = EXIT_COULD_NOT_RUN;
        }
    return status;
}

static int make_context(running *run)
{
    gmm_context_options options = {.size = sizeof options, .threads = run->request->threads};
    gmm_context *probe;
    gmm_status status = gmm_context_create(&options, &probe); /* without --cpu-mask only the environment can be wrong */

    if (status)
        return complain_status(status);
    gmm_context_destroy(probe);
    options.cpu_mask = run->request->cpu_mask;
    status = gmm_context_create(&options, &run->context);
    if (status == GMM_ERR_CPU)
        return usage_error(&cmd_moe, "--cpu-mask: %s", gmm_error_detail());
    run->ceilings = (bench_ceilings){.context = run->context, .threads = gmm_context_threads(run->context)};
    return status ? complain_status(status) : EXIT_FINE;
}

static bool can_write_beside(const char *path)
{
    char *directory, *name;

    split_path(path, &directory, &name);
    bool can = access(directory, W_OK) == 0;
    if (!can) {
        int error = errno;
        char *shown = escape_text(path);
        complain("%s: cannot be written: %s", shown, strerror(error));
        free(shown);
    }
    free(directory);
    free(name);
    return can;
}

/* A place where nothing can be written is known before the work. */
static int begin_outputs(running *run)
{
    const layer_request *r = run->request;
    const int64_t none[] = {0, 0};
    const gmm_array empty = {.dtype = GMM_F32, .ndim = 2, .shape = none};
    struct stat about;
    int status = EXIT_FINE;

    if (r->output_path && stat(r->output_path, &about) == 0 && !S_ISREG(about.st_mode)) {
        char *shown = escape_text(r->output_path);
        complain("%s: it is there, and no file", shown);
        free(shown);
        return EXIT_COULD_NOT_RUN;
    }
    if (r->output_path && !can_write_beside(r->output_path))
        return EXIT_COULD_NOT_RUN;
    if (r->output_path) {
        run->unfinished = must_format("%s.gathermm-%ld", r->output_path, (long)getpid());
        gmm_status failed = gmm_npy_write(run->unfinished, &empty);
        status = failed ? complain_status(failed) : EXIT_FINE;
    }
    if (!status && r->json_path)
        status = whole_file_begin(&run->json, r->json_path);
    if (!status && r->plot_path)
        status = whole_file_begin(&run->plot, r->plot_path);
    return status;
}

static int write_output(running *run)
{
    const layer_input *input = &run->given;
    int64_t shape[] = {run->facts[0].routing_tokens, input->rows ? input->hidden : run->described[0].hidden};
    const gmm_array out = {.data = run->output, .dtype = GMM_F32, .ndim = 2, .shape = shape};
    gmm_status status = run->unfinished ? gmm_npy_write(run->unfinished, &out) : GMM_OK;

    return status ? complain_status(status) : EXIT_FINE;
}

/* Everything is written first and then published, so that a full disk leaves neither half a file nor half of the files.
 */
static int finish_outputs(running *run)
{
    const bench_request *lists = &run->request->lists;
    int status = write_output(run);

    if (!status && run->json.stream)
        layer_write_json(run->json.stream, run->rows, run->count);
    if (!status && run->plot.stream)
        layer_plot(run->plot.stream, run->rows, run->count, lists->tokens, lists->token_count);
    if (!status)
        status = whole_file_publish(&run->json);
    if (!status)
        status = whole_file_publish(&run->plot);
    if (!status && run->unfinished && rename(run->unfinished, run->request->output_path) != 0) {
        complain("%s: cannot be written: %s", run->request->output_path, strerror(errno));
        status = EXIT_COULD_NOT_RUN;
    } else if (!status) {
        free(run->unfinished);
        run->unfinished = NULL;
    }
    return status;
}

/* Nothing is faster than its ceiling, unless the two met different machines. */
static void note_busy(running *run)
{
    size_t above = 0;

    for (size_t i = 0; i < run->count; i++)
        above += run->rows[i].ceiling_share > 1.1;
    if (above)
        print_note(run, must_format("%zu row%s above 110%% of the ceiling: weights came from a cache, or something "
                                    "else kept the machine busy while the ceiling was measured",
                                    above, above == 1 ? " is" : "s are"));
}

/* What no run may do. */
static int judge(running *run)
{
    size_t above = 0;

    for (size_t i = 0; i < run->count; i++)
        above += run->rows[i].bound_ratio > 1;
    if (above)
        print_note(run, must_format("%zu row%s off by more than the bound of docs/numerics.md: a fault of the library",
                                    above, above == 1 ? " is" : "s are"));
    return above ? EXIT_FOUND : EXIT_FINE;
}

static void print_end(running *run)
{
    int64_t resident = 0, total = 0, one;
    char in_memory[24], bytes[24];
    gmm_checkpoint_layer layer;

    if (!run->text)
        return;
    layer_print_sums(run->text, run->rows, run->count, run->chosen_count);
    fprintf(run->text, "\nceilings, medians of the run:\n");
    bench_print_ceilings(run->text, &run->ceilings);
    for (size_t i = 0; gmm_checkpoint_layer_at(run->checkpoint, i, &layer); i++) {
        total += layer.file_bytes;
        resident += gmm_checkpoint_resident(run->checkpoint, i, &one) ? 0 : one;
    }
    fprintf(run->text, "in memory now: %s of the %s that all layers of experts have in files\n",
            bytes_text((uint64_t)resident, in_memory), bytes_text((uint64_t)total, bytes));
    note_busy(run);
}

static int work(running *run, layer_request *request)
{
    gmm_status failed = gmm_checkpoint_open(request->path, &run->checkpoint);
    int status = failed ? complain_status(failed) : choose_layers(run);

    if (!status)
        status = read_input(run);
    if (!status)
        status = set_tokens(run, &request->lists);
    if (!status)
        status = make_context(run);
    if (!status)
        status = begin_outputs(run);
    if (status)
        return status;
    size_t rows = run->chosen_count * (1 + request->lists.format_count) * request->lists.token_count;
    run->rows = must_allocate(rows + 1, sizeof *run->rows);
    progress_start(&run->bar, rows, "rows", false);
    status = measure_ceilings(run);
    for (size_t c = 0; !status && !stop_signal() && c < run->chosen_count; c++)
        status = run_layer(run, c);
    progress_end(&run->bar);
    if (!status && !stop_signal()) {
        print_end(run);
        status = finish_outputs(run);
        if (!status)
            status = judge(run);
    }
    return status;
}

static void release(running *run)
{
    whole_file_abandon(&run->json);
    whole_file_abandon(&run->plot);
    if (run->unfinished)
        unlink(run->unfinished);
    free(run->unfinished);
    free(run->output);
    free(run->given.values);
    free(run->rows);
    free(run->facts);
    free(run->described);
    free(run->chosen);
    gmm_context_destroy(run->context);
    gmm_checkpoint_close(run->checkpoint);
}

int layer_run(layer_request *request)
{
    running run = {.request = request, .text = stdout};

    if ((request->json_path && !strcmp(request->json_path, "-")) ||
        (request->plot_path && !strcmp(request->plot_path, "-")))
        run.text = NULL;
    stop_notice();
    int status = work(&run, request);
    release(&run);
    if (stop_signal())
        complain("stopped by a signal; no file is written");
    stop_die();
    return status;
}
