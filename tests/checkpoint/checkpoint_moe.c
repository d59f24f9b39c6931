/* checkpoint_moe.c - see checkpoint_moe.h. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint_moe.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"

static gmm_moe_weights weights(layer_moe *made, const gmm_checkpoint_weights *from)
{
    gmm_moe_weights to = {.rhs = from->rhs, .quantized = from->quantized, .bias = from->bias};

    if (!from->each)
        return to;
    gmm_moe_weights *list = calloc((size_t)from->count, sizeof *list);
    assert_non_null(list);
    for (int64_t e = 0; e < from->count; e++)
        list[e] = (gmm_moe_weights){
            .rhs = from->each[e].rhs, .quantized = from->each[e].quantized, .bias = from->each[e].bias};
    made->lists[made->list_count++] = list;
    to.each = list;
    to.each_count = from->count;
    return to;
}

static gmm_moe_projections projections(layer_moe *made, const gmm_checkpoint_projections *from)
{
    return (gmm_moe_projections){
        .gate = weights(made, &from->gate),
        .up = weights(made, &from->up),
        .gate_up = weights(made, &from->gate_up),
        .down = weights(made, &from->down),
        .gate_up_layout = GMM_GATE_UP_INTERLEAVED,
    };
}

void layer_moe_make(layer_moe *made, const gmm_checkpoint_layer *loaded)
{
    static const gmm_routing_kind kinds[] = {GMM_ROUTING_SOFTMAX_TOPK, GMM_ROUTING_TOPK_SOFTMAX, GMM_ROUTING_SIGMOID};
    static const gmm_activation activations[] = {GMM_ACTIVATION_SILU, GMM_ACTIVATION_GELU, GMM_ACTIVATION_GELU_TANH,
                                                 GMM_ACTIVATION_SWIGLU_CLAMPED};

    *made = (layer_moe){.list_count = 0};
    made->routing = (gmm_routing){
        .size = sizeof made->routing,
        .kind = kinds[loaded->routing],
        .top_k = loaded->top_k,
        .renormalise = loaded->renormalise,
        .scale = loaded->scale,
        .correction_bias = loaded->correction_bias,
        .n_group = loaded->n_group,
        .topk_group = loaded->topk_group,
        .drop_to_zero = true, /* as make_models.py and MLX have it */
        .router = weights(made, &loaded->router),
    };
    made->layer = (gmm_moe_layer){
        .size = sizeof made->layer,
        .experts = projections(made, &loaded->projections),
        .shared = projections(made, &loaded->shared),
        .activation = activations[loaded->activation],
        .alpha = loaded->alpha,
        .limit = loaded->limit,
        .routing = &made->routing,
    };
}

void layer_moe_free(layer_moe *made)
{
    for (size_t i = 0; i < made->list_count; i++)
        free(made->lists[i]);
}

/* ---- what it must give: the bound of docs/numerics.md ---- */

static const double unit = 0x1p-24, tiny = 0x1p-140;

/* A number and how far off the computed one may be. */
typedef struct near {
    double value, error;
} near;

static double gamma_of(double n)
{
    return n * unit / (1 - n * unit);
}

/* N.part of the reference, to be freed; NULL: none. */
static double *part(const gmm_safetensors *reference, int64_t number, const char *name)
{
    char full[64];
    gmm_tensor tensor;

    snprintf(full, sizeof full, "%" PRId64 ".%s", number, name);
    if (!gmm_safetensors_find(reference, full, &tensor))
        return NULL;
    bool single = tensor.dtype == GMM_F32;
    size_t count = tensor.size_bytes / (single ? 4 : 8);
    double *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, (const char *)tensor.data + 4 * i, sizeof value);
        values[i] = (double)value;
    }
    if (!single)
        memcpy(values, tensor.data, tensor.size_bytes);
    return values;
}

