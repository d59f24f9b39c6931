/* bench.h - what `gathermm bench` is made of: shapes and formats to time, rows, and the stages between them. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_BENCH_H
#define GMM_BENCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "gathermm/gathermm.h"
#include "gathermm/prepared.h"
#include "whole_file.h"

/* ---- what is timed: bench_cases.c -------------------------------------------------------------------------------- */

/* out (tokens, top_k, 1, N) = x (tokens, 1, 1, K) @ w[indices (tokens, top_k)] */
typedef struct bench_shape {
    const char *name;
    int64_t k, n;
    int32_t experts, top_k;
} bench_shape;

/* A weight format under one word: "bf16", "affine4" (the default group size), "affine4/128", "nvfp4". */
typedef struct bench_format {
    char name[32];
    const char *mode;
    bool quantized, has_biases;
    gmm_dtype dtype; /* dense formats */
    int32_t bits, group_size;
} bench_format;

typedef struct bench_activations {
    const char *name;
    gmm_dtype dtype;
} bench_activations;

/* The arithmetic of products, a mode of --arithmetic. */
typedef struct bench_mode {
    const char *name;
    gmm_arithmetic arithmetic;
} bench_mode;

/* Everything that is asked for. Lists are the caller's. */
typedef struct bench_request {
    bench_shape *shapes;
    bench_format *formats;
    const bench_activations **activations;
    const bench_mode **modes;
    int32_t *tokens, *threads;
    size_t shape_count, format_count, activation_count, mode_count, token_count, thread_count;
    double seconds;
    int64_t memory_bytes;
    uint64_t seed;
    const char *cpu_mask;
    bool plain;       /* weights (K, N), not as checkpoints have them, (N, K) */
    bool in_cache;    /* one stack of experts, always the same matrices */
    bool prepared;    /* weights in the kernels' own order */
    bool layers;      /* whole expert layers: K the hidden size, N that of an expert */
    const char *blas; /* dense f32 rows once more through it; NULL: not */
} bench_request;

enum {
    BENCH_PARTS = 3 /* gate, up, down */
};

/* Kinds of matrices that a row of the request multiplies by. */
int bench_part_count(const bench_request *request);

/* Add to a list of the request, each thing once, from "word,word,..." or "all". NULL, or a message about the first word
 * that is wrong, in memory of its own. */
char *bench_read_shapes(bench_request *request, const char *words);
char *bench_read_formats(bench_request *request, const char *words);
char *bench_read_activations(bench_request *request, const char *words);
char *bench_read_modes(bench_request *request, const char *words);

void bench_add_shape(bench_request *request, bench_shape shape);

/* Preset and format number i; false past the end. */
bool bench_preset_at(size_t i, bench_shape *shape);
bool bench_format_at(size_t i, bench_format *format);

/* Has the library sums of this mode for the format, in the layout of the request? */
bool bench_mode_fits(const bench_mode *mode, const bench_request *request, const bench_format *format);

/* Whole numbers "1,4,32", each in [1, highest]. */
char *bench_read_numbers(const char *words, int32_t highest, int32_t **numbers, size_t *count);

/* The same, each number once. */
char *bench_read_set(const char *words, int32_t highest, int32_t **numbers, size_t *count);

/* A time for each row, and a seed. */
char *bench_read_seconds(const char *text, double *seconds);
char *bench_read_seed(const char *text, uint64_t *seed);

/* ---- the experts' weights: bench_weights.c ----------------------------------------------------------------------- */

/* Stacks of experts in one piece of memory: [stacks][experts] matrices of random codes. Or prepared, each stack. */
typedef struct bench_weights {
    int64_t experts, stacks;
    int64_t rows, columns; /* of a matrix as it lies */
    int64_t matrix_bytes;  /* codes, scales and biases */
    const bench_format *format;
    bool plain;
    int part_count; /* codes (or dense elements), scales, biases */
    struct bench_part {
        gmm_dtype dtype;
        int64_t shape[3], strides[3];
        int64_t row_bytes, stack_offset;
    } parts[3];
    int64_t stack_bytes;
    char *memory;
    gmm_prepared **prepared; /* [stacks]; NULL: raw, in memory */
} bench_weights;

/* Make as many experts as the shape has, in as many stacks as it takes to outgrow the caches three times, all parts
 * together, if request->memory_bytes allow; no stacks if they do not allow top_k experts. `scale_dtype` is that of
 * affine scales and biases. EXIT_FINE, or another exit status after a complaint. */
int bench_weights_make(bench_weights *weights, const bench_request *request, const bench_shape *shape,
                       const bench_format *format, gmm_dtype scale_dtype);

void bench_weights_free(bench_weights *weights);

/* Fill memory with random numbers of f32, f16 or bf16 that are neither zero nor large. */
void bench_random_numbers(gmm_dtype dtype, void *numbers, size_t size_bytes);

/* The operands of one product with a stack; what a gmm_product points to. */
typedef struct bench_operands {
    gmm_array parts[3];
    gmm_quantized quantized;
    int64_t dense_shape[3], dense_strides[3];
} bench_operands;

/* Set the weights of a product. */
void bench_weights_set(const bench_weights *weights, int64_t stack, bench_operands *operands, gmm_product *product);

/* ---- the router: bench_draw.c ------------------------------------------------------------------------------------ */

/* A seeded source of choices of experts. */
typedef struct bench_draw {
    uint64_t state;
    int32_t experts, top_k;
    int64_t stacks, stack; /* the stack of the latest draw */
    bool in_cache;
    double *popularity; /* [experts], falling */
    int32_t *decks;     /* [stacks][experts]: each stack's experts, the longest unused one at its place in `tops` */
    int32_t *tops;      /* [stacks] */
    int32_t *places;    /* [experts]: where in the deck each rank of this draw is; -1: not drawn yet */
} bench_draw;

