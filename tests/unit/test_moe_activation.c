/* test_moe_activation.c - the exponential and the activations against double precision. */
/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "cmocka_test.h"
#include "kernels/exponential.h"
#include "kernels/kernel.h"
#include "random.h"

extern const gmm_kernel gmm_activate_f32_portable;

static const double unit = 0x1p-24;

/* f(gate, up) as gpt-oss has alpha and limit. Other kernels have the same bits: kernel_check. */
static float activate(int activation, float gate, float up)
{
    float out = NAN;

    gmm_activate_f32_portable.activate(&(gmm_activate){.activation = (gmm_activation)activation,
                                                       .alpha = 1.702f,
                                                       .limit = 7,
                                                       .gate = &gate,
                                                       .up = &up,
                                                       .out = &out,
                                                       .count = 1});
    return out;
}

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
                float g = gmm_f32_from_bits(bits | (uint32_t)sign << 31);
                float out = activate(a, g, a == GMM_ACTIVATION_SWIGLU_CLAMPED ? 0.0f : 1.0f);
                double c, exact = exact_of((gmm_activation)a, (double)g, &c), error = fabs((double)out - exact);
                if (!(error <= c * unit * fabs(exact) + (fabs((double)g) + 1) * 0x1p-147))
                    fail_msg("function %d of %a is %a, not %a", a, (double)g, (double)out, exact);
            }
}

static void not_a_number_stays_one(void **state)
{
    (void)state;
    for (int a = GMM_ACTIVATION_SILU; a <= GMM_ACTIVATION_RELU_SQUARED; a++) {
        float of_infinity = activate(a, INFINITY, 1);
        assert_true(isnan(activate(a, NAN, 1)));
        assert_true(isnan(activate(a, 1, NAN)));
        assert_true(a == GMM_ACTIVATION_SWIGLU_CLAMPED ? isfinite(of_infinity) : isinf(of_infinity));
    }
}

/* gate and up are clamped as gpt-oss has it: no lower end for gate. */
static void clamped_at_both_ends(void **state)
{
    static const float gate[] = {9, 9, -9, 2}, up[] = {9, -9, 9, 0.5f};

    (void)state;
    for (int i = 0; i < 4; i++) {
        double g = fmin((double)gate[i], 7), u = fmax(fmin((double)up[i], 7), -7);
        double exact = g / (1 + exp(-(double)1.702f * g)) * (u + 1);
        assert_true(fabs((double)activate(GMM_ACTIVATION_SWIGLU_CLAMPED, gate[i], up[i]) - exact) <=
                    64 * unit * fabs(exact));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponential),
        cmocka_unit_test(every_number),
        cmocka_unit_test(not_a_number_stays_one),
        cmocka_unit_test(clamped_at_both_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