/* One matrix of a projection, decoded: its weights may carry one rounding. */
typedef struct matrix {
    const double *weights, *bias;
    int64_t rows, cols;
} matrix;

static near dot(const matrix *m, int64_t row, const near *x)
{
    double value = m->bias ? m->bias[row] : 0, moved = 0, sum = fabs(value);

    for (int64_t k = 0; k < m->cols; k++) {
        double w = m->weights[row * m->cols + k];
        value += w * x[k].value;
        moved += fabs(w) * x[k].error;
        sum += fabs(w) * (fabs(x[k].value) + x[k].error);
    }
    return (near){value, moved + gamma_of((double)m->cols + 7) * sum + (double)m->cols * tiny};
}

/* a = F(g, u) */
static near activate(bool clamped, near g, near u)
{
    double alpha = clamped ? (double)1.702f : 1, z = clamped && g.value > 7 ? 7 : g.value;
    double value = z / (1 + exp(-alpha * z)), slope = 1.2;
    double c = clamped ? 10 + 2 * fabs(alpha * z) : 8;
    double error = slope * g.error + 1.01 * c * unit * (fabs(value) + slope * g.error) + tiny;

    if (clamped) {
        u.value = (u.value > 7 ? 7 : u.value < -7 ? -7 : u.value) + 1;
        u.error += unit * (fabs(u.value) + u.error);
    }
    double product = fabs(value) * u.error + error * (fabs(u.value) + u.error);
    return (near){value * u.value, product + unit * (fabs(value * u.value) + product) + tiny};
}

/* Gate, up and down of an expert. */
typedef struct expert {
    matrix gate, up, down;
} expert;

/* Add weight * y to the sum and to its magnitude. */
static void add_expert(const expert *e, bool clamped, const near *x, near weight, near *sum, double *magnitude)
{
    near *a = malloc((size_t)e->gate.rows * sizeof *a);

    assert_non_null(a);
    for (int64_t i = 0; i < e->gate.rows; i++)
        a[i] = activate(clamped, dot(&e->gate, i, x), dot(&e->up, i, x));
    for (int64_t i = 0; i < e->down.rows; i++) {
        near y = dot(&e->down, i, a);
        double error = fabs(weight.value) * y.error + weight.error * (fabs(y.value) + y.error);
        sum[i].value += weight.value * y.value;
        sum[i].error += error;
        magnitude[i] += fabs(weight.value * y.value) + error;
    }
    free(a);
}

/* The parts of the reference that a layer has. */
enum {
    ROUTER,
    ROUTER_BIAS,
    GATE,
    GATE_BIAS,
    UP,
    UP_BIAS,
    DOWN,
    DOWN_BIAS,
    SHARED_GATE,
    SHARED_UP,
    SHARED_DOWN,
    X,
    Y,
    EXPERTS,
    WEIGHTS,
    PARTS
};

static const char *const part_names[PARTS] = {"router",      "router_bias", "gate",      "gate_bias",   "up",
                                              "up_bias",     "down",        "down_bias", "shared_gate", "shared_up",
                                              "shared_down", "x",           "y",         "experts",     "weights"};

static matrix matrix_of(double *const *parts, int weights, int64_t e, int64_t rows, int64_t cols, bool biased)
{
    const double *bias = biased ? parts[weights + 1] : NULL;

    return (matrix){parts[weights] + e * rows * cols, bias ? bias + e * rows : NULL, rows, cols};
}

/* How far off a weight may be, relative: logits are off by at most G, scores by a factor exp(G), their sum too; and
 * what the routing itself may be off by. */
static double routing_error(const gmm_checkpoint_layer *l, double *const *parts, const near *x)
{
    const matrix router = matrix_of(parts, ROUTER, 0, l->experts, l->hidden, true);
    double largest = 0;

    for (int64_t e = 0; e < l->experts; e++)
        largest = fmax(largest, dot(&router, e, x).error);
    return expm1(2 * largest) + (2 * (8 + 20) + 2) * unit;
}

