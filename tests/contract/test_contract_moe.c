/* test_contract_moe.c - whole expert layers: a token's bits depend on its own numbers alone; a cancelled call leaves
 * whole rows.
 * SPDX-License-Identifier: MIT
 *
 * Every layer is run once by one thread. Whatever is then changed around a token (threads, neighbours, order, strides,
 * what memory held, which call), its row of out must be the same bytes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arrays.h"
#include "cases.h"
#include "cmocka_test.h"
#include "host_loops.h"
#include "moe/moe_run.h"
#include "moe_case.h"

static gmm_random seeded;

enum {
    HIDDEN = 128,
    INNER = 64,
    EXPERTS = 6,
    TOKENS = 40, /* enough for several rows an expert, and work for three threads */
    SLOTS = 3,
    JUNK = -1, /* for a token: numbers that nobody looks at */
};

/* A layer, and what each token must get. */
typedef struct subject {
    gmm_moe_case made;
    gmm_moe_made router;
    gmm_routing routing; /* ids and weights are its choice, if there is a router */
    char *expected;
} subject;

/* ---- contexts ---------------------------------------------------------------------------------------------------- */

static gmm_context *context_of(gmm_context_options options)
{
    gmm_context *context = NULL;

    options.size = sizeof options;
    options.arithmetic = gmm_case_arithmetic();
    assert_int_equal(gmm_context_create(&options, &context), GMM_OK);
    return context;
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

static const gmm_moe_format formats[] = {
    {.dtype = GMM_F32},
    {.dtype = GMM_BF16},
    {.dtype = GMM_F16},
    {.mode = "affine"},
    {.mode = "mxfp4"},
    {.mode = "mxfp8"},
    {.mode = "nvfp4"},
    {.dtype = GMM_F32, .prepared = true},
    {.dtype = GMM_BF16, .prepared = true},
    {.mode = "affine", .prepared = true},
    {.mode = "nvfp4", .prepared = true},
};

enum {
    format_count = sizeof formats / sizeof formats[0]
};

static gmm_dtype any_float(void)
{
    static const gmm_dtype floats[] = {GMM_F32, GMM_F16, GMM_BF16};

    return floats[gmm_random_between(&seeded, 0, 2)];
}

static gmm_moe_spec plain(gmm_moe_format gate, gmm_moe_format down)
{
    return (gmm_moe_spec){.experts = EXPERTS,
                          .hidden = HIDDEN,
                          .inner = INNER,
                          .tokens = TOKENS,
                          .slots = SLOTS,
                          .gate = gate,
                          .down = down,
                          .x_dtype = GMM_F32,
                          .out_dtype = GMM_F32,
                          .skips = true};
}

/* Layer number i: every format with every layout and activation, and the rest at random. */
static gmm_moe_spec spec_of(int i)
{
    gmm_moe_spec spec = plain(formats[i % format_count], formats[gmm_random_between(&seeded, 0, format_count - 1)]);
    int layout = i % 4; /* separate, concatenated, interleaved, ungated */

    spec.stacked = layout == 1 || layout == 2;
    spec.layout = layout == 2 ? GMM_GATE_UP_INTERLEAVED : GMM_GATE_UP_CONCATENATED;
    spec.ungated = layout == 3;
    spec.activation = (gmm_activation)(i % 5);
    if (spec.ungated && spec.activation == GMM_ACTIVATION_SWIGLU_CLAMPED)
        spec.activation = GMM_ACTIVATION_GELU;
    spec.biases = gmm_random_chance(&seeded, 50);
    spec.shared_inner = gmm_random_chance(&seeded, 40) ? 40 : 0;
    spec.shared_gate = spec.shared_inner && gmm_random_chance(&seeded, 50);
    spec.each = gmm_random_chance(&seeded, 30);
    spec.x_dtype = any_float();
    spec.out_dtype = any_float();
    return spec;
}

/* Some tokens hold what arithmetic treats apart. */
static void make_special_tokens(gmm_moe_case *made)
{
    static const double values[] = {NAN, INFINITY, -INFINITY, 60000, 0, -0.0};

    for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
        int64_t token = gmm_random_between(&seeded, 0, made->spec.tokens - 1);
        for (int64_t i = 0; i < made->spec.hidden; i++)
            if (gmm_random_chance(&seeded, 5))
                gmm_built_put(&made->x, token * made->spec.hidden + i, values[v]);
    }
}

