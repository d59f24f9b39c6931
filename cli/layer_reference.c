/* layer_reference.c - a layer in double precision, straight from its formulas, with the bound of docs/numerics.md.
 * SPDX-License-Identifier: MIT
 *
 * Weights are the very numbers that products multiply with, decoded to f32; everything after that is double. Names are
 * those of "A whole expert layer" there. */
#include <math.h>
#include <stdlib.h>

#include "layer.h"
#include "output.h"

static const double unit = 0x1p-24, tiny = 0x1p-123;

/* Roundings that a decoded weight carries: an affine one has one. */
#define ROUNDINGS 1

typedef struct approximate {
    double value, error;
} approximate;

static double gamma_of(double n)
{
    return n * unit / (1 - n * unit);
}

static double logistic(double z)
{
    return 1 / (1 + exp(-z));
}

/* A row of weights times x, whose elements carry errors. */
static approximate dot(const float *w, double bias, const approximate *x, int64_t count)
{
    double sum = bias, magnitude = fabs(bias), carried = 0, sizes = (double)count;

    for (int64_t k = 0; k < count; k++) {
        double weight = (double)w[k], size = fabs(weight);
        sum += weight * x[k].value;
        magnitude += size * (fabs(x[k].value) + x[k].error);
        carried += size * x[k].error;
        sizes += fabs(x[k].value) + x[k].error + size;
    }
    return (approximate){sum, carried + gamma_of((double)count + 6 + ROUNDINGS) * magnitude + sizes * tiny};
}

/* ---- routing ----------------------------------------------------------------------------------------------------- */

/* A router's weights, and what a token's logits become; arrays of all experts. */
typedef struct router {
    const gmm_moe_layer *moe;
    int64_t experts, hidden;
    float *weights, *bias, *correction;
    double *score, *key, *key_error, *group, *best;
    double logit_error, range;
    bool *open;
} router;