static void check_token(const gmm_checkpoint_layer *l, double *const *parts, int64_t t, const float *out)
{
    int64_t hidden = l->hidden, inner = l->intermediate, shared = l->shared_intermediate;
    bool clamped = l->activation == GMM_CHECKPOINT_SWIGLU_CLAMPED;
    near *x = calloc((size_t)hidden, sizeof *x), *sum = calloc((size_t)hidden, sizeof *sum);
    double *magnitude = calloc((size_t)hidden, sizeof *magnitude), errors = 0, magnitudes = 0;

    assert_true(x && sum && magnitude);
    for (int64_t i = 0; i < hidden; i++)
        x[i].value = parts[X][t * hidden + i];
    double relative = routing_error(l, parts, x);
    for (int32_t j = 0; j < l->top_k; j++) {
        int64_t e = (int64_t)parts[EXPERTS][t * l->top_k + j];
        double weight = parts[WEIGHTS][t * l->top_k + j];
        const expert one = {matrix_of(parts, GATE, e, inner, hidden, true),
                            matrix_of(parts, UP, e, inner, hidden, true),
                            matrix_of(parts, DOWN, e, hidden, inner, true)};
        add_expert(&one, clamped, x, (near){weight, fabs(weight) * relative}, sum, magnitude);
    }
    if (shared > 0) {
        const expert one = {matrix_of(parts, SHARED_GATE, 0, shared, hidden, false),
                            matrix_of(parts, SHARED_UP, 0, shared, hidden, false),
                            matrix_of(parts, SHARED_DOWN, 0, hidden, shared, false)};
        add_expert(&one, clamped, x, (near){1, 0}, sum, magnitude);
    }
    for (int64_t i = 0; i < hidden; i++) {
        double error = sum[i].error + gamma_of(l->top_k + 5) * magnitude[i] + tiny, wanted = parts[Y][t * hidden + i];
        if (!(fabs((double)out[t * hidden + i] - wanted) <= error))
            fail_msg("%s: out[%" PRId64 ", %" PRId64 "] is %.9g, %g off; the bound is %g", l->projections.down.module,
                     t, i, (double)out[t * hidden + i], (double)out[t * hidden + i] - wanted, error);
        errors += error;
        magnitudes += magnitude[i];
    }
    if (errors > 0.05 * magnitudes) /* a bound that lets anything pass is none */
        fail_msg("%s: the bounds of token %" PRId64 ", %g, are too wide for %g", l->projections.down.module, t, errors,
                 magnitudes);
    free(x);
    free(sum);
    free(magnitude);
}

void check_output(const gmm_safetensors *reference, const gmm_checkpoint_layer *loaded)
{
    double *parts[PARTS];
    gmm_tensor x;
    char name[64];
    layer_moe made;

    for (int p = 0; p < PARTS; p++)
        parts[p] = part(reference, loaded->number, part_names[p]);
    snprintf(name, sizeof name, "%" PRId64 ".x", loaded->number);
    assert_true(gmm_safetensors_find(reference, name, &x));
    int64_t tokens = x.shape[0];
    const int64_t shape[] = {tokens, loaded->hidden};
    float *out = malloc((size_t)(tokens * loaded->hidden) * sizeof *out);
    assert_non_null(out);
    gmm_array in = {(void *)(uintptr_t)x.data, GMM_F32, 2, shape, NULL, 0}, to = {out, GMM_F32, 2, shape, NULL, 0};
    layer_moe_make(&made, loaded);
    if (gmm_moe_run(NULL, &made.layer, &in, NULL, NULL, &to) != GMM_OK)
        fail_msg("%s", gmm_error_detail());
    for (int64_t t = 0; t < tokens; t++)
        check_token(loaded, parts, t, out);
    layer_moe_free(&made);
    free(out);
    for (int p = 0; p < PARTS; p++)
        free(parts[p]);
}