/* Logits as gmm_moe_run is to compute them. */
static void make_logits(const subject *s, float *logits)
{
    const gmm_moe_case *made = &s->made;
    const int64_t turned[] = {HIDDEN, EXPERTS}, turned_strides[] = {1, HIDDEN};
    const int64_t shape[] = {made->spec.tokens, EXPERTS};
    bool quantized = s->router.weights.quantized != NULL;
    gmm_array rhs = {.data = s->router.rhs.data,
                     .dtype = s->router.rhs.dtype,
                     .ndim = 2,
                     .shape = turned,
                     .strides = turned_strides};
    gmm_array w = s->router.w, scales = s->router.scales, biases = s->router.biases;
    gmm_quantized q = s->router.quantized;
    gmm_product product = {.size = sizeof product, .lhs = &made->x};
    gmm_array out = {.data = logits, .dtype = GMM_F32, .ndim = 2, .shape = shape};

    if (quantized) { /* the one matrix, without its batch axis */
        gmm_array *parts[] = {&w, &scales, &biases};
        for (int p = 0; p < 3; p++) {
            parts[p]->ndim = 2;
            parts[p]->shape += parts[p]->shape != NULL;
        }
        q.w = &w;
        q.scales = &scales;
        q.biases = q.biases ? &biases : NULL;
    }
    product.rhs = quantized ? NULL : &rhs;
    product.quantized = quantized ? &q : NULL;
    product.transpose = quantized;
    assert_int_equal(gmm_run(gmm_case_one_thread(), &product, &out), GMM_OK);
    for (int64_t t = 0; t < made->spec.tokens; t++)
        for (int64_t e = 0; s->router.weights.bias && e < EXPERTS; e++)
            logits[t * EXPERTS + e] += (float)s->router.bias_value[e];
}

/* Give the layer a router, and the tokens its choice of experts. */
static void add_router(subject *s)
{
    gmm_moe_case *made = &s->made;
    float logits[TOKENS * EXPERTS];
    gmm_array array = {.data = logits, .dtype = GMM_F32, .ndim = 2, .shape = (int64_t[]){TOKENS, EXPERTS}};

    gmm_moe_made_make(&s->router, &seeded, formats[gmm_random_between(&seeded, 0, 6)], 1, EXPERTS, HIDDEN,
                      gmm_random_chance(&seeded, 50));
    s->routing = (gmm_routing){.size = sizeof s->routing,
                               .kind = (gmm_routing_kind)gmm_random_between(&seeded, 0, 2),
                               .top_k = SLOTS,
                               .renormalise = gmm_random_chance(&seeded, 50),
                               .scale = 2.5f,
                               .n_group = 2,
                               .topk_group = 1,
                               .router = s->router.weights};
    if (s->routing.kind != GMM_ROUTING_SIGMOID)
        s->routing.n_group = s->routing.topk_group = 0;
    made->layer.routing = &s->routing;
    make_logits(s, logits);
    if (gmm_route(gmm_case_one_thread(), &s->routing, &array, &made->ids, &made->weights) != GMM_OK)
        fail_msg("%s", gmm_error_detail());
}

static void make_subject(subject *s, const gmm_moe_spec *spec, bool routed)
{
    size_t bytes;

    memset(s, 0, sizeof *s);
    gmm_moe_case_make(&s->made, &seeded, spec);
    if (routed)
        add_router(s);
    else
        make_special_tokens(&s->made);
    bytes = (size_t)spec->tokens * gmm_moe_case_row(&s->made);
    gmm_moe_case_run(gmm_case_one_thread(), &s->made);
    s->expected = malloc(bytes);
    assert_non_null(s->expected);
    memcpy(s->expected, s->made.out.data, bytes);
}

