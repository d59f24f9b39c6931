/* test_tinymoe_experts.c - each MoE layer of the demo's model against the double-precision one, within an a-priori
 * bound. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "evaluate.h"
#include "forward.h"
#include "stop.h"

/* The unit roundoff of f32, and Higham's gamma: the relative error of a sum of n products, in any order. */
#define U 0x1p-24

static double gamma_of(int64_t n)
{
    return (double)n * U / (1.0 - (double)n * U);
}

/* A value, and how far the f32 one may be from it. */
typedef struct interval {
    double value, error;
} interval;

/* sum(w[i] * x[i]) */
static interval dot(const float *w, const interval *x, int64_t n)
{
    double value = 0.0, input_error = 0.0, magnitude = 0.0;

    for (int64_t i = 0; i < n; i++) {
        value += (double)w[i] * x[i].value;
        magnitude += fabs((double)w[i]) * (fabs(x[i].value) + x[i].error);
        input_error += fabs((double)w[i]) * x[i].error;
    }
    return (interval){value, input_error + gamma_of(n) * magnitude};
}

/*
 * silu(a) * b. The slope of silu is below 1.1 everywhere. Of its own it rounds by 7 u: e^-a 4 u (2 units in the last
 * place), the addition, the division, the product with b; 8 covers their products.
 */
static interval gated(interval a, interval b)
{
    double s = a.value / (1.0 + exp(-a.value)), s_error = 1.1 * a.error, size;

    assert_true(fabs(a.value) + a.error < 87.0); /* e^-a is a normal number */
    size = (fabs(s) + s_error) * (fabs(b.value) + b.error);
    return (interval){s * b.value, s_error * fabs(b.value) + fabs(s) * b.error + s_error * b.error + 8.0 * U * size};
}

/* One expert's output for one token. */
static void expert(const block *b, const model_config *c, int64_t e, const interval *x, interval *hidden, interval *out)
{
    const float *w1 = (const float *)b->w1.w.data + e * c->intermediate * c->hidden;
    const float *w3 = (const float *)b->w3.w.data + e * c->intermediate * c->hidden;
    const float *w2 = (const float *)b->w2.w.data + e * c->hidden * c->intermediate;

    for (int64_t i = 0; i < c->intermediate; i++)
        hidden[i] = gated(dot(w1 + i * c->hidden, x, c->hidden), dot(w3 + i * c->hidden, x, c->hidden));
    for (int64_t i = 0; i < c->hidden; i++)
        out[i] = dot(w2 + i * c->intermediate, hidden, c->intermediate);
}

/* The reference's tensor of one layer. */
static gmm_tensor find(const gmm_safetensors *file, int64_t layer, const char *what, gmm_dtype dtype)
{
    gmm_tensor tensor;
    char name[64];

    snprintf(name, sizeof name, "layers.%d.%s", (int)layer, what);
    assert_true(gmm_safetensors_find(file, name, &tensor));
    assert_int_equal(tensor.dtype, dtype);
    return tensor;
}

/* The weights of the chosen experts: their softmax, off by e^(2 d) - 1 when the logits are off by d. Of its own it
 * rounds, above and below the line, the difference of two logits (as much as it is large) and its exponential (8 u with
 * the additions), then the division; 2 covers that and the products of all. */
static void route(const block *b, const model_config *c, const interval *x, const int32_t *chosen, interval *weights)
{
    double total = 0.0, worst = 0.0, apart = 0.0;

    for (int64_t p = 0; p < c->top_k; p++) {
        weights[p] = dot((const float *)b->gate.w.data + chosen[p] * c->hidden, x, c->hidden);
        worst = weights[p].error > worst ? weights[p].error : worst;
        apart = fmax(apart, fabs(weights[p].value - weights[0].value) + weights[p].error + weights[0].error);
    }
    for (int64_t p = 0; p < c->top_k; p++)
        total += exp(weights[p].value);
    for (int64_t p = 0; p < c->top_k; p++) {
        double weight = exp(weights[p].value) / total;
        weights[p] = (interval){weight, weight * (expm1(2.0 * worst) + (2.0 * (8.0 + apart) + 2.0) * U)};
    }
}

