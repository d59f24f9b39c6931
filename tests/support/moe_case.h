/* moe_case.h - whole expert layers for tests: made from a description, run, and judged in double precision. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_MOE_CASE_H
#define GMM_MOE_CASE_H

#include "gathermm/moe.h"
#include "random.h"

/* How the weights of a projection are given. */
typedef struct gmm_moe_format {
    const char *mode; /* NULL: dense */
    gmm_dtype dtype;  /* of dense elements */
    bool prepared;
} gmm_moe_format;

typedef struct gmm_moe_spec {
    int64_t experts, hidden, inner, tokens, slots;
    gmm_moe_format gate, down; /* up is as gate */
    bool each;                 /* a description for each expert, in formats that alternate */
    bool stacked;              /* one gate_up */
    gmm_gate_up layout;
    bool ungated, biases;
    gmm_activation activation;
    int64_t shared_inner; /* 0: no shared expert */
    bool shared_gate;
    gmm_dtype x_dtype, out_dtype;
    bool skips; /* some ids are -1, some come twice */
} gmm_moe_spec;

/* A projection and its memory, all of it malloc'ed. */
typedef struct gmm_moe_made {
    gmm_moe_weights weights;
    gmm_array rhs, w, scales, biases, bias;
    gmm_quantized quantized;
    gmm_prepared *prepared;
    int64_t shape[3], w_shape[3], scales_shape[3], bias_shape[2];
    int64_t matrices, n, k;
    double *value;      /* (matrices, n, k), as the format has them */
    double *bias_value; /* (matrices, n) */
    double *reach;      /* (matrices, n, k), what stands for their magnitudes in bounds of products with bf16 numbers
                           (oracle.h); NULL: these do */
    int roundings;      /* that a weight in f32 may carry */
    struct gmm_moe_made *single;
    gmm_moe_weights *list; /* of single */
} gmm_moe_made;

/* Not to be copied. */
typedef struct gmm_moe_case {
    gmm_moe_spec spec;
    gmm_moe_layer layer;
    gmm_moe_made gate, up, gate_up, down, shared_gate_proj, shared_up, shared_down, of_shared;
    gmm_array x, ids, weights, out;
    int64_t x_shape[2], ids_shape[2];
    double *x_value, *weight_value;
    double *weight_error;   /* bounds of the weights' own errors, where the layer routes; NULL: they have none */
    const double *expected; /* (tokens, hidden), the exact results as somebody else has them; NULL */
} gmm_moe_case;

void gmm_moe_case_make(gmm_moe_case *made, gmm_random *random, const gmm_moe_spec *spec);
void gmm_moe_case_free(gmm_moe_case *made);

/* A projection alone; free it. */
void gmm_moe_made_make(gmm_moe_made *made, gmm_random *random, gmm_moe_format format, int64_t matrices, int64_t n,
                       int64_t k, bool bias);
void gmm_moe_made_free(gmm_moe_made *made);

/* Bytes of a row of out. */
size_t gmm_moe_case_row(const gmm_moe_case *made);

/* Fill out with 0xFF (NaN) and run. */
void gmm_moe_case_run(const gmm_context *context, gmm_moe_case *made);

/* Fail the test unless out is within its a-priori bound. */
void gmm_moe_case_check(const gmm_moe_case *made);

#endif