static void free_subject(subject *s)
{
    gmm_moe_made_free(&s->router);
    gmm_moe_case_free(&s->made);
    free(s->expected);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

/* How rows of tokens are run. */
typedef struct manner {
    const char *name;
    const gmm_context *context;
    gmm_moe_plan *plan;   /* NULL: gmm_moe_run */
    bool routed;          /* ids and weights NULL */
    bool strided;         /* arrays with gaps, permuted and negative strides, at any address; else row-major */
    gmm_poison poison;    /* what out holds before */
    gmm_moe_model *model; /* with a call below the public ones, in scratch full of NaN */
} manner;

static void copy_row(gmm_array *to, int64_t to_row, const gmm_array *from, int64_t from_row)
{
    size_t bytes = gmm_built_element_bytes(from->dtype);
    int64_t columns = from->shape[1];

    for (int64_t i = 0; i < columns; i++) {
        uint64_t bits = 0;
        memcpy(&bits, (const char *)from->data + (size_t)(from_row * columns + i) * bytes, bytes);
        gmm_built_put_bits(to, to_row * columns + i, bits);
    }
}

/* A row of numbers of any kind; of a router, none that it refuses. */
static void junk_row(const manner *m, gmm_array *x, gmm_array *ids, gmm_array *weights, int64_t row)
{
    static const double any[] = {NAN, INFINITY, -3e4, 1e-30, 0};
    double value = m->routed ? 7 : any[gmm_random_between(&seeded, 0, 4)];

    for (int64_t i = 0; i < x->shape[1]; i++)
        gmm_built_put(x, row * x->shape[1] + i, value * gmm_random_unit(&seeded));
    for (int64_t j = 0; j < ids->shape[1]; j++) {
        gmm_built_put_bits(ids, row * ids->shape[1] + j, (uint64_t)gmm_random_between(&seeded, -1, EXPERTS - 1));
        gmm_built_put(weights, row * ids->shape[1] + j, value);
    }
}

static gmm_status run_in_poison(const manner *m, const gmm_array *x, const gmm_array *ids, const gmm_array *weights,
                                gmm_array *out)
{
    gmm_moe_sizes sizes;
    gmm_moe_call call;
    gmm_status status = gmm_moe_call_check(m->model, x, ids, weights, out, &call);
    int64_t bytes = gmm_moe_plan_sizes(m->context, m->model, call.tokens, call.slots, &sizes);
    void *memory = aligned_alloc(64, (size_t)bytes + 64);

    assert_non_null(memory);
    memset(memory, 0xFF, (size_t)bytes + 64);
    if (!status)
        status = gmm_moe_carry_out(m->context, m->model, &sizes, memory, &call);
    free(memory);
    return status;
}

/* Run these tokens of the subject in this order; each that is not junk must get its row. */
static void expect_rows(const subject *s, const manner *m, const int64_t *tokens, int64_t count)
{
    const gmm_moe_case *made = &s->made;
    gmm_layout layout = m->strided ? GMM_LAYOUT_APART : GMM_LAYOUT_PLAIN;
    const int64_t shape[] = {count, made->spec.hidden}, slots[] = {count, made->spec.slots};
    gmm_built x, ids, weights, out;
    gmm_status status;

    gmm_built_make(&x, &seeded, layout, made->spec.x_dtype, 2, shape, GMM_POISON_QUIET_NAN);
    gmm_built_make(&ids, &seeded, layout, GMM_I32, 2, slots, GMM_POISON_ONES);
    gmm_built_make(&weights, &seeded, layout, GMM_F32, 2, slots, GMM_POISON_QUIET_NAN);
    gmm_built_make(&out, &seeded, layout, made->spec.out_dtype, 2, shape, m->poison);
    for (int64_t i = 0; i < count; i++)
        if (tokens[i] == JUNK) {
            junk_row(m, &x.array, &ids.array, &weights.array, i);
        } else {
            copy_row(&x.array, i, &made->x, tokens[i]);
            copy_row(&ids.array, i, &made->ids, tokens[i]);
            copy_row(&weights.array, i, &made->weights, tokens[i]);
        }
    const gmm_array *given_ids = m->routed ? NULL : &ids.array, *given_weights = m->routed ? NULL : &weights.array;
    gmm_built_keep(&out);
    if (m->model)
        status = run_in_poison(m, &x.array, given_ids, given_weights, &out.array);
    else if (m->plan)
        status = gmm_moe_plan_run(m->plan, &x.array, given_ids, given_weights, &out.array);
    else
        status = gmm_moe_run(m->context, &made->layer, &x.array, given_ids, given_weights, &out.array);
    if (status)
        fail_msg("%s: status %d, %s", m->name, (int)status, gmm_error_detail());
    if (!gmm_built_kept(&out, false))
        fail_msg("%s: wrote beside the elements of out", m->name);
    size_t bytes, row = gmm_moe_case_row(made);
    char *got = gmm_built_collect(&out.array, &bytes);
    for (int64_t i = 0; i < count; i++)
        if (tokens[i] != JUNK && memcmp(got + (size_t)i * row, s->expected + (size_t)tokens[i] * row, row) != 0)
            fail_msg("%s: token %d, row %d of %d, has other bits", m->name, (int)tokens[i], (int)i, (int)count);
    free(got);
    gmm_built_free(&x);
    gmm_built_free(&ids);
    gmm_built_free(&weights);
    gmm_built_free(&out);
}

static void expect_all(const subject *s, const manner *m)
{
    int64_t tokens[TOKENS];

    for (int64_t t = 0; t < TOKENS; t++)
        tokens[t] = t;
    expect_rows(s, m, tokens, TOKENS);
}

/* All in an order of their own; a few among junk; one alone. */
static void expect_some(const subject *s, const manner *m)
{
    int64_t tokens[TOKENS], one;

    for (int64_t t = 0; t < TOKENS; t++)
        tokens[t] = (t * 27 + 11) % TOKENS; /* 27 and 40 have no divisor in common */
    expect_rows(s, m, tokens, TOKENS);
    for (int64_t t = 0; t < TOKENS; t++)
        tokens[t] = gmm_random_chance(&seeded, 30) ? gmm_random_between(&seeded, 0, TOKENS - 1) : JUNK;
    expect_rows(s, m, tokens, gmm_random_between(&seeded, 1, TOKENS));
    for (int i = 0; i < 3; i++) {
        one = gmm_random_between(&seeded, 0, TOKENS - 1);
        expect_rows(s, m, &one, 1);
    }
    expect_rows(s, m, tokens, 0);
}

/* ---- what does not matter ---------------------------------------------------------------------------------------- */

static void expect_plans(const subject *s, gmm_context *const *contexts, bool routed)
{
    for (int c = 0; c < 3; c++) {
        manner m = {.name = "plan", .context = contexts[c], .poison = GMM_POISON_QUIET_NAN};
        int64_t junk[TOKENS];
        /* for more tokens and slots than there are, or for just these */
        assert_int_equal(gmm_moe_plan_create(contexts[c], &s->made.layer, c == 1 ? 3 * TOKENS : TOKENS,
                                             c == 1 ? SLOTS + 2 : SLOTS, &m.plan),
                         GMM_OK);
        for (int64_t t = 0; t < TOKENS; t++)
            junk[t] = JUNK; /* what the scratch is to hold */
        expect_rows(s, &m, junk, TOKENS);
        expect_all(s, &m);
        expect_all(s, &m);
        expect_some(s, &m);
        m.routed = routed;
        m.name = "plan, routed";
        expect_all(s, &m);
        expect_some(s, &m);
        gmm_moe_plan_destroy(m.plan);
    }
}

static void expect_subject(const subject *s, gmm_context *const *contexts, bool routed)
{
    static const char *const names[] = {"one thread", "two threads", "three threads", "a host's loop"};
    gmm_moe_model model;

    for (int c = 0; c < 4; c++) {
        manner m = {.name = names[c], .context = contexts[c], .poison = (gmm_poison)(c + 1)};
        expect_all(s, &m);
        expect_some(s, &m);
        m.routed = routed;
        expect_all(s, &m);
        expect_some(s, &m);
        m.strided = true;
        m.name = "any strides";
        expect_all(s, &m);
        expect_some(s, &m);
    }
    assert_int_equal(gmm_moe_check(&s->made.layer, &model), GMM_OK);
    manner m = {.name = "scratch of NaN", .context = contexts[1], .model = &model, .routed = routed};
    expect_all(s, &m);
    expect_some(s, &m);
    expect_plans(s, contexts, routed);
}

static void bits_are_a_tokens_own(void **state)
{
    gmm_context *contexts[] = {context_of((gmm_context_options){.threads = 1}),
                               context_of((gmm_context_options){.threads = 2}),
                               context_of((gmm_context_options){.threads = 3}),
                               context_of((gmm_context_options){.parallel_for = gmm_loop_reversed})};

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int i = 0; i < 2 * format_count; i++) {
        gmm_moe_spec spec = spec_of(i);
        bool routed = i % 3 == 0;
        subject s;
        if (i >= 8 && !gmm_test_wanted(&seeded))
            continue;
        make_subject(&s, &spec, routed);
        expect_subject(&s, contexts, routed);
        free_subject(&s);
    }
    for (size_t c = 0; c < sizeof contexts / sizeof contexts[0]; c++)
        gmm_context_destroy(contexts[c]);
}

