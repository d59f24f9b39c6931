/* test_errors_moe.c - every expert layer that is refused: the status, the numbers in the message, out untouched. */
/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_test.h"
#include "gathermm/moe.h"

enum {
    most = 4096
};

/* A valid call whose parts a test then spoils: 3 tokens of 8, 2 of 5 experts each, 6 inside, a shared expert of 4. Not
 * to be copied. */
typedef struct subject {
    gmm_moe_layer layer;
    gmm_routing routing;
    gmm_array gate, up, down, router, bias, correction, shared_up, shared_down, shared_gate, x, ids, weights, out;
    int64_t up_shape[3], down_shape[3], router_shape[3], bias_shape[2], correction_shape[1];
    int64_t shared_up_shape[2], shared_down_shape[2], shared_gate_shape[2];
    int64_t x_shape[2], ids_shape[2], weights_shape[2], out_shape[2], strides[3];
    gmm_moe_weights each[5];
    const gmm_array *given_ids, *given_weights;
} subject;

static float up_data[most], down_data[most], router_data[most], bias_data[most], correction_data[most], x_data[most];
static float weights_data[most], out_data[most], out_before[most];
static int32_t ids_data[most];

static gmm_array array(void *data, gmm_dtype dtype, int32_t ndim, const int64_t *shape)
{
    return (gmm_array){.data = data, .dtype = dtype, .ndim = ndim, .shape = shape};
}

static void set(int64_t *shape, int64_t a, int64_t b)
{
    shape[0] = a;
    shape[1] = b;
}

static void make(subject *s)
{
    memset(s, 0, sizeof *s);
    set(s->up_shape, 5, 6);
    s->up_shape[2] = 8;
    set(s->down_shape, 5, 8);
    s->down_shape[2] = 6;
    set(s->router_shape, 5, 8);
    set(s->bias_shape, 5, 6);
    s->correction_shape[0] = 5;
    set(s->shared_up_shape, 4, 8);
    set(s->shared_down_shape, 8, 4);
    set(s->shared_gate_shape, 1, 8);
    set(s->x_shape, 3, 8);
    set(s->ids_shape, 3, 2);
    set(s->weights_shape, 3, 2);
    set(s->out_shape, 3, 8);
    s->gate = s->up = array(up_data, GMM_F32, 3, s->up_shape);
    s->down = array(down_data, GMM_F32, 3, s->down_shape);
    s->router = array(router_data, GMM_F32, 2, s->router_shape);
    s->bias = array(bias_data, GMM_F32, 2, s->bias_shape);
    s->correction = array(correction_data, GMM_F32, 1, s->correction_shape);
    s->shared_up = array(up_data, GMM_F32, 2, s->shared_up_shape);
    s->shared_down = array(down_data, GMM_F32, 2, s->shared_down_shape);
    s->shared_gate = array(up_data, GMM_F32, 2, s->shared_gate_shape);
    s->x = array(x_data, GMM_F32, 2, s->x_shape);
    s->ids = array(ids_data, GMM_I32, 2, s->ids_shape);
    s->weights = array(weights_data, GMM_F32, 2, s->weights_shape);
    s->out = array(out_data, GMM_F32, 2, s->out_shape);
    s->given_ids = &s->ids;
    s->given_weights = &s->weights;
    s->routing = (gmm_routing){.size = sizeof s->routing, .top_k = 2, .router = {.rhs = &s->router}};
    s->layer = (gmm_moe_layer){
        .size = sizeof s->layer,
        .experts = {.gate = {.rhs = &s->gate, .bias = &s->bias}, .up = {.rhs = &s->up}, .down = {.rhs = &s->down}},
        .shared = {.gate = {.rhs = &s->shared_up}, .up = {.rhs = &s->shared_up}, .down = {.rhs = &s->shared_down}},
        .shared_gate = {.rhs = &s->shared_gate},
        .routing = &s->routing};
    for (int i = 0; i < most; i++) {
        ids_data[i] = i % 5;
        x_data[i] = router_data[i] = (float)(i % 7) - 3;
    }
}

