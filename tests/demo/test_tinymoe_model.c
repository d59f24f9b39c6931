/* test_tinymoe_model.c - the demo's model against the double-precision references, and against itself in other shapes.
 */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "activations.h"
#include "cmocka_test.h"
#include "evaluate.h"
#include "forward.h"
#include "stop.h"

static checkpoint source;
static reference expected;

static int open_model(void **state)
{
    (void)state;
    checkpoint_open(&source, TINYMOE_MODEL);
    reference_open(&expected, &source);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    reference_close(&expected);
    checkpoint_close(&source);
    return 0;
}

static model *model_in(const char *format, const gmm_context *context)
{
    return model_create(&source, context, weight_format_find(format, strlen(format)));
}

/* Formats that hold the stored weights exactly. */
static const char *const exact_formats[] = {"f32", "bf16"};

static void text_is_the_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        model *m = model_in(exact_formats[i], NULL);
        uint8_t *text = allocate(expected.text_bytes, 1);
        memcpy(text, expected.text, (size_t)expected.prompt_bytes);
        generate(m, text, expected.prompt_bytes, expected.text_bytes - expected.prompt_bytes);
        assert_memory_equal(text, expected.text, (size_t)expected.text_bytes);
        free(text);
        model_destroy(m);
    }
}

static double nats_of(const double *logits, int64_t vocab, uint8_t next)
{
    double top = -INFINITY, sum = 0.0;

    for (int64_t i = 0; i < vocab; i++)
        top = logits[i] > top ? logits[i] : top;
    for (int64_t i = 0; i < vocab; i++)
        sum += exp(logits[i] - top);
    return top + log(sum) - logits[next];
}

/*
 * Half the distance between the best two logits is what an error may be without another byte being chosen. -ln p moves
 * by at most twice what the logits do; half a rounding of log_sum_exp's own terms is far below that.
 */
static void logits_are_the_reference(void **state)
{
    int64_t vocab = source.config.vocab;
    double margin = reference_margin(&expected, vocab);

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        model *m = model_in(exact_formats[i], NULL);
        float *logits = reference_logits(m, &expected, expected.token_count);
        double error = logit_error(logits, &expected, vocab), ours = 0.0, exact = 0.0;
        assert_true(error < margin / 2.0);
        for (int64_t t = 0; t + 1 < expected.token_count; t++) {
            ours += log_sum_exp(logits + t * vocab, vocab) - (double)logits[t * vocab + expected.tokens[t + 1]];
            exact += nats_of(expected.logits + t * vocab, vocab, expected.tokens[t + 1]);
        }
        assert_true(fabs(ours - exact) <= 2.0 * error * (double)(expected.token_count - 1));
        free(logits);
        model_destroy(m);
    }
}

/* The contract of the products, seen from far above: in every format a token's bits depend on its context alone. */
static void same_bits_in_any_shape(void **state)
{
    static const char *const names[] = {"f32", "affine3", "mxfp8", "nvfp4"};
    gmm_context_options options = {.size = sizeof options, .threads = 3};
    gmm_context *three;
    int64_t count = expected.token_count;
    size_t bytes = (size_t)(count * source.config.vocab) * sizeof(float);

    (void)state;
    must(gmm_context_create(&options, &three), "context");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        model *m = model_in(names[i], NULL), *on_three = model_in(names[i], three);
        float *together = reference_logits(m, &expected, count), *other;
        int64_t shapes[] = {1, 129};
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            other = reference_logits(m, &expected, shapes[s]);
            assert_memory_equal(together, other, bytes);
            free(other);
        }
        other = reference_logits(on_three, &expected, count);
        assert_memory_equal(together, other, bytes);
        free(other);
        free(together);
        model_destroy(on_three);
        model_destroy(m);
    }
    gmm_context_destroy(three);
}

