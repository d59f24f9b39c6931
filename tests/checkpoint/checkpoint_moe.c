/* checkpoint_moe.c - see checkpoint_moe.h. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint_moe.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "gathermm/moe.h"
#include "moe_case.h"

enum {
    MOST_EXPERTS = 8
};

/* A copy of N.part; NULL if there is none; to be freed. */
static void *part_of(const gmm_safetensors *reference, int64_t number, const char *part, int64_t *count)
{
    char name[128];
    gmm_tensor tensor;

    *count = 0;
    snprintf(name, sizeof name, "%" PRId64 ".%s", number, part);
    if (!gmm_safetensors_find(reference, name, &tensor))
        return NULL;
    void *values = malloc(tensor.size_bytes);
    assert_non_null(values);
    memcpy(values, tensor.data, tensor.size_bytes);
    *count = (int64_t)(tensor.size_bytes / ((size_t)gmm_dtype_bits(tensor.dtype) / 8));
    return values;
}

static void take(const gmm_safetensors *reference, int64_t number, const char *part, int64_t matrices, int64_t n,
                 int64_t k, gmm_moe_made *made)
{
    int64_t count;
    char bias[64];

    *made =
        (gmm_moe_made){.matrices = matrices, .n = n, .k = k, .roundings = 1}; /* of affine codes; others have none */
    made->value = part_of(reference, number, part, &count);
    assert_non_null(made->value);
    assert_int_equal(count, matrices * n * k);
    snprintf(bias, sizeof bias, "%s_bias", part);
    made->bias_value = part_of(reference, number, bias, &count);
    if (!made->bias_value)
        made->bias_value = calloc((size_t)(matrices * n), sizeof(double));
    assert_non_null(made->bias_value);
}

/* ---- routing in double precision, as make_models.py has it ---- */

typedef struct scored {
    double logit[MOST_EXPERTS], score[MOST_EXPERTS], key[MOST_EXPERTS];
    double error; /* of any logit, as docs/numerics.md bounds a g */
    double range; /* of logits */
} scored;

static double gamma_of(double n)
{
    return n * 0x1p-24 / (1 - n * 0x1p-24);
}

static void score(const gmm_moe_made *router, const double *x, const gmm_checkpoint_layer *layer,
                  const double *correction, scored *s)
{
    double top = -INFINITY, total = 0;

    s->error = s->range = 0;
    for (int64_t e = 0; e < layer->experts; e++) {
        double sum = router->bias_value[e], magnitude = fabs(sum);
        for (int64_t k = 0; k < router->k; k++) {
            sum += router->value[e * router->k + k] * x[k];
            magnitude += fabs(router->value[e * router->k + k] * x[k]);
        }
        s->logit[e] = sum;
        s->error = fmax(s->error, gamma_of((double)router->k + 6 + router->roundings) * magnitude);
        top = fmax(top, sum);
    }
    for (int64_t e = 0; e < layer->experts; e++) {
        double distance = layer->routing == GMM_CHECKPOINT_SIGMOID ? fabs(s->logit[e]) : top - s->logit[e];
        s->range = fmax(s->range, distance);
        s->score[e] = layer->routing == GMM_CHECKPOINT_SIGMOID ? 1 / (1 + exp(-s->logit[e])) : exp(s->logit[e] - top);
        total += s->score[e];
    }
    for (int64_t e = 0; e < layer->experts; e++) {
        if (layer->routing == GMM_CHECKPOINT_SOFTMAX_TOPK)
            s->score[e] /= total;
        s->key[e] = s->score[e] + (correction ? correction[e] : 0);
    }
}

static int64_t take_largest(double *values, int64_t count)
{
    int64_t best = 0;

    for (int64_t i = 1; i < count; i++)
        if (values[i] > values[best])
            best = i;
    values[best] = -INFINITY;
    return best;
}

/* What is not in one of the best groups competes with 0. */
static void keep_groups(const gmm_checkpoint_layer *layer, double *key)
{
    int64_t groups = layer->n_group, size = layer->experts / groups;
    double best[MOST_EXPERTS], copy[MOST_EXPERTS];
    bool kept[MOST_EXPERTS] = {false};

    for (int64_t g = 0; g < groups; g++) {
        memcpy(copy, key + g * size, (size_t)size * sizeof *copy);
        best[g] = key[g * size + take_largest(copy, size)];
        best[g] += size > 1 ? key[g * size + take_largest(copy, size)] : 0;
    }
    for (int32_t i = 0; i < layer->topk_group; i++)
        kept[take_largest(best, groups)] = true;
    for (int64_t e = 0; e < layer->experts; e++)
        key[e] = kept[e / size] ? key[e] : 0;
}