/* One way to spoil a call. */
typedef struct spoiled {
    void (*spoil)(subject *s);
    gmm_status status;
    const char *detail;
} spoiled;

/* ---- of layers: gmm_moe_describe and gmm_moe_plan_create refuse them too ----------------------------------------- */

#define SPOIL(name, ...)                                                                                               \
    static void name(subject *s)                                                                                       \
    {                                                                                                                  \
        __VA_ARGS__;                                                                                                   \
    }

SPOIL(old_size, s->layer.size = 8)
SPOIL(no_down, s->layer.experts.down.rhs = NULL)
SPOIL(no_experts, memset(&s->layer.experts, 0, sizeof s->layer.experts))
SPOIL(gate_alone, s->layer.experts.up.rhs = NULL)
SPOIL(two_kinds, s->layer.experts.gate_up.rhs = &s->up)
SPOIL(both_ways, s->layer.experts.up.each = s->each; s->layer.experts.up.each_count = 5)
SPOIL(bias_alone, s->layer.experts.gate.rhs = NULL)
SPOIL(each_of_none, s->layer.experts.up = (gmm_moe_weights){.each = s->each})
SPOIL(each_empty, s->layer.experts.up = (gmm_moe_weights){.each = s->each, .each_count = 5})
SPOIL(each_of_three, s->each[0].rhs = &s->shared_up; s->each[1].rhs = &s->up;
      s->layer.experts.up = (gmm_moe_weights){.each = s->each, .each_count = 2})
SPOIL(each_uneven, s->each[0].rhs = &s->shared_up; s->each[1].rhs = &s->shared_down;
      s->layer.experts.up = (gmm_moe_weights){.each = s->each, .each_count = 2})
SPOIL(each_and_bias, s->each[0].rhs = &s->shared_up;
      s->layer.experts.up = (gmm_moe_weights){.each = s->each, .each_count = 1, .bias = &s->bias})
SPOIL(up_of_integers, s->up.dtype = GMM_I32)
SPOIL(up_of_one_axis, s->up.ndim = 1)
SPOIL(fewer_ups, s->gate.shape = s->strides; set(s->strides, 4, 6); s->strides[2] = 8;
      s->layer.experts.gate.bias = NULL)
SPOIL(bias_of_integers, s->bias.dtype = GMM_U8)
SPOIL(long_bias, s->bias_shape[1] = 7)
SPOIL(layout_seven, s->layer.experts.gate_up_layout = (gmm_gate_up)7)
SPOIL(activation_nine, s->layer.activation = (gmm_activation)9)
SPOIL(clamped_ungated, s->layer.activation = GMM_ACTIVATION_SWIGLU_CLAMPED; s->layer.experts.gate.rhs = NULL;
      s->layer.experts.gate.bias = NULL)
SPOIL(negative_limit, s->layer.activation = GMM_ACTIVATION_SWIGLU_CLAMPED; s->layer.limit = -2)
SPOIL(alpha_nan, s->layer.activation = GMM_ACTIVATION_SWIGLU_CLAMPED; s->layer.alpha = NAN)
SPOIL(shared_gate_alone, memset(&s->layer.shared, 0, sizeof s->layer.shared))
SPOIL(shared_narrow, s->shared_down_shape[0] = s->shared_up_shape[1] = 7)
SPOIL(shared_gate_wide, s->shared_gate_shape[1] = 9)
SPOIL(shared_gate_bias, s->layer.shared_gate.bias = &s->correction; s->correction_shape[0] = 1)
SPOIL(old_routing, s->routing.size = 4)
SPOIL(top_six, s->routing.top_k = 6)
SPOIL(routing_five, s->routing.kind = (gmm_routing_kind)5)
SPOIL(router_narrow, s->router_shape[1] = 7)
SPOIL(router_each, s->routing.router = (gmm_moe_weights){.each = s->each, .each_count = 1}; s->each[0].rhs = &s->router)