static void check_token(const block *b, const model_config *c, const double *input, const int32_t *chosen,
                        const float *out, const double *exact)
{
    interval *x = allocate(c->hidden, sizeof *x), *hidden = allocate(c->intermediate, sizeof *hidden);
    interval *y = allocate(c->top_k * c->hidden, sizeof *y), *weights = allocate(c->top_k, sizeof *weights);

    for (int64_t i = 0; i < c->hidden; i++)
        x[i] = (interval){input[i], U * fabs(input[i])}; /* it was rounded to f32 */
    route(b, c, x, chosen, weights);
    for (int64_t p = 0; p < c->top_k; p++)
        expert(b, c, chosen[p], x, hidden, y + p * c->hidden);
    for (int64_t i = 0; i < c->hidden; i++) {
        double bound = 0.0, magnitude = 0.0;
        for (int64_t p = 0; p < c->top_k; p++) {
            const interval *to = &y[p * c->hidden + i];
            bound += weights[p].value * to->error + weights[p].error * (fabs(to->value) + to->error);
            magnitude += (weights[p].value + weights[p].error) * (fabs(to->value) + to->error);
        }
        bound += gamma_of(c->top_k + 1) * magnitude;
        assert_true(fabs((double)out[i] - exact[i]) <= bound);
    }
    free(x);
    free(hidden);
    free(y);
    free(weights);
}

/* The experts that the layer's routing chooses are those of the reference. */
static void check_choice(const model *m, const block *b, float *x, int64_t tokens, const int32_t *expected)
{
    const model_config *c = &m->config;
    const int64_t logits_shape[] = {tokens, c->experts}, slots_shape[] = {tokens, c->top_k};
    gmm_routing routing = forward_routing(b, c);
    gmm_array logits = {allocate(tokens * c->experts, sizeof(float)), GMM_F32, 2, logits_shape, NULL, 0};
    gmm_array ids = {allocate(tokens * c->top_k, sizeof(int32_t)), GMM_I32, 2, slots_shape, NULL, 0};
    gmm_array weights = {allocate(tokens * c->top_k, sizeof(float)), GMM_F32, 2, slots_shape, NULL, 0};

    linear_apply(&b->gate, m->context, x, tokens, logits.data);
    must(gmm_route(m->context, &routing, &logits, &ids, &weights), "routing");
    assert_memory_equal(ids.data, expected, (size_t)(tokens * c->top_k) * sizeof(int32_t));
    free(logits.data);
    free(ids.data);
    free(weights.data);
}

static void every_layer(void **state)
{
    checkpoint source;
    gmm_safetensors *file;
    model *m;

    (void)state;
    checkpoint_open(&source, TINYMOE_MODEL);
    must(gmm_safetensors_open(TINYMOE_MODEL "/reference.safetensors", &file), "references");
    m = model_create(&source, NULL, weight_format_find("f32", 3));
    for (int64_t layer = 0; layer < m->config.layers; layer++) {
        const model_config *c = &m->config;
        gmm_tensor input = find(file, layer, "moe_input", GMM_F64), output = find(file, layer, "moe_output", GMM_F64);
        gmm_tensor ids = find(file, layer, "topk_ids", GMM_I32);
        int64_t tokens = input.shape[0];
        double *x64 = allocate(tokens * c->hidden, sizeof *x64), *exact = allocate(tokens * c->hidden, sizeof *exact);
        float *x = allocate(tokens * c->hidden, sizeof *x), *out = allocate(tokens * c->hidden, sizeof *out);
        forward *f = forward_create(m, 1, tokens);
        memcpy(x64, input.data, input.size_bytes);
        memcpy(exact, output.data, output.size_bytes);
        for (int64_t i = 0; i < tokens * c->hidden; i++)
            x[i] = (float)x64[i];
        forward_experts(f, &m->blocks[layer], x, tokens, out);
        check_choice(m, &m->blocks[layer], x, tokens, ids.data);
        for (int64_t t = 0; t < tokens; t++)
            check_token(&m->blocks[layer], c, x64 + t * c->hidden, (const int32_t *)ids.data + t * c->top_k,
                        out + t * c->hidden, exact + t * c->hidden);
        forward_destroy(f);
        free(x64);
        free(exact);
        free(x);
        free(out);
    }
    model_destroy(m);
    gmm_safetensors_close(file);
    checkpoint_close(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_layer)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