/* One expert for all slots of all tokens: parts of so many rows that they are cut. */
static void one_expert_of_many_rows(void **state)
{
    gmm_moe_spec spec = plain(formats[0], formats[3]);
    gmm_context *two = context_of((gmm_context_options){.threads = 2});
    subject s;

    (void)state;
    gmm_random_start(&seeded, __func__);
    spec.inner = 8256; /* 128 rows a part */
    spec.experts = 2;
    spec.slots = 8;
    spec.hidden = 64;
    make_subject(&s, &spec, false);
    for (int64_t i = 0; i < TOKENS * spec.slots; i++)
        ((int32_t *)s.made.ids.data)[i] = i % 50 == 0;
    gmm_moe_case_run(gmm_case_one_thread(), &s.made);
    memcpy(s.expected, s.made.out.data, TOKENS * gmm_moe_case_row(&s.made));
    manner m = {.name = "many rows", .context = two};
    for (int64_t t = 0; t < TOKENS; t += 9) {
        int64_t one = t;
        expect_rows(&s, &m, &one, 1);
    }
    expect_all(&s, &m);
    free_subject(&s);
    gmm_context_destroy(two);
}

/* ---- pieces of workers ------------------------------------------------------------------------------------------- */

enum {
    MANY = 1300 /* rows: a piece or more for each of four workers */
};

