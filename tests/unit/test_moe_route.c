/* test_moe_route.c - every way of routing against double precision; ties, what is refused. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "gathermm/moe.h"
#include "random.h"

enum {
    MOST_TOKENS = 40,
    MOST_EXPERTS = 256
};

static gmm_random seeded;
static float logits[MOST_TOKENS * MOST_EXPERTS], correction[MOST_EXPERTS];
static int32_t ids[MOST_TOKENS * MOST_EXPERTS];
static float weights[MOST_TOKENS * MOST_EXPERTS];

static gmm_status route(const gmm_context *context, const gmm_routing *routing, int64_t tokens, int64_t experts)
{
    const int64_t shape[] = {tokens, experts}, out[] = {tokens, routing->top_k};
    gmm_array in = {.data = logits, .dtype = GMM_F32, .ndim = 2, .shape = shape};
    gmm_array to_ids = {.data = ids, .dtype = GMM_I32, .ndim = 2, .shape = out};
    gmm_array to_weights = {.data = weights, .dtype = GMM_F32, .ndim = 2, .shape = out};

    return gmm_route(context, routing, &in, &to_ids, &to_weights);
}

/* ---- the reference, straight from the formulas ---- */

typedef struct reference {
    double key[MOST_EXPERTS], score[MOST_EXPERTS];
    bool open[MOST_EXPERTS];
} reference;

static int64_t largest(const double *key, const bool *open, int64_t count)
{
    int64_t best = -1;

    for (int64_t i = 0; i < count; i++)
        if (open[i] && (best < 0 || key[i] > key[best]))
            best = i;
    return best;
}

static void keep_groups(const gmm_routing *routing, int64_t experts, reference *r)
{
    int64_t size = experts / routing->n_group;
    double group[MOST_EXPERTS];
    bool open[MOST_EXPERTS], kept[MOST_EXPERTS] = {false};

    for (int32_t g = 0; g < routing->n_group; g++) {
        bool left[MOST_EXPERTS];
        memset(left, 1, sizeof left);
        int64_t first = largest(r->key + g * size, left, size);
        left[first] = false;
        int64_t second = largest(r->key + g * size, left, size);
        group[g] = r->key[g * size + first] + (second < 0 ? 0 : r->key[g * size + second]);
        open[g] = true;
    }
    for (int32_t i = 0; i < routing->topk_group; i++) {
        int64_t g = largest(group, open, routing->n_group);
        open[g] = false;
        kept[g] = true;
    }
    for (int64_t e = 0; e < experts; e++) {
        if (kept[e / size])
            continue;
        if (routing->drop_to_zero)
            r->key[e] = 0;
        else
            r->open[e] = false;
    }
}

static void check_token(const gmm_routing *routing, int64_t experts, int64_t t)
{
    static reference r;
    const float *l = logits + t * experts;
    double sum = 0, top = -INFINITY, chosen = 0, scale = routing->scale == 0 ? 1 : (double)routing->scale;
    bool sigmoid = routing->kind == GMM_ROUTING_SIGMOID;
    int64_t expected[MOST_EXPERTS];

    for (int64_t e = 0; e < experts; e++)
        top = fmax(top, (double)l[e]);
    for (int64_t e = 0; e < experts; e++) {
        r.open[e] = true;
        r.score[e] = sigmoid ? 1 / (1 + exp(-(double)l[e])) : exp((double)l[e] - top);
        r.key[e] = sigmoid ? r.score[e] + (routing->correction_bias ? (double)correction[e] : 0) : (double)l[e];
        sum += r.score[e];
    }
    if (sigmoid && routing->n_group > 1)
        keep_groups(routing, experts, &r);
    for (int32_t j = 0; j < routing->top_k; j++) {
        expected[j] = largest(r.key, r.open, experts);
        r.open[expected[j]] = false;
        chosen += r.score[expected[j]];
    }
    if (routing->kind == GMM_ROUTING_TOPK_SOFTMAX || (routing->renormalise && (!sigmoid || routing->top_k > 1)))
        sum = chosen;
    else if (sigmoid)
        sum = 1;
    for (int32_t j = 0; j < routing->top_k; j++) {
        double want = r.score[expected[j]] / sum * scale, got = (double)weights[t * routing->top_k + j];
        /* The scores' errors above and below the line (4 units, and the rounded difference of logits of at most 20),
         * and a rounding. */
        double bound = (2 * (8 + 20) + 2) * 0x1p-24 * fabs(want) + 0x1p-140;
        if (ids[t * routing->top_k + j] != expected[j] || !(fabs(got - want) <= bound))
            fail_msg("token %" PRId64 ", slot %" PRId32 ": expert %" PRId32 " with %.9g, not %" PRId64 " with %.9g", t,
                     j, ids[t * routing->top_k + j], got, expected[j], want);
    }
}

