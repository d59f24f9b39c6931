/* moe_run.h - a checked layer carried out in given scratch. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_MOE_RUN_H
#define GMM_MOE_RUN_H

#include "base/arena.h"
#include "moe/moe_layer.h"

/* What scratch is for. */
typedef struct gmm_moe_sizes {
    int64_t tokens, slots; /* the most of a run */
    int64_t block;         /* tokens that are done together */
    int64_t rows;          /* the most rows between gate and down at a time */
    int64_t shared_rows;
    int64_t logit_tokens; /* tokens that are routed at a time; 0: none are */
    int64_t tasks;        /* of routing, and workers that take whole pieces: the threads */
} gmm_moe_sizes;

/* The parts of scratch. */
typedef struct gmm_moe_scratch {
    int32_t *ids;       /* (tokens, slots) */
    float *weights;     /* likewise */
    float *logits;      /* (logit_tokens, E) */
    void *routing;      /* of gmm_routing_run */
    int64_t *starts;    /* E + 1: where an expert's pairs begin */
    int64_t *token;     /* of a pair of token and slot, sorted by expert */
    int64_t *expert;    /* likewise */
    int64_t *place;     /* of (token of the block, slot): its pair; -1: skipped */
    float *hidden;      /* (rows, width) */
    float *results;     /* (pairs, H) */
    float *shared;      /* (block, H) */
    float *of_shared;   /* (block): the shared expert's weights */
    gmm_arena **arenas; /* of workers that take whole pieces */
} gmm_moe_scratch;

/* Choose blocks for so many tokens and slots, with scratch that does not grow with the tokens but for ids and weights.
 * Returns the bytes of scratch; -1: they do not fit in 63 bits. */
int64_t gmm_moe_plan_sizes(const gmm_context *context, const gmm_moe_model *model, int64_t tokens, int64_t slots,
                           gmm_moe_sizes *sizes);

/* Do workers take pieces of so many pairs of token and slot from gate to down? Returns the most rows of a piece; 0: no,
 * all of them share each product. */
int64_t gmm_moe_piece_rows(const gmm_context *context, const gmm_moe_model *model, const gmm_moe_sizes *sizes,
                           int64_t pairs);

/* The slots of a plan for so many tokens and slots, 0 slots: those of the routing. Statuses as gmm_moe_plan_create. */
gmm_status gmm_moe_slots_planned(const gmm_moe_model *model, int64_t max_tokens, int32_t max_slots, int64_t *slots);

/* GMM_ERR_MEMORY, with the numbers. */
gmm_status gmm_moe_no_memory(const gmm_moe_model *model, int64_t tokens, int64_t slots);

/* A run whose arguments are valid, but for the values of ids and logits. */
typedef struct gmm_moe_call {
    gmm_view x, out, ids, weights;
    bool given; /* ids and weights are the caller's */
    int64_t tokens, slots;
} gmm_moe_call;

/* Check the arguments of a run. */
gmm_status gmm_moe_call_check(const gmm_moe_model *model, const gmm_array *x, const gmm_array *ids,
                              const gmm_array *weights, const gmm_array *out, gmm_moe_call *call);

/* Carry out a run; `memory` is scratch for `sizes`, which are no smaller than the call's. */
gmm_status gmm_moe_carry_out(const gmm_context *context, const gmm_moe_model *model, const gmm_moe_sizes *sizes,
                             void *memory, const gmm_moe_call *call);

#endif