static void close_router(router *r)
{
    void *const all[] = {r->weights,   r->bias,  r->correction, r->score, r->key,
                         r->key_error, r->group, r->best,       r->open};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static gmm_status open_router(router *r, const gmm_moe_layer *moe, const gmm_moe_info *info)
{
    size_t experts = (size_t)info->experts;

    *r = (router){.moe = moe, .experts = info->experts, .hidden = info->hidden};
    r->weights = must_allocate(experts * (size_t)info->hidden, sizeof(float));
    r->bias = must_allocate(experts, sizeof(float));
    r->correction = must_allocate(experts, sizeof(float));
    r->score = must_allocate(experts, sizeof(double));
    r->key = must_allocate(experts, sizeof(double));
    r->key_error = must_allocate(experts, sizeof(double));
    r->group = must_allocate(experts, sizeof(double));
    r->best = must_allocate(experts, sizeof(double));
    r->open = must_allocate(experts, sizeof(bool));
    layer_decode_bias(&moe->routing->router, 0, info->experts, r->bias);
    const gmm_moe_weights correction = {.bias = moe->routing->correction_bias};
    layer_decode_bias(&correction, 0, info->experts, r->correction);
    return layer_decode(&moe->routing->router, 0, r->weights);
}

static void find_keys(router *r, const approximate *x)
{
    bool sigmoid = r->moe->routing->kind == GMM_ROUTING_SIGMOID;
    double top = -INFINITY, sum = 0;

    r->logit_error = r->range = 0;
    for (int64_t e = 0; e < r->experts; e++) {
        approximate logit = dot(r->weights + e * r->hidden, (double)r->bias[e], x, r->hidden);
        r->key[e] = logit.value;
        r->key_error[e] = logit.error;
        r->logit_error = fmax(r->logit_error, logit.error);
        top = fmax(top, logit.value);
    }
    for (int64_t e = 0; e < r->experts; e++) {
        double logit = r->key[e];
        r->range = fmax(r->range, sigmoid ? fabs(logit) : top - logit);
        r->score[e] = sigmoid ? logistic(logit) : exp(logit - top);
        sum += r->score[e];
        if (sigmoid) {
            r->key[e] = r->score[e] + (double)r->correction[e];
            r->key_error[e] = r->score[e] * expm1(r->key_error[e]) + 10 * unit * (1 + fabs(r->key[e]));
        }
    }
    for (int64_t e = 0; r->moe->routing->kind == GMM_ROUTING_SOFTMAX_TOPK && e < r->experts; e++)
        r->score[e] /= sum;
}

static int64_t largest(const double *key, const bool *open, int64_t count)
{
    int64_t best = -1;

    for (int64_t i = 0; i < count; i++)
        if (open[i] && (best < 0 || key[i] > key[best]))
            best = i;
    return best;
}

static void open_all(router *r, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        r->open[i] = true;
}

static double largest_error(const router *r)
{
    double most = 0;

    for (int64_t e = 0; e < r->experts; e++)
        most = fmax(most, r->key_error[e]);
    return most;
}

/* What is not in one of the best groups competes with 0, or does not. True if the groups' order is in doubt. */
static bool keep_groups(router *r)
{
    const gmm_routing *routing = r->moe->routing;
    int64_t groups = routing->n_group, size = r->experts / groups;
    double worst = INFINITY;

    open_all(r, r->experts);
    for (int64_t g = 0; g < groups; g++) {
        int64_t first = largest(r->key + g * size, r->open + g * size, size);
        r->open[g * size + first] = false;
        int64_t second = largest(r->key + g * size, r->open + g * size, size);
        r->best[g] = r->key[g * size + first] + (second < 0 ? 0 : r->key[g * size + second]);
        r->group[g] = 0;
    }
    open_all(r, groups);
    for (int32_t i = 0; i < routing->topk_group; i++) {
        int64_t g = largest(r->best, r->open, groups);
        r->open[g] = false;
        r->group[g] = 1;
        worst = r->best[g];
    }
    int64_t next = largest(r->best, r->open, groups);
    bool doubtful = next >= 0 && worst - r->best[next] <= 4 * largest_error(r);
    for (int64_t e = 0; e < r->experts; e++) {
        bool kept = r->group[e / size] > 0;
        r->open[e] = kept || routing->drop_to_zero;
        r->key[e] = kept ? r->key[e] : 0;
    }
    return doubtful;
}

static void choose_token(router *r, const approximate *x, int64_t t, layer_choice *choice)
{
    const gmm_routing *routing = r->moe->routing;
    bool sigmoid = routing->kind == GMM_ROUTING_SIGMOID;
    int32_t *ids = choice->ids + t * choice->slots;
    double sum = 0, worst = INFINITY, scale = routing->scale == 0 ? 1 : (double)routing->scale;

    find_keys(r, x);
    open_all(r, r->experts);
    choice->undecided[t] = sigmoid && routing->n_group > 1 && keep_groups(r);
    for (int64_t j = 0; j < choice->slots; j++) {
        ids[j] = (int32_t)largest(r->key, r->open, r->experts);
        r->open[ids[j]] = false;
        worst = r->key[ids[j]];
        sum += r->score[ids[j]];
    }
    int64_t next = largest(r->key, r->open, r->experts);
    choice->undecided[t] |= next >= 0 && worst - r->key[next] <= 2 * largest_error(r);
    bool divides = routing->kind == GMM_ROUTING_TOPK_SOFTMAX ||
                   (routing->renormalise && (!sigmoid || choice->slots > 1) && sum > 0);
    for (int64_t j = 0; j < choice->slots; j++) {
        double weight = r->score[ids[j]] / (divides ? sum : 1) * scale, carried = expm1(2 * r->logit_error);
        choice->weights[t * choice->slots + j] = weight;
        choice->error[t * choice->slots + j] =
            fabs(weight) * (carried + (2 * (8 + r->range) + 2) * unit * (1 + carried)) + tiny;
    }
}

static void set_exact(approximate *to, const float *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = (approximate){(double)from[i], 0};
}

gmm_status layer_choose(const gmm_moe_layer *moe, const gmm_moe_info *info, const float *x, int64_t tokens,
                        layer_choice *choice)
{
    router r;
    gmm_status status = open_router(&r, moe, info);
    int64_t slots = moe->routing->top_k;
    approximate *row = must_allocate((size_t)info->hidden, sizeof *row);

    *choice = (layer_choice){.tokens = tokens, .slots = slots};
    choice->ids = must_allocate((size_t)(tokens * slots), sizeof *choice->ids);
    choice->weights = must_allocate((size_t)(tokens * slots), sizeof *choice->weights);
    choice->error = must_allocate((size_t)(tokens * slots), sizeof *choice->error);
    choice->undecided = must_allocate((size_t)tokens, sizeof *choice->undecided);
    for (int64_t t = 0; !status && t < tokens; t++) {
        set_exact(row, x + t * info->hidden, info->hidden);
        choose_token(&r, row, t, choice);
    }
    free(row);
    close_router(&r);
    return status;
}

void layer_choice_free(layer_choice *choice)
{
    free(choice->ids);
    free(choice->weights);
    free(choice->error);
    free(choice->undecided);
    *choice = (layer_choice){0};
}

/* ---- experts ----------------------------------------------------------------------------------------------------- */

/* F near g: its value, a bound of its slope, and c. */
static double function(const gmm_moe_layer *moe, double g, double error, double *slope, double *c)
{
    double inner = sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g);
    double alpha = moe->alpha != 0 ? (double)moe->alpha : (double)1.702f;

    *slope = 1.2;
    switch (moe->activation) {
    case GMM_ACTIVATION_SILU:
        *c = 8;
        return g * logistic(g);
    case GMM_ACTIVATION_GELU:
        *c = 32 + 3 * g * g;
        return g * erfc(-g / sqrt(2)) / 2;
    case GMM_ACTIVATION_GELU_TANH:
        *c = 8 + 14 * fabs(inner);
        return g * logistic(2 * inner);
    case GMM_ACTIVATION_SWIGLU_CLAMPED:
        g = fmin(g, moe->limit != 0 ? (double)moe->limit : 7);
        *c = 10 + 2 * fabs(alpha * g);
        return g * logistic(alpha * g);
    default:
        *slope = 2 * (fabs(g) + error);
        *c = 1;
        return g > 0 ? g * g : 0;
    }
}