/* Weights, and the bounds of docs/numerics.md on what becomes of the logits' errors. */
static void route(const gmm_checkpoint_layer *layer, scored *s, int32_t *ids, double *weights, double *errors)
{
    double sum = 0;

    if (layer->routing == GMM_CHECKPOINT_SIGMOID && layer->n_group > 1)
        keep_groups(layer, s->key);
    for (int32_t j = 0; j < layer->top_k; j++) {
        ids[j] = (int32_t)take_largest(s->key, layer->experts);
        sum += s->score[ids[j]];
    }
    bool divides = layer->routing == GMM_CHECKPOINT_TOPK_SOFTMAX || layer->renormalise;
    for (int32_t j = 0; j < layer->top_k; j++) {
        weights[j] = s->score[ids[j]] / (divides ? sum : 1) * (double)layer->scale;
        double carried = expm1(2 * s->error), rounded = (2 * (8 + s->range) + 2) * 0x1p-24;
        errors[j] = weights[j] * (carried + rounded * (1 + carried)) + 0x1p-140;
    }
}

/* ---- a layer ---- */

static void make_slots(const gmm_safetensors *reference, const gmm_checkpoint_layer *layer, gmm_moe_case *made)
{
    int64_t tokens = made->spec.tokens, slots = made->spec.slots, count;
    gmm_moe_made router;
    scored s;
    double *correction = part_of(reference, layer->number, "correction", &count);

    assert_true(layer->experts <= MOST_EXPERTS);
    take(reference, layer->number, "router", 1, layer->experts, layer->hidden, &router);
    made->ids = (gmm_array){.data = malloc((size_t)(tokens * slots) * 4)};
    made->weight_value = malloc((size_t)(tokens * slots) * sizeof(double));
    made->weight_error = malloc((size_t)(tokens * slots) * sizeof(double));
    assert_true(made->ids.data && made->weight_value && made->weight_error);
    for (int64_t t = 0; t < tokens; t++) {
        score(&router, made->x_value + t * layer->hidden, layer, correction, &s);
        route(layer, &s, (int32_t *)made->ids.data + t * slots, made->weight_value + t * slots,
              made->weight_error + t * slots);
    }
    gmm_moe_made_free(&router);
    free(correction);
}

/* What the layer must give, from the reference alone. */
static void make_case(const gmm_safetensors *reference, const gmm_checkpoint_layer *layer, gmm_moe_case *made)
{
    int64_t n = layer->number, e = layer->experts, h = layer->hidden, i = layer->intermediate, count;
    int64_t shared = layer->shared_intermediate;

    memset(made, 0, sizeof *made);
    made->x = (gmm_array){.data = part_of(reference, n, "x", &count), .dtype = GMM_F32, .ndim = 2};
    made->spec = (gmm_moe_spec){.experts = e,
                                .hidden = h,
                                .inner = i,
                                .tokens = count / h,
                                .slots = layer->top_k,
                                .activation = layer->activation == GMM_CHECKPOINT_SILU ? GMM_ACTIVATION_SILU
                                                                                       : GMM_ACTIVATION_SWIGLU_CLAMPED,
                                .shared_inner = shared,
                                .x_dtype = GMM_F32,
                                .out_dtype = GMM_F32};
    made->x_shape[0] = made->spec.tokens;
    made->x_shape[1] = h;
    made->x.shape = made->x_shape;
    made->out = (gmm_array){.data = malloc((size_t)count * 4), .dtype = GMM_F32, .ndim = 2, .shape = made->x_shape};
    made->x_value = malloc((size_t)count * sizeof(double));
    assert_true(made->out.data && made->x_value);
    for (int64_t k = 0; k < count; k++)
        made->x_value[k] = ((const float *)made->x.data)[k];
    take(reference, n, "gate", e, i, h, &made->gate);
    take(reference, n, "up", e, i, h, &made->up);
    take(reference, n, "down", e, h, i, &made->down);
    if (shared) {
        take(reference, n, "shared_gate", 1, shared, h, &made->shared_gate_proj);
        take(reference, n, "shared_up", 1, shared, h, &made->shared_up);
        take(reference, n, "shared_down", 1, h, shared, &made->shared_down);
    }
    make_slots(reference, layer, made);
}

void check_output(const gmm_safetensors *reference, const gmm_checkpoint_layer *loaded)
{
    const gmm_moe_layer *moe;
    gmm_moe_info info;
    gmm_moe_case made;
    int64_t count;

    if (gmm_moe_layer_from_checkpoint(loaded, &moe) != GMM_OK || gmm_moe_describe(moe, &info) != GMM_OK)
        fail_msg("%s", gmm_error_detail());
    assert_int_equal(info.experts, loaded->experts);
    assert_int_equal(info.hidden, loaded->hidden);
    assert_int_equal(info.intermediate, loaded->intermediate);
    assert_int_equal(info.shared_intermediate, loaded->shared_intermediate);

    make_case(reference, loaded, &made);
    double *expected = part_of(reference, loaded->number, "y", &count);
    assert_true(expected && count == made.spec.tokens * made.spec.hidden);
    made.expected = expected;
    memset(made.out.data, 0xFF, (size_t)count * 4);
    if (gmm_moe_run(NULL, moe, &made.x, NULL, NULL, &made.out) != GMM_OK)
        fail_msg("%s", gmm_error_detail());
    gmm_moe_case_check(&made);
    gmm_moe_case_free(&made);
    free(expected);
    gmm_moe_layer_free(moe);
}