static const spoiled layers[] = {
    {old_size, GMM_ERR_ARGUMENT, "layer->size is 8; this library knows "},
    {no_down, GMM_ERR_ARGUMENT, "down is missing"},
    {no_experts, GMM_ERR_ARGUMENT, "down is missing"},
    {gate_alone, GMM_ERR_ARGUMENT, "there must be gate_up, or gate and up, or up alone"},
    {two_kinds, GMM_ERR_ARGUMENT, "there must be gate_up, or gate and up, or up alone"},
    {both_ways, GMM_ERR_ARGUMENT, "up: exactly one of rhs, quantized, prepared and each must be set; 2 are"},
    {bias_alone, GMM_ERR_ARGUMENT, "gate: exactly one of rhs, quantized, prepared and each must be set; 0 are"},
    {each_of_none, GMM_ERR_ARGUMENT, "up: each_count is 0; it must be 1 or more"},
    {each_empty, GMM_ERR_ARGUMENT, "up of expert 0: exactly one of rhs, quantized and prepared must be set"},
    {each_of_three, GMM_ERR_SHAPE, "up of expert 1 has 5 matrices; it must have 1"},
    {each_uneven, GMM_ERR_SHAPE, "up of expert 1 is 8 x 4; expert 0 has 4 x 8"},
    {each_and_bias, GMM_ERR_ARGUMENT, "up has a bias beside `each`; it belongs into each"},
    {up_of_integers, GMM_ERR_DTYPE, "up is I32; it may be f32, f16 or bf16"},
    {up_of_one_axis, GMM_ERR_SHAPE, "up has 1 axes; it must have 2 or 3"},
    {fewer_ups, GMM_ERR_SHAPE, "gate is (4, 6, 8); it must be (5, 6, 8)"},
    {bias_of_integers, GMM_ERR_DTYPE, "the bias of gate is U8; it may be f32, f16 or bf16"},
    {long_bias, GMM_ERR_SHAPE, "the bias of gate is (5, 7); it must be (5, 6)"},
    {layout_seven, GMM_ERR_ARGUMENT, "gate_up_layout is 7; it may be 0 or 1"},
    {activation_nine, GMM_ERR_ARGUMENT, "activation is 9; it may be 0 to 4"},
    {clamped_ungated, GMM_ERR_ARGUMENT, "GMM_ACTIVATION_SWIGLU_CLAMPED needs a gate"},
    {negative_limit, GMM_ERR_ARGUMENT, "alpha is 0 and limit -2; both must be finite, limit not negative"},
    {alpha_nan, GMM_ERR_ARGUMENT, "alpha is nan and limit 0; both must be finite, limit not negative"},
    {shared_gate_alone, GMM_ERR_ARGUMENT, "there is a shared_gate but no shared expert"},
    {shared_narrow, GMM_ERR_SHAPE, "shared down is (1, 7, 4); it must be (1, 8, I)"},
    {shared_gate_wide, GMM_ERR_SHAPE, "shared_gate is (1, 1, 9); it must be (1, 1, 8)"},
    {shared_gate_bias, GMM_ERR_ARGUMENT, "shared_gate has a bias; it may have none"},
    {old_routing, GMM_ERR_ARGUMENT, "routing->size is 4; this library knows "},
    {top_six, GMM_ERR_ARGUMENT, "top_k is 6; it may be 1 to 5"},
    {routing_five, GMM_ERR_ARGUMENT, "routing->kind is 5; it may be 0 to 2"},
    {router_narrow, GMM_ERR_SHAPE, "router is (1, 5, 7); it must be (1, 5, 8)"},
    {router_each, GMM_ERR_ARGUMENT, "router: `each` is for experts"},
};

/* ---- of calls ---------------------------------------------------------------------------------------------------- */

