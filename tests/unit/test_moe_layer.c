/* test_moe_layer.c - whole expert layers against double precision: formats, activations, shapes, shared experts. */
/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "moe_case.h"

static gmm_random seeded;

static const gmm_moe_format formats[] = {
    {.dtype = GMM_F32},
    {.dtype = GMM_BF16},
    {.dtype = GMM_F16},
    {.mode = "affine"},
    {.mode = "mxfp4"},
    {.mode = "nvfp4"},
    {.dtype = GMM_BF16, .prepared = true},
    {.mode = "affine", .prepared = true},
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
    return (gmm_moe_spec){.experts = 5,
                          .hidden = 128,
                          .inner = 64,
                          .tokens = 7,
                          .slots = 3,
                          .gate = gate,
                          .down = down,
                          .x_dtype = GMM_F32,
                          .out_dtype = GMM_F32};
}

static void check(const gmm_moe_spec *spec)
{
    gmm_moe_case made;

    gmm_moe_case_make(&made, &seeded, spec);
    gmm_moe_case_run(NULL, &made);
    gmm_moe_case_check(&made);
    gmm_moe_case_free(&made);
}

static void every_pair_of_formats(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int gate = 0; gate < format_count; gate++)
        for (int down = 0; down < format_count; down++) {
            gmm_moe_spec spec = plain(formats[gate], formats[down]);
            spec.x_dtype = any_float();
            spec.out_dtype = any_float();
            spec.biases = gmm_random_chance(&seeded, 50);
            spec.skips = gmm_random_chance(&seeded, 50);
            check(&spec);
        }
}

static void every_activation_and_layout(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int activation = GMM_ACTIVATION_SILU; activation <= GMM_ACTIVATION_RELU_SQUARED; activation++)
        for (int layout = 0; layout < 4; layout++) { /* separate, concatenated, interleaved, ungated */
            gmm_moe_spec spec = plain(formats[gmm_random_between(&seeded, 0, format_count - 1)], formats[0]);
            spec.activation = (gmm_activation)activation;
            spec.stacked = layout == 1 || layout == 2;
            spec.layout = layout == 2 ? GMM_GATE_UP_INTERLEAVED : GMM_GATE_UP_CONCATENATED;
            spec.ungated = layout == 3;
            spec.biases = true;
            spec.inner = 96;
            if (!(spec.ungated && activation == GMM_ACTIVATION_SWIGLU_CLAMPED))
                check(&spec);
        }
}

static void experts_in_formats_of_their_own(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int i = 0; i < format_count; i++) {
        gmm_moe_spec spec = plain(formats[i], formats[format_count - 1 - i]);
        spec.each = true;
        spec.stacked = i % 2;
        spec.biases = i % 3 != 0;
        spec.skips = true;
        check(&spec);
    }
}

static void shared_experts(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int i = 0; i < 6; i++) {
        gmm_moe_spec spec = plain(formats[i], formats[i]);
        spec.shared_inner = 48 + 17 * i;
        spec.shared_gate = i % 2;
        spec.skips = true;
        spec.ungated = i == 4;
        check(&spec);
    }
}

/* Parts that hold several experts, or a part of one, and odd sizes. */
static void many_tokens(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int i = 0; i < 3; i++) {
        gmm_moe_spec spec = plain(formats[0], formats[1]);
        spec.experts = i == 0 ? 1 : 40;
        spec.hidden = 33;
        spec.inner = i == 2 ? 8200 : 37; /* wide enough for parts of the fewest rows */
        spec.tokens = i == 2 ? 90 : 400;
        spec.slots = 2;
        if (i == 2)
            spec.hidden = 16;
        check(&spec);
    }
}

static void random_layers(void **state)
{
    (void)state;
    gmm_random_start(&seeded, __func__);
    for (int64_t i = gmm_test_rounds(40); i > 0; i--) {
        gmm_moe_spec spec = plain(formats[gmm_random_between(&seeded, 0, format_count - 1)],
                                  formats[gmm_random_between(&seeded, 0, format_count - 1)]);
        spec.experts = gmm_random_between(&seeded, 1, 9);
        spec.tokens = gmm_random_between(&seeded, 0, 20);
        spec.slots = gmm_random_between(&seeded, 0, 4);
        spec.hidden = 64 * gmm_random_between(&seeded, 1, 3);
        spec.inner = 64 * gmm_random_between(&seeded, 1, 3);
        spec.activation = (gmm_activation)gmm_random_between(&seeded, 0, GMM_ACTIVATION_RELU_SQUARED);
        spec.stacked = gmm_random_chance(&seeded, 50);
        spec.layout = (gmm_gate_up)gmm_random_between(&seeded, 0, 1);
        spec.biases = gmm_random_chance(&seeded, 50);
        spec.shared_inner = gmm_random_chance(&seeded, 30) ? 40 : 0;
        spec.shared_gate = gmm_random_chance(&seeded, 50) && spec.shared_inner;
        spec.each = gmm_random_chance(&seeded, 20);
        spec.x_dtype = any_float();
        spec.out_dtype = any_float();
        spec.skips = true;
        check(&spec);
    }
}

static void sizes_are_told(void **state)
{
    gmm_moe_spec spec = plain(formats[0], formats[1]);
    gmm_moe_case made;
    gmm_moe_info info;

    (void)state;
    gmm_random_start(&seeded, __func__);
    spec.shared_inner = 48;
    gmm_moe_case_make(&made, &seeded, &spec);
    assert_int_equal(gmm_moe_describe(&made.layer, &info), GMM_OK);
    assert_int_equal(info.experts, 5);
    assert_int_equal(info.hidden, 128);
    assert_int_equal(info.intermediate, 64);
    assert_int_equal(info.shared_intermediate, 48);
    assert_int_equal(info.weight_bytes, 128 * 64 * (4 + 4 + 2));
    gmm_moe_case_free(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_of_formats),
        cmocka_unit_test(every_activation_and_layout),
        cmocka_unit_test(experts_in_formats_of_their_own),
        cmocka_unit_test(shared_experts),
        cmocka_unit_test(many_tokens),
        cmocka_unit_test(random_layers),
        cmocka_unit_test(sizes_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
