/* test_moe_explain.c - what is said of expert layers. */
/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "cmocka_test.h"
#include "moe_case.h"

static gmm_random seeded;

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

static gmm_context *portable(gmm_arithmetic arithmetic)
{
    gmm_context_options options = {.size = sizeof options, .threads = 2, .cpu_mask = "all", .arithmetic = arithmetic};
    gmm_context *context = NULL;

    assert_int_equal(gmm_context_create(&options, &context), GMM_OK);
    return context;
}

static void all_is_said(void **state)
{
    gmm_moe_spec spec = plain((gmm_moe_format){.mode = "affine"}, (gmm_moe_format){.dtype = GMM_BF16});
    gmm_context *context = portable(GMM_ARITHMETIC_F32);
    gmm_moe_case made;
    char text[2000];

    (void)state;
    gmm_random_start(&seeded, __func__);
    spec.stacked = true;
    spec.layout = GMM_GATE_UP_INTERLEAVED;
    spec.shared_inner = 48;
    spec.shared_gate = true;
    spec.activation = GMM_ACTIVATION_GELU;
    gmm_moe_case_make(&made, &seeded, &spec);
    assert_int_equal(gmm_moe_explain(context, &made.layer, 7, 3, text, sizeof text), GMM_OK);
    assert_string_equal(
        text,
        "layer: 5 experts of 128 x 64, gate and up in one stack, rows in turns, GELU by activate_f32_portable; a "
        "shared expert of 48, gate and up apart, with a weight of its own\n"
        "tokens: 7 with 3 experts each, in 1 block of at most 7; rows sorted by expert; parts of at most 21 rows\n"
        "scratch: 26.1 kB; 10.8 kB between the projections, 10.8 kB wait for the weighted sum\n"
        "gate_up: 128 x 128, affine, 4 bits, groups of 64; dot_f32_portable, from 13 rows of an expert on "
        "outer_f32_portable; decode: portable\n"
        "down: 128 x 64, BF16; dot_f32_portable, from 17 rows of an expert on outer_f32_portable; decode: "
        "portable\n"
        "shared gate: 48 x 128, BF16; dot_f32_portable, from 17 rows of an expert on outer_f32_portable; decode: "
        "portable\n"
        "shared up: 48 x 128, BF16; dot_f32_portable, from 17 rows of an expert on outer_f32_portable; decode: "
        "portable\n"
        "shared down: 128 x 48, BF16; dot_f32_portable, from 17 rows of an expert on outer_f32_portable; decode: "
        "portable\n"
        "shared_gate: 1 x 128, BF16; dot_f32_portable, from 17 rows of an expert on outer_f32_portable; decode: "
        "portable\n"
        "threads: up to 2\n");
    gmm_moe_case_free(&made);
    gmm_context_destroy(context);
}

/* A text that begins a line of its own; `first` is part of the line. */
static void expect_line(const char *text, const char *line)
{
    char wanted[200] = "\n";

    strcat(strcat(wanted, line), "\n");
    if (!strstr(text, wanted))
        fail_msg("no line \"%s\" in:\n%s", line, text);
}

static void formats_and_arithmetic(void **state)
{
    gmm_moe_spec spec = plain((gmm_moe_format){.mode = "nvfp4"}, (gmm_moe_format){.dtype = GMM_F32, .prepared = true});
    gmm_context *int8 = portable(GMM_ARITHMETIC_INT8);
    gmm_moe_case made;
    char text[2000];

    (void)state;
    gmm_random_start(&seeded, __func__);
    gmm_moe_case_make(&made, &seeded, &spec);
    assert_int_equal(gmm_moe_explain(int8, &made.layer, 100000, 3, text, sizeof text), GMM_OK);
    expect_line(text, "gate: 64 x 128, nvfp4, 4 bits, groups of 16; int8 sums by int8_nvfp4_portable");
    expect_line(text, "down: 128 x 64, F32, prepared; outer_f32_portable; decode: none");
    gmm_moe_case_free(&made);

    spec.each = true;
    spec.ungated = true;
    gmm_moe_case_make(&made, &seeded, &spec);
    assert_int_equal(gmm_moe_explain(int8, &made.layer, 1, 1, text, sizeof text), GMM_OK);
    expect_line(text, "up: 64 x 128, expert 0 of formats of their own: nvfp4, 4 bits, groups of 16; int8 sums by "
                      "int8_nvfp4_portable");
    assert_non_null(strstr(text, "one expert at a time"));
    assert_non_null(strstr(text, "no gate"));
    gmm_moe_case_free(&made);
    gmm_context_destroy(int8);
}