SPOIL(x_null, s->x.data = NULL)
SPOIL(x_of_integers, s->x.dtype = GMM_I32)
SPOIL(x_of_one_axis, s->x.ndim = 1)
SPOIL(x_narrow, s->x_shape[1] = 7)
SPOIL(out_short, s->out_shape[0] = 2)
SPOIL(out_of_integers, s->out.dtype = GMM_U32)
SPOIL(out_over_itself, s->out.strides = s->strides; s->strides[1] = 1)
SPOIL(out_over_x, s->x.data = out_data + 5)
SPOIL(out_over_ids, s->ids.data = out_data + 3)
SPOIL(out_over_weights, s->weights.data = out_data + 23)
SPOIL(out_over_down, s->down.data = out_data + 23)
SPOIL(out_over_bias, s->bias.data = out_data)
SPOIL(out_over_router, s->router.data = out_data)
SPOIL(out_over_shared, s->shared_up.data = out_data)
SPOIL(out_over_correction, s->routing.correction_bias = &s->correction; s->routing.kind = GMM_ROUTING_SIGMOID;
      s->correction.data = out_data)
SPOIL(out_over_each, for (int e = 0; e < 5; e++) s->each[e].rhs = &s->shared_up; s->shared_up_shape[0] = 6;
      s->each[3].rhs = &s->gate; s->gate.ndim = 2; s->gate.shape = s->shared_up_shape; s->gate.data = out_data;
      s->layer.experts.gate = (gmm_moe_weights){0}; memset(&s->layer.shared, 0, sizeof s->layer.shared);
      memset(&s->layer.shared_gate, 0, sizeof s->layer.shared_gate);
      s->layer.experts.up = (gmm_moe_weights){.each = s->each, .each_count = 5})
SPOIL(no_ids, s->given_ids = NULL)
SPOIL(no_weights, s->given_weights = NULL)
SPOIL(no_routing, s->given_ids = s->given_weights = NULL; s->layer.routing = NULL)
SPOIL(no_router, s->given_ids = s->given_weights = NULL; s->routing.router.rhs = NULL)
SPOIL(ids_of_floats, s->ids.dtype = GMM_F32)
SPOIL(ids_of_other_slots, s->ids_shape[1] = 3)
SPOIL(weights_of_more_tokens, s->weights_shape[0] = 4)
SPOIL(weights_of_integers, s->weights.dtype = GMM_I32)
SPOIL(id_five, ((int32_t *)s->ids.data)[5] = 5)
SPOIL(id_minus_two, ((int32_t *)s->ids.data)[4] = -2)
SPOIL(id_huge, s->ids.dtype = GMM_U64; memset(ids_data, 0, sizeof ids_data); memset(&ids_data[6], 0xFF, 8))
SPOIL(logits_nan, s->given_ids = s->given_weights = NULL; x_data[2 * 8 + 1] = NAN)