/* Sequences side by side do not see each other, nor what the cache held before a reset. */
static void sequences_are_apart(void **state)
{
    enum {
        SEQUENCES = 3,
        LENGTH = 100
    };
    model *m = model_in("f32", NULL);
    forward *many = forward_create(m, SEQUENCES, LENGTH), *one = forward_create(m, 1, LENGTH);
    int64_t row = LENGTH * source.config.vocab;
    float *together = allocate(SEQUENCES * row, sizeof(float)), *alone = allocate(row, sizeof(float));

    (void)state;
    forward_run(many, expected.heldout + 5000, SEQUENCES, LENGTH, together);
    forward_reset(many);
    forward_run(many, expected.heldout, SEQUENCES, LENGTH, together);
    for (int64_t s = 0; s < SEQUENCES; s++) {
        forward_reset(one);
        forward_run(one, expected.heldout + s * LENGTH, 1, LENGTH, alone);
        assert_memory_equal(together + s * row, alone, (size_t)row * sizeof(float));
    }
    forward_destroy(many);
    forward_destroy(one);
    free(together);
    free(alone);
    model_destroy(m);
}

/* To the digits that the demo shows; it does so for all windows. */
static void heldout_text_is_the_reference(void **state)
{
    enum {
        WINDOWS = 5 /* four side by side, and one alone */
    };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        model *m = model_in(exact_formats[i], NULL);
        score s = evaluate(m, &expected, WINDOWS, 2);
        assert_true(fabs(s.nats_per_byte - reference_nats(&expected, WINDOWS)) < 0.5e-5);
        assert_true(s.logit_error < reference_margin(&expected, source.config.vocab) / 2.0);
        model_destroy(m);
    }
}

/* Every format runs, and has the size that its definition gives. */
static void every_format_runs(void **state)
{
    static const struct {
        const char *name;
        double bits; /* codes, and scales and biases shared by a group */
    } formats[] = {
        {"f32", 32},
        {"bf16", 16},
        {"affine8", 8 + 32 / 64.0},
        {"affine6", 6 + 32 / 64.0},
        {"affine5", 5.5},
        {"affine4", 4.5},
        {"affine3", 3.5},
        {"affine2", 2.5},
        {"mxfp8", 8 + 8 / 32.0},
        {"mxfp4", 4 + 8 / 32.0},
        {"nvfp4", 4 + 8 / 16.0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        model *m = model_in(formats[i].name, NULL);
        float *logits = reference_logits(m, &expected, expected.token_count);
        assert_true((double)m->bytes * 8.0 == formats[i].bits * (double)m->weights);
        assert_true(isfinite(logit_error(logits, &expected, source.config.vocab)));
        free(logits);
        model_destroy(m);
    }
}

static void exponential_is_good(void **state)
{
    (void)state;
    for (double x = -87.0; x <= 88.0; x += 0x1p-10) {
        double exact = exp(x), unit;
        int exponent;
        frexp(exact, &exponent);
        unit = ldexp(1.0, exponent - 24);
        assert_true(fabs((double)exponential((float)x) - exact) <= 2.0 * unit);
    }
    assert_true(exponential(-1e30f) == exponential(-87.0f));
    assert_true(exponential(1e30f) == exponential(88.0f));
}

static void softmax_rows(void **state)
{
    float row[4 * ROW_LANES];

    (void)state;
    for (int64_t valid = 1; valid <= 4 * ROW_LANES; valid++) {
        double sum = 0.0, exact[4 * ROW_LANES], total = 0.0;
        for (int64_t i = 0; i < 4 * ROW_LANES; i++)
            row[i] = i < valid ? (float)((i * 37) % 23) : NAN; /* what follows must not matter */
        for (int64_t i = 0; i < valid; i++)
            total += exact[i] = exp(0.5 * (double)row[i]);
        softmax_row(row, 0.5f, valid, 4 * ROW_LANES);
        for (int64_t i = 0; i < valid; i++) {
            sum += (double)row[i];
            /* exponential 4 u, at most valid additions, two roundings more */
            assert_true(fabs((double)row[i] - exact[i] / total) <= (double)(valid + 10) * 0x1p-24 * exact[i] / total);
        }
        for (int64_t i = valid; i < 4 * ROW_LANES; i++)
            assert_true(row[i] == 0.0f);
        assert_true(fabs(sum - 1.0) <= (double)(valid + 10) * 0x1p-24);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_the_reference),         cmocka_unit_test(logits_are_the_reference),
        cmocka_unit_test(same_bits_in_any_shape),        cmocka_unit_test(sequences_are_apart),
        cmocka_unit_test(heldout_text_is_the_reference), cmocka_unit_test(every_format_runs),
        cmocka_unit_test(exponential_is_good),           cmocka_unit_test(softmax_rows),
    };

    return cmocka_run_group_tests(tests, open_model, close_model);
}