/* Tokens of the subject in any order, again and again, and junk. */
static void expect_many(const subject *s, const manner *m)
{
    int64_t tokens[MANY];

    for (int64_t i = 0; i < MANY; i++)
        tokens[i] = gmm_random_chance(&seeded, 10) ? JUNK : gmm_random_between(&seeded, 0, TOKENS - 1);
    expect_rows(s, m, tokens, MANY);
}

static void pieces_do_not_show(void **state)
{
    int64_t calls = 0;
    gmm_context *contexts[] = {context_of((gmm_context_options){.threads = 2}),
                               context_of((gmm_context_options){
                                   .threads = 3, .parallel_for = gmm_loop_three_threads, .parallel_for_user = &calls}),
                               context_of((gmm_context_options){.threads = 4, .parallel_for = gmm_loop_reversed})};

    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int i = 0; i < 2 * format_count; i++) {
        gmm_moe_spec spec = spec_of(i);
        gmm_moe_model model;
        gmm_moe_sizes sizes;
        subject s;
        if (i >= 3 && !gmm_random_chance(&seeded, 40))
            continue;
        make_subject(&s, &spec, false);
        assert_int_equal(gmm_moe_check(&s.made.layer, &model), GMM_OK);
        for (int c = 0; c < 3; c++) {
            manner m = {.name = "pieces", .context = contexts[c], .strided = c == 1, .poison = (gmm_poison)(c + 1)};
            gmm_moe_plan_sizes(m.context, &model, MANY, SLOTS, &sizes);
            assert_true(gmm_moe_piece_rows(m.context, &model, &sizes, MANY * (SLOTS - 1)) > 0);
            expect_many(&s, &m);
            m.model = &model;
            m.name = "pieces in scratch of NaN";
            expect_many(&s, &m);
            assert_int_equal(gmm_moe_plan_create(m.context, &s.made.layer, MANY, SLOTS, &m.plan), GMM_OK);
            m.model = NULL;
            m.name = "pieces of a plan";
            expect_many(&s, &m);
            expect_some(&s, &m);
            gmm_moe_plan_destroy(m.plan);
        }
        free_subject(&s);
    }
    for (size_t c = 0; c < sizeof contexts / sizeof contexts[0]; c++)
        gmm_context_destroy(contexts[c]);
}