/* Logits are 1/26 apart, in a random order. With biases two keys may be so near that rounding exchanges them, so the
 * numbers are the same in every run. */
static void fill(int64_t tokens, int64_t experts)
{
    for (int64_t t = 0; t < tokens; t++) {
        float *l = logits + t * experts;
        for (int64_t e = 0; e < experts; e++)
            l[e] = (float)(e - experts / 2) / 26;
        for (int64_t e = experts - 1; e > 0; e--) {
            int64_t other = gmm_random_between(&seeded, 0, e);
            float kept = l[e];
            l[e] = l[other];
            l[other] = kept;
        }
    }
    for (int64_t e = 0; e < experts; e++)
        correction[e] = (float)gmm_random_unit(&seeded);
}

static void every_kind(void **state)
{
    static const int32_t sizes[] = {1, 4, 8, 60, 128, 256};
    gmm_context *contexts[3];

    (void)state;
    gmm_random_seed(&seeded, 5);
    for (int32_t i = 0; i < 3; i++)
        assert_int_equal(
            gmm_context_create(&(gmm_context_options){.size = sizeof(gmm_context_options), .threads = i + 1},
                               &contexts[i]),
            GMM_OK);
    for (int64_t round = gmm_test_rounds(300); round > 0; round--) {
        int32_t experts = sizes[gmm_random_between(&seeded, 0, 5)];
        int64_t tokens = gmm_random_between(&seeded, 0, MOST_TOKENS);
        int64_t shape[] = {experts};
        gmm_array bias = {.data = correction, .dtype = GMM_F32, .ndim = 1, .shape = shape};
        gmm_routing routing = {.size = sizeof routing, .kind = (gmm_routing_kind)gmm_random_between(&seeded, 0, 2)};
        routing.renormalise = gmm_random_chance(&seeded, 50);
        routing.scale = gmm_random_chance(&seeded, 50) ? 2.5f : 0;
        if (routing.kind == GMM_ROUTING_SIGMOID && experts % 4 == 0 && gmm_random_chance(&seeded, 60)) {
            routing.n_group = 4;
            routing.topk_group = (int32_t)gmm_random_between(&seeded, 1, 4);
            routing.drop_to_zero = gmm_random_chance(&seeded, 50);
        }
        if (routing.kind == GMM_ROUTING_SIGMOID && gmm_random_chance(&seeded, 60))
            routing.correction_bias = &bias;
        int32_t most = routing.n_group && !routing.drop_to_zero ? experts / 4 * routing.topk_group : experts;
        routing.top_k = (int32_t)gmm_random_between(&seeded, 1, most < 8 ? most : 8);
        fill(tokens, experts);
        assert_int_equal(route(contexts[round % 3], &routing, tokens, experts), GMM_OK);
        /* Experts that compete with 0 are equal to each other: in double precision too. */
        for (int64_t t = 0; t < tokens; t++)
            check_token(&routing, experts, t);
    }
    for (int i = 0; i < 3; i++)
        gmm_context_destroy(contexts[i]);
}

static void equal_ones_go_by_number(void **state)
{
    gmm_routing routing = {.size = sizeof routing, .top_k = 3, .renormalise = true};
    static const float token[] = {1, 2, 2, 2, 2, 0};

    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        routing.kind = (gmm_routing_kind)kind;
        memcpy(logits, token, sizeof token);
        assert_int_equal(route(NULL, &routing, 1, 6), GMM_OK);
        for (int j = 0; j < 3; j++) {
            assert_int_equal(ids[j], j + 1);
            assert_true(fabsf(weights[j] - 1.0f / 3) < 1e-7f);
        }
    }
    routing =
        (gmm_routing){.size = sizeof routing, .kind = GMM_ROUTING_SIGMOID, .top_k = 2, .n_group = 3, .topk_group = 1};
    memset(logits, 0, sizeof token);
    assert_int_equal(route(NULL, &routing, 1, 6), GMM_OK);
    assert_int_equal(ids[0], 0);
    assert_int_equal(ids[1], 1);
}