static approximate activate(const gmm_moe_layer *moe, approximate g, approximate u)
{
    double slope, c, value = function(moe, g.value, g.error, &slope, &c),
                     limit = moe->limit != 0 ? (double)moe->limit : 7;
    double error = slope * g.error + 1.01 * c * unit * (fabs(value) + slope * g.error) + tiny;

    if (moe->activation == GMM_ACTIVATION_SWIGLU_CLAMPED) {
        u.value = fmax(-limit, fmin(u.value, limit)) + 1;
        u.error += unit * (fabs(u.value) + u.error);
    }
    double product = fabs(value) * u.error + error * (fabs(u.value) + u.error);
    return (approximate){value * u.value, product + unit * (fabs(value * u.value) + product) + tiny};
}

/* The matrices of one expert, as f32. */
typedef struct matrices {
    int64_t hidden, inner;
    bool both, interleaved; /* gate_up in `gate` */
    float *gate, *up, *down, *gate_bias, *up_bias, *down_bias;
    approximate *a;
} matrices;

static void make_room(matrices *m, const gmm_moe_projections *p, int64_t hidden, int64_t inner)
{
    m->hidden = hidden;
    m->inner = inner;
    m->both = p->gate_up.rhs || p->gate_up.quantized || p->gate_up.each;
    m->interleaved = p->gate_up_layout == GMM_GATE_UP_INTERLEAVED;
    size_t size = (size_t)(hidden * inner);
    m->gate = must_allocate(2 * size, sizeof(float)); /* gate, or gate_up */
    m->up = must_allocate(size, sizeof(float));
    m->down = must_allocate(size, sizeof(float));
    m->gate_bias = must_allocate((size_t)(2 * inner), sizeof(float));
    m->up_bias = must_allocate((size_t)inner, sizeof(float));
    m->down_bias = must_allocate((size_t)hidden, sizeof(float));
    m->a = must_allocate((size_t)inner, sizeof *m->a);
}

static void free_room(matrices *m)
{
    float *const all[] = {m->gate, m->up, m->down, m->gate_bias, m->up_bias, m->down_bias};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    free(m->a);
    *m = (matrices){0};
}

static gmm_status decode_expert(matrices *m, const gmm_moe_projections *p, int64_t e)
{
    const gmm_moe_weights *first = m->both ? &p->gate_up : &p->gate;
    gmm_status status = layer_decode(first, e, m->gate);

    layer_decode_bias(first, e, m->both ? 2 * m->inner : m->inner, m->gate_bias);
    layer_decode_bias(&p->down, e, m->hidden, m->down_bias);
    if (!status && !m->both) {
        status = layer_decode(&p->up, e, m->up);
        layer_decode_bias(&p->up, e, m->inner, m->up_bias);
    }
    return status ? status : layer_decode(&p->down, e, m->down);
}

static approximate row_of(const float *w, const float *bias, int64_t row, const approximate *x, int64_t count)
{
    return dot(w + row * count, (double)bias[row], x, count);
}

