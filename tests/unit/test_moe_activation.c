/* test_moe_activation.c - the exponential and the activations against double precision; the same bits at any place. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "cmocka_test.h"
#include "moe/activation.h"
#include "moe/moe_math.h"
#include "random.h"

static const double unit = 0x1p-24;

/* Every so many of the f32 numbers. */
static uint32_t step(void)
{
    int64_t wanted = gmm_test_rounds(64);

    return wanted > 4000 ? 1 : 4001 / (uint32_t)wanted;
}

/* All x from -0 to -106. */
static void exponential(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits <= 0x42d40000; bits += step()) {
        float x = -gmm_f32_from_bits(bits), got = gmm_exp_negative(x);
        double exact = exp((double)x), error = fabs((double)got - exact);
        int exponent;
        frexp(exact, &exponent);
        /* two units in the last place, 2^(exponent - 24) */
        if (!(error <= 2 * ldexp(1, exponent - 24) + (exact < 0x1p-126 ? 0x1p-149 : 0)))
            fail_msg("exp(%a) is %a", (double)x, (double)got);
    }
    assert_true(isnan(gmm_exp_negative(NAN)));
    assert_true(gmm_exp_negative(-INFINITY) == 0);
    assert_true(gmm_exp_negative(0) == 1);
    assert_true(gmm_logistic(INFINITY) == 1 && gmm_logistic(-INFINITY) == 0 && gmm_logistic(0) == 0.5f);
    assert_true(isnan(gmm_logistic(NAN)));
}

/* The function of g alone in double precision, and the bound's factor. */
static double exact_of(gmm_activation activation, double g, double *c)
{
    double inner = sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g), clamped = g > 7 ? 7 : g;

    switch (activation) {
    case GMM_ACTIVATION_SILU:
        *c = 8;
        return g / (1 + exp(-g));
    case GMM_ACTIVATION_GELU:
        *c = 32 + 3 * g * g;
        return g * erfc(-g / sqrt(2)) / 2;
    case GMM_ACTIVATION_GELU_TANH:
        *c = 8 + 14 * fabs(inner);
        return g / (1 + exp(-2 * inner));
    case GMM_ACTIVATION_SWIGLU_CLAMPED:
        *c = 10 + 2 * fabs(1.702 * clamped);
        return clamped / (1 + exp(-(double)1.702f * clamped));
    default:
        *c = 1;
        return g > 0 ? g * g : 0;
    }
}

static void every_number(void **state)
{
    (void)state;
    for (int a = GMM_ACTIVATION_SILU; a <= GMM_ACTIVATION_RELU_SQUARED; a++)
        for (uint32_t bits = 0; bits <= 0x5e000000; bits += 16 * step())
            for (int sign = 0; sign < 2; sign++) {
                float g = gmm_f32_from_bits(bits | (uint32_t)sign << 31), out,
                      up = a == GMM_ACTIVATION_SWIGLU_CLAMPED ? 0.0f : 1.0f;
                double c, exact = exact_of((gmm_activation)a, (double)g, &c);
                gmm_activate((gmm_activation)a, 1.702f, 7, &g, &up, &out, 1);
                double error = fabs((double)out - exact);
                if (!(error <= c * unit * fabs(exact) + (fabs((double)g) + 1) * 0x1p-147))
                    fail_msg("function %d of %a is %a, not %a", a, (double)g, (double)out, exact);
            }
}

static void not_a_number_stays_one(void **state)
{
    (void)state;
    for (int a = GMM_ACTIVATION_SILU; a <= GMM_ACTIVATION_RELU_SQUARED; a++) {
        float nan = NAN, one = 1, huge = INFINITY, out;
        gmm_activate((gmm_activation)a, 1.702f, 7, &nan, &one, &out, 1);
        assert_true(isnan(out));
        gmm_activate((gmm_activation)a, 1.702f, 7, &one, &nan, &out, 1);
        assert_true(isnan(out));
        gmm_activate((gmm_activation)a, 1.702f, 7, &huge, &one, &out, 1);
        assert_true(a == GMM_ACTIVATION_SWIGLU_CLAMPED ? isfinite(out) : isinf(out));
    }
}

/* gate and up are clamped as gpt-oss has it: no lower end for gate. */
static void clamped_at_both_ends(void **state)
{
    static const float gate[] = {9, 9, -9, 2}, up[] = {9, -9, 9, 0.5f};
    float out[4];

    (void)state;
    gmm_activate(GMM_ACTIVATION_SWIGLU_CLAMPED, 1.702f, 7, gate, up, out, 4);
    for (int i = 0; i < 4; i++) {
        double g = fmin((double)gate[i], 7), u = fmax(fmin((double)up[i], 7), -7);
        double exact = g / (1 + exp(-(double)1.702f * g)) * (u + 1);
        assert_true(fabs((double)out[i] - exact) <= 64 * unit * fabs(exact));
    }
}

/* Whatever part of a vector an element falls into. */
static void bits_do_not_depend_on_the_place(void **state)
{
    float gate[GMM_ACTIVATION_BLOCK + 1], up[GMM_ACTIVATION_BLOCK + 1], out[GMM_ACTIVATION_BLOCK + 1], one;
    gmm_random random;

    (void)state;
    gmm_random_start(&random, __func__);
    for (int64_t round = gmm_test_rounds(200); round > 0; round--)
        for (int a = GMM_ACTIVATION_SILU; a <= GMM_ACTIVATION_RELU_SQUARED; a++) {
            int64_t count = gmm_random_between(&random, 1, GMM_ACTIVATION_BLOCK);
            int64_t shift = gmm_random_between(&random, 0, 1);
            for (int64_t i = 0; i < count; i++) {
                gate[shift + i] = (float)(20 * gmm_random_unit(&random));
                up[shift + i] = (float)(20 * gmm_random_unit(&random));
            }
            gmm_activate((gmm_activation)a, 1.702f, 7, gate + shift, up + shift, out + shift, count);
            for (int64_t i = 0; i < count; i++) {
                gmm_activate((gmm_activation)a, 1.702f, 7, gate + shift + i, up + shift + i, &one, 1);
                assert_memory_equal(&one, out + shift + i, sizeof one);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponential),
        cmocka_unit_test(every_number),
        cmocka_unit_test(not_a_number_stays_one),
        cmocka_unit_test(clamped_at_both_ends),
        cmocka_unit_test(bits_do_not_depend_on_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