/* The scratch that is told is that of a plan; blocks follow from it. */
static void blocks_are_those_of_plans(void **state)
{
    gmm_moe_spec spec = plain((gmm_moe_format){.dtype = GMM_F32}, (gmm_moe_format){.dtype = GMM_F32});
    gmm_moe_plan *plan = NULL;
    gmm_moe_case made;
    char text[2000], scratch[40];

    (void)state;
    gmm_random_start(&seeded, __func__);
    gmm_moe_case_make(&made, &seeded, &spec);
    assert_int_equal(gmm_moe_explain(NULL, &made.layer, 1000000, 8, text, sizeof text), GMM_OK);
    assert_non_null(strstr(text, "\ntokens: 1000000 with 8 experts each, in 35 blocks of at most 28901; "));
    assert_int_equal(gmm_moe_plan_create(NULL, &made.layer, 40000, 8, &plan), GMM_OK);
    gmm_context *context = portable(GMM_ARITHMETIC_F32);
    assert_int_equal(gmm_moe_explain(context, &made.layer, 1000, 8, text, sizeof text), GMM_OK);
    assert_non_null(strstr(text, "; rows sorted by expert; each thread on its own, pieces of at most 128 rows\n"));
    assert_int_equal(gmm_moe_explain(context, &made.layer, 100, 8, text, sizeof text), GMM_OK);
    assert_non_null(strstr(text, "; rows sorted by expert; parts of at most 800 rows\n"));
    gmm_context_destroy(context);
    assert_int_equal(gmm_moe_explain(NULL, &made.layer, 40000, 8, text, sizeof text), GMM_OK);
    snprintf(scratch, sizeof scratch, "\nscratch: %.1f MB; ", (double)gmm_moe_plan_bytes(plan) * 1e-6);
    assert_non_null(strstr(text, scratch));
    gmm_moe_plan_destroy(plan);
    gmm_moe_case_free(&made);
}

static void cut_and_refused(void **state)
{
    gmm_moe_spec spec = plain((gmm_moe_format){.dtype = GMM_F32}, (gmm_moe_format){.dtype = GMM_F32});
    gmm_moe_case made;
    char whole[2000], text[2000];

    (void)state;
    gmm_random_start(&seeded, __func__);
    gmm_moe_case_make(&made, &seeded, &spec);
    assert_int_equal(gmm_moe_explain(NULL, &made.layer, 7, 3, whole, sizeof whole), GMM_OK);
    for (size_t size = 1; size <= strlen(whole) + 1; size++) {
        memset(text, 'x', sizeof text);
        assert_int_equal(gmm_moe_explain(NULL, &made.layer, 7, 3, text, size), GMM_OK);
        assert_int_equal(strlen(text), size - 1);
        assert_memory_equal(text, whole, size - 1);
        assert_int_equal(text[size], 'x');
    }
    memset(text, 'x', sizeof text);
    assert_int_equal(gmm_moe_explain(NULL, &made.layer, 7, 3, NULL, 100), GMM_ERR_NULL);
    assert_int_equal(gmm_moe_explain(NULL, &made.layer, 7, 3, text, 0), GMM_ERR_NULL);
    assert_string_equal(gmm_error_detail(), "text is NULL or of size 0");
    assert_int_equal(gmm_moe_explain(NULL, NULL, 7, 3, text, 100), GMM_ERR_NULL);
    assert_string_equal(gmm_error_detail(), "layer is NULL");
    assert_int_equal(gmm_moe_explain(NULL, &made.layer, 0, 3, text, 100), GMM_ERR_ARGUMENT);
    assert_int_equal(gmm_moe_explain(NULL, &made.layer, 7, 0, text, 100), GMM_ERR_ARGUMENT);
    assert_string_equal(gmm_error_detail(), "max_slots is 0 and the layer has no routing");
    assert_int_equal(gmm_moe_explain(NULL, &made.layer, INT64_MAX, 3, text, 100), GMM_ERR_MEMORY);
    assert_int_equal(text[0], 'x');
    gmm_moe_case_free(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_said),
        cmocka_unit_test(formats_and_arithmetic),
        cmocka_unit_test(blocks_are_those_of_plans),
        cmocka_unit_test(cut_and_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