static void run_expert(const gmm_moe_layer *moe, const matrices *m, const approximate *x, approximate *y)
{
    for (int64_t i = 0; i < m->inner; i++) {
        int64_t first = m->both && m->interleaved ? 2 * i : i, second = m->interleaved ? 2 * i + 1 : m->inner + i;
        approximate g = row_of(m->gate, m->gate_bias, first, x, m->hidden);
        approximate u =
            m->both ? row_of(m->gate, m->gate_bias, second, x, m->hidden) : row_of(m->up, m->up_bias, i, x, m->hidden);
        m->a[i] = activate(moe, g, u);
    }
    for (int64_t h = 0; h < m->hidden; h++)
        y[h] = row_of(m->down, m->down_bias, h, m->a, m->inner);
}

/* Sums of weighted outputs while experts come one by one, in no order of slots: double has digits enough. */
typedef struct sums {
    const gmm_moe_layer *moe;
    int64_t hidden, count;
    approximate *x, *y; /* (count, hidden) of x, (hidden) of an expert's output */
    double *magnitude;  /* (count, hidden) */
    layer_exact *exact;
} sums;

static void add(sums *s, int64_t i, double weight, double weight_error)
{
    for (int64_t h = 0; h < s->hidden; h++) {
        double error = fabs(weight) * s->y[h].error + weight_error * (fabs(s->y[h].value) + s->y[h].error);
        s->exact->y[i * s->hidden + h] += weight * s->y[h].value;
        s->exact->bound[i * s->hidden + h] += error;
        s->magnitude[i * s->hidden + h] += fabs(weight * s->y[h].value) + error;
    }
}

static gmm_status run_experts(sums *s, const gmm_moe_info *info, const layer_choice *choice, const int64_t *rows)
{
    matrices m;
    gmm_status status = GMM_OK;

    make_room(&m, &s->moe->experts, info->hidden, info->intermediate);
    for (int64_t e = 0; !status && e < info->experts; e++) {
        bool decoded = false;
        for (int64_t i = 0; !status && i < s->count; i++)
            for (int64_t j = 0; !status && j < choice->slots; j++) {
                int64_t slot = rows[i] * choice->slots + j;
                if (choice->ids[slot] != e)
                    continue;
                if (!decoded)
                    status = decode_expert(&m, &s->moe->experts, e);
                decoded = true;
                run_expert(s->moe, &m, s->x + i * s->hidden, s->y);
                add(s, i, choice->weights[slot], choice->error[slot]);
            }
    }
    free_room(&m);
    return status;
}

static gmm_status run_shared(sums *s, const gmm_moe_info *info)
{
    matrices m;

    if (!info->shared_intermediate)
        return GMM_OK;
    make_room(&m, &s->moe->shared, info->hidden, info->shared_intermediate);
    gmm_status status = decode_expert(&m, &s->moe->shared, 0);
    for (int64_t i = 0; !status && i < s->count; i++) {
        run_expert(s->moe, &m, s->x + i * s->hidden, s->y);
        add(s, i, 1, 0);
    }
    free_room(&m);
    return status;
}

gmm_status layer_compute(const gmm_moe_layer *moe, const gmm_moe_info *info, const float *x, const layer_choice *choice,
                         const int64_t *rows, int64_t count, layer_exact *exact)
{
    size_t size = (size_t)(count * info->hidden);
    sums s = {.moe = moe, .hidden = info->hidden, .count = count, .exact = exact};

    exact->y = must_allocate(size + 1, sizeof(double));
    exact->bound = must_allocate(size + 1, sizeof(double));
    s.magnitude = must_allocate(size + 1, sizeof(double));
    s.x = must_allocate(size + 1, sizeof *s.x);
    s.y = must_allocate((size_t)info->hidden, sizeof *s.y);
    for (int64_t i = 0; i < count; i++)
        set_exact(s.x + i * info->hidden, x + rows[i] * info->hidden, info->hidden);
    gmm_status status = run_experts(&s, info, choice, rows);
    if (!status)
        status = run_shared(&s, info);
    for (size_t i = 0; i < size; i++) {
        exact->bound[i] += gamma_of((double)choice->slots + 4) * s.magnitude[i] + tiny;
        exact->bound[i] += unit * (fabs(exact->y[i]) + exact->bound[i]); /* the output is rounded to f32 */
    }
    free(s.magnitude);
    free(s.x);
    free(s.y);
    return status;
}

void layer_exact_free(layer_exact *exact)
{
    free(exact->y);
    free(exact->bound);
    *exact = (layer_exact){0};
}