static const spoiled calls[] = {
    {x_null, GMM_ERR_NULL, "x: data is NULL, and 24 elements are needed"},
    {x_of_integers, GMM_ERR_DTYPE, "x is I32; it may be f32, f16 or bf16"},
    {x_of_one_axis, GMM_ERR_SHAPE, "x has 1 axes; it must have 2"},
    {x_narrow, GMM_ERR_SHAPE, "x is (3, 7); it must be (3, 8)"},
    {out_short, GMM_ERR_SHAPE, "out is (2, 8); it must be (3, 8)"},
    {out_of_integers, GMM_ERR_DTYPE, "out is U32; it may be f32, f16 or bf16"},
    {out_over_itself, GMM_ERR_OVERLAP, "out: stride 0 of axis 0 makes elements share memory"},
    {out_over_x, GMM_ERR_OVERLAP, "out and x share memory: ["},
    {out_over_ids, GMM_ERR_OVERLAP, "out and ids share memory: ["},
    {out_over_weights, GMM_ERR_OVERLAP, "out and weights share memory: ["},
    {out_over_down, GMM_ERR_OVERLAP, "out and down share memory: ["},
    {out_over_bias, GMM_ERR_OVERLAP, "out and gate share memory: ["},
    {out_over_router, GMM_ERR_OVERLAP, "out and router share memory: ["},
    {out_over_shared, GMM_ERR_OVERLAP, "out and shared gate share memory: ["},
    {out_over_correction, GMM_ERR_OVERLAP, "out and correction_bias share memory: ["},
    {out_over_each, GMM_ERR_OVERLAP, "out and up share memory: ["},
    {no_ids, GMM_ERR_NULL, "ids is NULL but weights is not"},
    {no_weights, GMM_ERR_NULL, "weights is NULL but ids is not"},
    {no_routing, GMM_ERR_NULL, "ids and weights are NULL, and the layer has no routing"},
    {no_router, GMM_ERR_NULL, "ids and weights are NULL, and the layer has no router"},
    {ids_of_floats, GMM_ERR_DTYPE, "ids are F32; they are integers"},
    {ids_of_other_slots, GMM_ERR_SHAPE, "ids is (3, 3); it must be (3, 2)"},
    {weights_of_more_tokens, GMM_ERR_SHAPE, "weights is (4, 2); it must be (3, 2)"},
    {weights_of_integers, GMM_ERR_DTYPE, "weights is I32; it may be f32, f16 or bf16"},
    {id_five, GMM_ERR_INDEX, "ids[2, 1] is 5; there are 5 experts"},
    {id_minus_two, GMM_ERR_INDEX, "ids[2, 0] is -2; there are 5 experts"},
    {id_huge, GMM_ERR_INDEX, "ids[1, 1] is 18446744073709551615; there are 5 experts"},
    {logits_nan, GMM_ERR_ARGUMENT, "the logit of token 2 for expert 0 is NaN"},
};

/* ---- all of them ------------------------------------------------------------------------------------------------- */

/* A detail that ends with a blank or a bracket goes on with a size or addresses. */
static void expect(gmm_status got, const spoiled *wrong)
{
    size_t length = strlen(wrong->detail);

    assert_int_equal(got, wrong->status);
    if (strchr(" [", wrong->detail[length - 1]))
        assert_memory_equal(gmm_error_detail(), wrong->detail, length);
    else
        assert_string_equal(gmm_error_detail(), wrong->detail);
    assert_memory_equal(out_data, out_before, sizeof out_data);
}

static void poison_out(void)
{
    memset(out_data, 0x7B, sizeof out_data);
    memset(out_before, 0x7B, sizeof out_before);
}

static void refused_layers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        gmm_moe_info info;
        gmm_moe_plan *const none = (gmm_moe_plan *)(void *)out_before, *plan = none;
        subject s;

        make(&s);
        poison_out();
        layers[i].spoil(&s);
        memset(&info, 0x7B, sizeof info);
        expect(gmm_moe_run(NULL, &s.layer, &s.x, s.given_ids, s.given_weights, &s.out), &layers[i]);
        expect(gmm_moe_describe(&s.layer, &info), &layers[i]);
        assert_memory_equal(&info, out_before, sizeof info);
        expect(gmm_moe_plan_create(NULL, &s.layer, 3, 2, &plan), &layers[i]);
        assert_ptr_equal(plan, none);
    }
}

static void refused_calls(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        gmm_moe_plan *plan = NULL;
        subject s;

        make(&s);
        poison_out();
        calls[i].spoil(&s);
        expect(gmm_moe_run(NULL, &s.layer, &s.x, s.given_ids, s.given_weights, &s.out), &calls[i]);
        assert_int_equal(gmm_moe_plan_create(NULL, &s.layer, 3, 2, &plan), GMM_OK);
        expect(gmm_moe_plan_run(plan, &s.x, s.given_ids, s.given_weights, &s.out), &calls[i]);
        gmm_moe_plan_destroy(plan);
    }
}