/* A kept expert with a negative key, and dropped ones. */
static void dropped_groups_at_zero_or_out(void **state)
{
    const int64_t shape[] = {4};
    static float negative[] = {-2, -3, -4, -5};
    gmm_array bias = {.data = negative, .dtype = GMM_F32, .ndim = 1, .shape = shape};
    gmm_routing routing = {.size = sizeof routing,
                           .kind = GMM_ROUTING_SIGMOID,
                           .top_k = 2,
                           .n_group = 2,
                           .topk_group = 1,
                           .correction_bias = &bias};

    (void)state;
    memset(logits, 0, 4 * sizeof *logits);
    assert_int_equal(route(NULL, &routing, 1, 4), GMM_OK);
    assert_int_equal(ids[0], 0);
    assert_int_equal(ids[1], 1);
    routing.drop_to_zero = true;
    assert_int_equal(route(NULL, &routing, 1, 4), GMM_OK);
    assert_int_equal(ids[0], 2);
    assert_int_equal(ids[1], 3);
}

/* ---- what is refused ---- */

static void refused(const gmm_routing *routing, gmm_status status, const char *words)
{
    static int32_t before[MOST_TOKENS];

    memset(ids, 0x55, sizeof ids);
    memcpy(before, ids, sizeof before);
    assert_int_equal(route(NULL, routing, 3, 8), status);
    if (!strstr(gmm_error_detail(), words))
        fail_msg("'%s' is not in '%s'", words, gmm_error_detail());
    assert_memory_equal(ids, before, sizeof before);
}

static void logits_that_cannot_be_used(void **state)
{
    const gmm_routing routing = {.size = sizeof routing, .top_k = 2};

    (void)state;
    memset(logits, 0, sizeof logits);
    logits[2 * 8 + 5] = NAN;
    refused(&routing, GMM_ERR_ARGUMENT, "the logit of token 2 for expert 5 is NaN");
    logits[1 * 8 + 7] = INFINITY;
    refused(&routing, GMM_ERR_ARGUMENT, "the logit of token 1 for expert 7 is infinite");
    for (int e = 0; e < 8; e++)
        logits[e] = -INFINITY;
    refused(&routing, GMM_ERR_ARGUMENT, "all logits of token 0 are -infinity");
    memset(logits, 0, sizeof logits);
    for (int e = 0; e < 7; e++)
        logits[e] = -INFINITY;
    assert_int_equal(route(NULL, &routing, 1, 8), GMM_OK);
    assert_int_equal(ids[0], 7);
    assert_true(weights[0] == 1 && weights[1] == 0);
}

static void routings_without_meaning(void **state)
{
    const int64_t shape[] = {8};
    static float bad[8] = {[3] = INFINITY};
    gmm_array bias = {.data = bad, .dtype = GMM_F32, .ndim = 1, .shape = shape};
    const gmm_routing good = {.size = sizeof good, .kind = GMM_ROUTING_SIGMOID, .top_k = 2};
    gmm_routing r = good;

    (void)state;
    memset(logits, 0, sizeof logits);
    r.size = 1;
    refused(&r, GMM_ERR_ARGUMENT, "routing->size is 1");
    r = good;
    r.kind = (gmm_routing_kind)9;
    refused(&r, GMM_ERR_ARGUMENT, "kind is 9");
    r = good;
    r.top_k = 9;
    refused(&r, GMM_ERR_ARGUMENT, "top_k is 9; it may be 1 to 8");
    r.top_k = 0;
    refused(&r, GMM_ERR_ARGUMENT, "top_k is 0");
    r = good;
    r.n_group = 3;
    r.topk_group = 1;
    refused(&r, GMM_ERR_ARGUMENT, "n_group is 3");
    r.n_group = 4;
    r.topk_group = 5;
    refused(&r, GMM_ERR_ARGUMENT, "topk_group is 5");
    r.topk_group = 1;
    r.top_k = 3;
    refused(&r, GMM_ERR_ARGUMENT, "top_k is 3");
    r = good;
    r.kind = GMM_ROUTING_SOFTMAX_TOPK;
    r.n_group = 2;
    r.topk_group = 1;
    refused(&r, GMM_ERR_ARGUMENT, "n_group is 2");
    r = good;
    r.scale = NAN;
    refused(&r, GMM_ERR_ARGUMENT, "scale is nan");
    r = good;
    r.correction_bias = &bias;
    refused(&r, GMM_ERR_ARGUMENT, "correction_bias[3] is inf");
    bias.ndim = 0;
    refused(&r, GMM_ERR_SHAPE, "correction_bias");
    assert_int_equal(gmm_route(NULL, NULL, NULL, NULL, NULL), GMM_ERR_NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind),
        cmocka_unit_test(equal_ones_go_by_number),
        cmocka_unit_test(dropped_groups_at_zero_or_out),
        cmocka_unit_test(logits_that_cannot_be_used),
        cmocka_unit_test(routings_without_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