/* ---- blocks of tokens, and cancelling ---------------------------------------------------------------------------- */

typedef struct watcher {
    int64_t calls, stop_at; /* the call that cancels; -1: none */
    int64_t last, total;
} watcher;

/* cmocka may not fail from in here: a wrong report cancels. */
static bool watch(void *user, int64_t done, int64_t total)
{
    watcher *w = user;
    bool good = done >= w->last && done <= total && (w->calls == 0 || total == w->total);

    w->last = done;
    w->total = total;
    return good && w->calls++ != w->stop_at;
}

/* So many slots, nearly all of them skipped, that scratch has room for 129 tokens at a time. */
enum {
    WIDE_TOKENS = 300,
    WIDE_SLOTS = 4000,
    WIDE_HIDDEN = 64
};

static void make_wide(subject *s)
{
    gmm_moe_spec spec = plain(formats[0], formats[1]);
    int32_t *ids;

    spec.tokens = WIDE_TOKENS;
    spec.slots = WIDE_SLOTS;
    spec.hidden = WIDE_HIDDEN;
    spec.inner = 32;
    make_subject(s, &spec, false);
    ids = s->made.ids.data;
    for (int64_t i = 0; i < WIDE_TOKENS * WIDE_SLOTS; i++)
        ids[i] = i % 1999 == 0 ? (int32_t)(i % EXPERTS) : -1;
}

/* Rows that are as expected at the beginning; the rest must be untouched. -1: a row is neither. */
static int64_t finished_rows(const subject *s)
{
    size_t row = gmm_moe_case_row(&s->made);
    const char *out = s->made.out.data;
    int64_t finished = 0;

    while (finished < WIDE_TOKENS && !memcmp(out + (size_t)finished * row, s->expected + (size_t)finished * row, row))
        finished++;
    for (size_t i = (size_t)finished * row; i < WIDE_TOKENS * row; i++)
        if (out[i] != (char)0xA5)
            return -1;
    return finished;
}

static gmm_status run_watched(subject *s, gmm_moe_plan *plan, watcher *w, int64_t stop_at)
{
    gmm_moe_case *made = &s->made;

    *w = (watcher){.stop_at = stop_at};
    memset(made->out.data, 0xA5, WIDE_TOKENS * gmm_moe_case_row(made));
    if (plan)
        return gmm_moe_plan_run(plan, &made->x, &made->ids, &made->weights, &made->out);
    return gmm_moe_run(gmm_case_one_thread(), &made->layer, &made->x, &made->ids, &made->weights, &made->out);
}

