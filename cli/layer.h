/* layer.h - what `gathermm moe` is made of: a request, hidden states, weights in other formats, a reference, rows. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_LAYER_H
#define GMM_LAYER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench.h"
#include "gathermm/checkpoint.h"
#include "gathermm/moe.h"
#include "whole_file.h"

/* Everything that is asked for. `lists` has the formats and the numbers of tokens, read as `gathermm bench` does. */
typedef struct layer_request {
    const char *path, *layers, *input_path, *output_path, *json_path, *plot_path, *cpu_mask;
    bench_request lists;
    int32_t threads; /* 0: all */
    int32_t check;   /* tokens that are held against double precision */
    double seconds;
    uint64_t seed;
} layer_request;

/* ---- hidden states: layer_input.c -------------------------------------------------------------------------------- */

/* Rows of f32. */
typedef struct layer_input {
    float *values; /* (rows, hidden) */
    int64_t rows, hidden;
} layer_input;

/* Read an npy file of f32, f16 or bf16 in two dimensions. EXIT_FINE, or another exit status after a complaint. */
int layer_input_read(layer_input *input, const char *path);

/* Draw normal numbers with root mean square 1, times the weights of the norm that stands before layer `number` in the
 * checkpoint of this path, if its files have one. */
void layer_input_draw(layer_input *input, const char *path, int64_t number, int64_t rows, int64_t hidden,
                      uint64_t seed);

/* ---- weights: layer_weights.c ------------------------------------------------------------------------------------ */

/* "bf16", "affine4", "affine4/32", "fp8", "mixed": the format of a layer's experts in the files. */
void layer_format_name(const gmm_checkpoint_layer *layer, char name[32]);

/* Matrix `e` (rows, cols) of a projection as f32; the caller has the room. */
gmm_status layer_decode(const gmm_moe_weights *weights, int64_t e, float *values);

/* Row `e` of its linear biases as f32, zeros where it has none. */
void layer_decode_bias(const gmm_moe_weights *weights, int64_t e, int64_t rows, float *values);

/* Bytes of all arrays of a projection. */
int64_t layer_weight_bytes(const gmm_moe_weights *weights);

/* One projection in a format of one's own. */
typedef struct layer_stack {
    gmm_moe_weights weights;
    gmm_array parts[3], bias;
    int64_t shapes[3][3], bias_shape[2];
    gmm_quantized quantized;
} layer_stack;

/* A layer whose experts were quantized anew in memory; router and shared expert are the first one's. */
typedef struct layer_copy {
    gmm_moe_layer moe;
    layer_stack stacks[4]; /* gate, up, gate_up, down */
} layer_copy;

/* Do the rows of all projections of the experts hold whole groups? `cols` becomes the size that does not fit. */
bool layer_format_fits(const gmm_checkpoint_layer *layer, const bench_format *format, int64_t *cols);

/* Free it in any case. */
gmm_status layer_copy_make(layer_copy *copy, const gmm_moe_layer *moe, const gmm_checkpoint_layer *layer,
                           const bench_format *format);
void layer_copy_free(layer_copy *copy);

/* ---- double precision: layer_reference.c ------------------------------------------------------------------------- */

/* What a router in double precision makes of tokens. */
typedef struct layer_choice {
    int64_t tokens, slots;
    int32_t *ids;            /* (tokens, slots) */
    double *weights, *error; /* the same; `error` bounds that of f32 */
    bool *undecided;         /* (tokens): keys are so near that f32 may choose otherwise */
} layer_choice;

gmm_status layer_choose(const gmm_moe_layer *moe, const gmm_moe_info *info, const float *x, int64_t tokens,
                        layer_choice *choice);
void layer_choice_free(layer_choice *choice);

/* A layer's outputs for some tokens, and the a-priori bound of docs/numerics.md on the error of each. */
typedef struct layer_exact {
    double *y, *bound; /* (tokens, hidden) */
} layer_exact;

/* For the tokens rows[0..count-1] of x and of the choice. */
gmm_status layer_compute(const gmm_moe_layer *moe, const gmm_moe_info *info, const float *x, const layer_choice *choice,
                         const int64_t *rows, int64_t count, layer_exact *exact);
void layer_exact_free(layer_exact *exact);

/* ---- rows: layer_time.c, layer_output.c, layer_plot.c ------------------------------------------------------------ */

/* What is said of a layer besides its rows. */
typedef struct layer_facts {
    const gmm_checkpoint_layer *layer; /* without arrays, valid as long as the checkpoint */
    gmm_moe_info info;
    char format[32];        /* in the files */
    int64_t routing_tokens; /* that the balance is of */
    int64_t experts_used;
    double busiest;    /* the share of the expert that most slots go to, in even shares */
    double entropy;    /* of the shares, in bits */
    int64_t checked;   /* tokens held against double precision */
    int64_t undecided; /* tokens left out of that: undecided */
    int64_t resident;  /* bytes of the layer's part of the files in memory after its rows; -1: not known */
    int64_t owned;     /* bytes of memory of its own */
} layer_facts;

typedef struct layer_row {
    const layer_facts *facts;
    char format[32];
    bool stored;          /* as in the files */
    int64_t expert_bytes; /* of all experts */
    int32_t tokens, threads, repetitions;
    double median_s, min_s, spread;
    double bytes, operations;
    double error;       /* of the checked tokens, as a share of the output: root mean squares */
    double bound_ratio; /* the largest error as a share of its bound, against the row's own weights */
    const char *ceiling;
    double ceiling_rate, ceiling_share;
} layer_row;

/* Time runs of row->tokens rows of the input, each time the next ones. EXIT_FINE, too, when a signal came. */
int layer_time(layer_row *row, const layer_request *request, const gmm_context *context, const gmm_moe_layer *moe,
               const layer_input *input, const layer_choice *choice);

/* Hold it against the machine. */
void layer_hold(layer_row *row, const bench_ceilings *ceilings);

double layer_tokens_s(const layer_row *row);
double layer_gbytes_s(const layer_row *row);

void layer_print_facts(FILE *to, const layer_facts *facts);
void layer_print_titles(FILE *to);
void layer_print_row(FILE *to, const layer_row *row);

/* The order in which a layer's rows are shown: formats side by side, for each number of tokens. Free it. */
size_t *layer_order(const layer_row *rows, size_t count);

/* Of several layers: what all of them together take, format by format. */
void layer_print_sums(FILE *to, const layer_row *rows, size_t count, size_t layer_count);

void layer_write_json(FILE *to, const layer_row *rows, size_t count);

/* Error against speed as SVG: a panel for each number of tokens. */
void layer_plot(FILE *to, const layer_row *rows, size_t count, const int32_t *tokens, size_t token_count);

/* ---- a run: layer_run.c ------------------------------------------------------------------------------------------ */

/* Run, print and write everything. An exit status, after a complaint if it is not EXIT_FINE. */
int layer_run(layer_request *request);

/* Asked of all layers that run: false once a signal came. */
bool layer_goes_on(void *user, int64_t done, int64_t total);

#endif