static void expect_text(gmm_status got, gmm_status status, const char *detail)
{
    assert_int_equal(got, status);
    assert_string_equal(gmm_error_detail(), detail);
}

static void refused_plans(void **state)
{
    gmm_moe_plan *plan = NULL;
    subject s;

    (void)state;
    make(&s);
    poison_out();
    expect_text(gmm_moe_run(NULL, NULL, &s.x, &s.ids, &s.weights, &s.out), GMM_ERR_NULL, "layer is NULL");
    expect_text(gmm_moe_run(NULL, &s.layer, NULL, &s.ids, &s.weights, &s.out), GMM_ERR_NULL, "x is NULL");
    expect_text(gmm_moe_run(NULL, &s.layer, &s.x, &s.ids, &s.weights, NULL), GMM_ERR_NULL, "out is NULL");
    expect_text(gmm_moe_describe(&s.layer, NULL), GMM_ERR_NULL, "info is NULL");
    expect_text(gmm_moe_plan_create(NULL, &s.layer, 3, 2, NULL), GMM_ERR_NULL, "plan is NULL");
    expect_text(gmm_moe_plan_run(NULL, &s.x, &s.ids, &s.weights, &s.out), GMM_ERR_NULL, "plan is NULL");
    expect_text(gmm_moe_plan_create(NULL, &s.layer, 0, 2, &plan), GMM_ERR_ARGUMENT,
                "max_tokens is 0 and max_slots 2; 1 and 0 or more are good");
    expect_text(gmm_moe_plan_create(NULL, &s.layer, 3, -1, &plan), GMM_ERR_ARGUMENT,
                "max_tokens is 3 and max_slots -1; 1 and 0 or more are good");
    expect_text(gmm_moe_plan_create(NULL, &s.layer, INT64_MAX, 2, &plan), GMM_ERR_MEMORY,
                "no memory for scratch: 9223372036854775807 tokens of 8 with 2 experts each");
    s.layer.routing = NULL;
    expect_text(gmm_moe_plan_create(NULL, &s.layer, 3, 0, &plan), GMM_ERR_ARGUMENT,
                "max_slots is 0 and the layer has no routing");
    assert_null(plan);
    s.layer.routing = &s.routing;
    assert_int_equal(gmm_moe_plan_create(NULL, &s.layer, 2, 2, &plan), GMM_OK);
    expect_text(gmm_moe_plan_run(plan, &s.x, &s.ids, &s.weights, &s.out), GMM_ERR_SIZE,
                "3 tokens with 2 experts each; the plan is for 2 with 2");
    gmm_moe_plan_destroy(plan);
    assert_int_equal(gmm_moe_plan_create(NULL, &s.layer, 3, 0, &plan), GMM_OK);
    s.ids_shape[1] = s.weights_shape[1] = 3;
    expect_text(gmm_moe_plan_run(plan, &s.x, &s.ids, &s.weights, &s.out), GMM_ERR_SIZE,
                "3 tokens with 3 experts each; the plan is for 3 with 2");
    gmm_moe_plan_destroy(plan);
    assert_memory_equal(out_data, out_before, sizeof out_data);
    gmm_moe_plan_destroy(NULL);
    assert_int_equal(gmm_moe_plan_bytes(NULL), 0);
}

/* Unspoiled, the call is good. */
static void accepted(void **state)
{
    subject s;

    (void)state;
    make(&s);
    assert_int_equal(gmm_moe_run(NULL, &s.layer, &s.x, s.given_ids, s.given_weights, &s.out), GMM_OK);
    assert_int_equal(gmm_moe_run(NULL, &s.layer, &s.x, NULL, NULL, &s.out), GMM_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted),
        cmocka_unit_test(refused_layers),
        cmocka_unit_test(refused_calls),
        cmocka_unit_test(refused_plans),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