static void cancelled_calls_leave_whole_rows(void **state)
{
    gmm_context *two = context_of((gmm_context_options){.threads = 2});
    gmm_moe_plan *plan = NULL;
    watcher w = {.stop_at = -1};
    subject s;
    int64_t calls, most = 0;
    size_t row;

    (void)state;
    gmm_random_start(&seeded, __func__);
    make_wide(&s);
    row = gmm_moe_case_row(&s.made);
    /* Each token alone: one block. */
    for (int64_t t = 0; t < WIDE_TOKENS; t++) {
        const int64_t shape[] = {1, WIDE_HIDDEN}, slots[] = {1, WIDE_SLOTS};
        gmm_array x = {(char *)s.made.x.data + t * WIDE_HIDDEN * 4, GMM_F32, 2, shape, NULL, 0};
        gmm_array ids = {(int32_t *)s.made.ids.data + t * WIDE_SLOTS, GMM_I32, 2, slots, NULL, 0};
        gmm_array weights = {(float *)s.made.weights.data + t * WIDE_SLOTS, GMM_F32, 2, slots, NULL, 0};
        gmm_array out = {s.expected + (size_t)t * row, GMM_F32, 2, shape, NULL, 0};
        assert_int_equal(gmm_moe_run(gmm_case_one_thread(), &s.made.layer, &x, &ids, &weights, &out), GMM_OK);
    }
    s.made.layer.progress = watch;
    s.made.layer.progress_user = &w;
    assert_int_equal(run_watched(&s, NULL, &w, -1), GMM_OK);
    assert_int_equal(finished_rows(&s), WIDE_TOKENS);
    calls = w.calls;
    assert_true(calls >= 7); /* before the first, and two for each of three blocks */
    assert_int_equal(gmm_moe_plan_create(two, &s.made.layer, WIDE_TOKENS, WIDE_SLOTS, &plan), GMM_OK);
    for (int64_t stop_at = 0; stop_at < calls; stop_at++) {
        char text[96];
        assert_int_equal(run_watched(&s, stop_at % 2 ? plan : NULL, &w, stop_at), GMM_ERR_CANCELLED);
        snprintf(text, sizeof text, "cancelled after %lld of %lld parts", (long long)w.last, (long long)w.total);
        assert_string_equal(gmm_error_detail(), text);
        int64_t finished = finished_rows(&s);
        assert_true(finished >= most && finished < WIDE_TOKENS);
        most = finished;
        /* What a cancelled run leaves behind changes nothing. */
        assert_int_equal(run_watched(&s, plan, &w, -1), GMM_OK);
        assert_int_equal(finished_rows(&s), WIDE_TOKENS);
    }
    assert_true(most > 0);
    gmm_moe_plan_destroy(plan);
    free_subject(&s);
    gmm_context_destroy(two);
}

/* Between pieces too. */
static void cancelled_between_pieces(void **state)
{
    gmm_moe_spec spec = plain(formats[0], formats[1]);
    gmm_context *two = context_of((gmm_context_options){.threads = 2});
    watcher w = {.stop_at = -1};
    subject s;
    int64_t calls = 0;

    (void)state;
    gmm_random_start(&seeded, __func__);
    spec.tokens = MANY;
    spec.skips = false;
    gmm_moe_case_make(&s.made, &seeded, &spec);
    s.made.layer.progress = watch;
    s.made.layer.progress_user = &w;
    for (int64_t stop_at = -1; stop_at < calls; stop_at++) {
        size_t bytes = MANY * gmm_moe_case_row(&s.made);
        memset(s.made.out.data, 0xA5, bytes);
        w = (watcher){.stop_at = stop_at};
        gmm_status status = gmm_moe_run(two, &s.made.layer, &s.made.x, &s.made.ids, &s.made.weights, &s.made.out);
        assert_int_equal(status, stop_at < 0 ? GMM_OK : GMM_ERR_CANCELLED);
        for (size_t i = 0; stop_at >= 0 && i < bytes; i++)
            assert_int_equal(((unsigned char *)s.made.out.data)[i], 0xA5);
        calls = stop_at < 0 ? w.calls : calls;
    }
    assert_int_equal(calls, 5); /* before the first, and after each of four times four pieces for two workers */
    gmm_moe_case_free(&s.made);
    gmm_context_destroy(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_are_a_tokens_own),    cmocka_unit_test(one_expert_of_many_rows),
        cmocka_unit_test(pieces_do_not_show),       cmocka_unit_test(cancelled_calls_leave_whole_rows),
        cmocka_unit_test(cancelled_between_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