void bench_draw_start(bench_draw *draw, uint64_t seed, const bench_weights *weights, int32_t top_k, bool in_cache);

/* Draw the experts of `tokens` tokens into indices[tokens][top_k], in the next stack; returns how many matrices that
 * touches. */
int64_t bench_draw_next(bench_draw *draw, int32_t tokens, int32_t *indices);

void bench_draw_end(bench_draw *draw);

/* A number that looks random, and the next state. */
uint64_t bench_random(uint64_t *state);

/* ---- ceilings: bench_ceilings.c ---------------------------------------------------------------------------------- */

enum {
    BENCH_MAX_CEILINGS = 8
};

/* The ceilings at one number of threads. */
typedef struct bench_ceilings {
    const gmm_context *context;
    int32_t threads;
    int32_t measurements;
    double last[BENCH_MAX_CEILINGS];  /* medians of the latest measurement; 0: not usable */
    double mean[BENCH_MAX_CEILINGS];  /* of the latest two: of what lies between them */
    double total[BENCH_MAX_CEILINGS]; /* of the medians of all */
    double best[BENCH_MAX_CEILINGS];
} bench_ceilings;

/* Measure all that are usable, each for up to `seconds`; the same statuses. */
int bench_ceilings_measure(bench_ceilings *ceilings, double seconds);

/* The ceiling that binds, and the seconds that it allows. */
typedef struct bench_binding {
    const char *ceiling;
    double rate, seconds;
} bench_binding;

/* Reading so many bytes, or arithmetic: whichever takes longer at its mean ceiling. The arithmetic can be done by any
 * of three instructions, in so many operations each (0: not by that one), and the fastest one counts. */
bench_binding bench_bind(const bench_ceilings *ceilings, double bytes, double f32, double bf16, double int8);

/* ---- rows: bench_time.c, bench_layer.c, bench_output.c ----------------------------------------------------------- */

typedef struct bench_row {
    const bench_shape *shape;
    const bench_format *format;
    const bench_activations *activations;
    const bench_mode *mode;
    const bench_ceilings *ceilings;
    int64_t experts_held;
    int32_t tokens, threads;
    const char *layout, *weights;
    bool in_cache, layer;
    int32_t bf16_parts; /* bf16 products that one of the product's is made of; 0: it cannot be */
    int32_t repetitions;
    double median_s, min_s;
    double spread; /* between the quartiles, as a share of the median */
    double bytes;  /* weights touched, once each, activations and output; mean of the repetitions */
    double operations;
    double error;      /* of int8 sums: their distance from f32 ones, as a share of those (root mean squares); else 0 */
    double products_s; /* of layers: the median of the same from three products */
    double ratio, ratio_spread; /* and of its time over the layer's, pair by pair */
    double blas_ratio;          /* the median through --blas over ours; 0: not timed */
    const char *ceiling;        /* the one that binds */
    double ceiling_rate, ceiling_share;
} bench_row;

/* Time one row: everything but the ceilings. The same statuses; EXIT_FINE too when a signal came, which stop_signal
 * tells. Of a layer there are weights for each part. */
int bench_time_layer(bench_row *row, const bench_request *request, const bench_weights *weights,
                     const gmm_context *context);
int bench_time(bench_row *row, const bench_request *request, const bench_weights *weights, const gmm_context *context);

/* bf16_parts of a row of these activations and weights. */
int32_t bench_bf16_parts(const bench_row *row);

/* Sort values; their median, the lowest, and the distance between the quartiles as a share of the median. */
void bench_summarize(double *values, size_t count, double *median, double *lowest, double *spread);

/* Hold the row against the mean ceilings. */
void bench_hold(bench_row *row);

double bench_gbytes_s(const bench_row *row);
double bench_gflop_s(const bench_row *row);

/* Lines of the table for people. */
void bench_print_titles(FILE *to, const bench_row *row);
void bench_print_row(FILE *to, const bench_row *row);
void bench_print_ceilings(FILE *to, const bench_ceilings *ceilings);

/* What a row times: "product" or "layer". */
const char *bench_work(const bench_row *row);

/* The same row for programs; CSV is this object line by line. */
json_t *bench_row_json(const bench_row *row);
void bench_write_json(FILE *to, const bench_row *rows, size_t count);
void bench_write_csv(FILE *to, const bench_row *rows, size_t count);

/* "1.234 ms" into text; returns text. */
char *bench_time_text(double seconds, char text[24]);

/* ---- compare and plot: bench_compare.c, bench_plot.c ------------------------------------------------------------- */

/* Rows of an earlier run from its JSON; NULL after a complaint. */
json_t *bench_load_rows(const char *path);

/* Print how rows compare with the rows of the same work in `old`; returns how many are slower beyond the noise. */
size_t bench_compare(FILE *to, const json_t *old, const bench_row *rows, size_t count);

/* A roofline as SVG: a panel for each number of threads. */
void bench_plot(FILE *to, const bench_row *rows, size_t count, const bench_ceilings *ceilings, size_t thread_count);

/* ---- a run: bench_run.c ------------------------------------------------------------------------------------------ */

/* Where results go. */
typedef struct bench_outputs {
    const char *json_path, *csv_path, *plot_path, *compare_path;
    whole_file json, csv, plot;
    json_t *old;
    FILE *text; /* the table and notes; NULL: standard output is for a program */
} bench_outputs;

/* Time everything, print and write the results. EXIT_FINE, EXIT_FOUND if the comparison found a slower row, or another
 * exit status after a complaint; does not return after a signal. */
int bench_run(const bench_request *request, bench_outputs *out);

#endif
