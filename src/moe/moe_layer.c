/* moe_layer.c - see moe_layer.h: everything that can be wrong with a layer is found here. */
/* SPDX-License-Identifier: MIT */
#include "moe/moe_layer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "core/prepared_weights.h"
#include "core/weights.h"
#include "formats/convert.h"
#include "moe/moe_route.h"

enum {
    NAME = 64
};

/* ---- one projection ---- */

static int kinds_of(const gmm_moe_weights *weights)
{
    return (weights->rhs != NULL) + (weights->quantized != NULL) + (weights->prepared != NULL) +
           (weights->each != NULL);
}

/* The last two axes are a matrix; before them at most one. */
static gmm_status take_axes(const char *name, int32_t ndim, const int64_t *shape, gmm_moe_stack *stack)
{
    if (ndim != 2 && ndim != 3)
        return gmm_fail(GMM_ERR_SHAPE, "%s has %" PRId32 " axes; it must have 2 or 3", name, ndim);
    stack->matrices = ndim == 3 ? shape[0] : 1;
    return GMM_OK;
}

static gmm_status take_dense(const gmm_array *rhs, const char *name, gmm_moe_stack *stack)
{
    gmm_view view;
    gmm_status status = gmm_view_make(rhs, name, &view);

    if (status || (status = take_axes(name, view.ndim, view.shape, stack)))
        return status;
    if (!gmm_is_float(view.dtype))
        return gmm_fail(GMM_ERR_DTYPE, "%s is %s; it may be f32, f16 or bf16", name, gmm_dtype_name(view.dtype));
    stack->n = view.shape[view.ndim - 2];
    stack->k = view.shape[view.ndim - 1];
    stack->bytes = view.count * view.element_bytes;
    return GMM_OK;
}

static gmm_status take_quantized(const gmm_quantized *quantized, const char *name, gmm_moe_stack *stack)
{
    gmm_weights weights;
    gmm_view w, scales, biases;
    gmm_status status = gmm_weights_check(quantized, &weights, &w, &scales, &biases, &stack->n, &stack->k);

    if (status || (status = take_axes(name, w.ndim, w.shape, stack)))
        return status;
    stack->bytes = w.count * w.element_bytes + scales.count * scales.element_bytes;
    if (biases.ndim >= 0)
        stack->bytes += biases.count * biases.element_bytes;
    return GMM_OK;
}

static gmm_status take_prepared(const gmm_prepared *prepared, const char *name, gmm_moe_stack *stack)
{
    if (prepared->vector || prepared->batch_ndim > 1)
        return gmm_fail(GMM_ERR_SHAPE, "%s was prepared from %" PRId32 " axes; it must have 2 or 3", name,
                        prepared->vector ? 1 : prepared->batch_ndim + 2);
    stack->matrices = prepared->matrices;
    stack->n = prepared->n;
    stack->k = prepared->k;
    stack->bytes = prepared->raw_bytes;
    return GMM_OK;
}

static gmm_status check_bias(const gmm_array *bias, const char *name, gmm_moe_stack *stack)
{
    gmm_view view;
    gmm_status status = GMM_OK;
    char text[128];

    if (!bias)
        return GMM_OK;
    if ((status = gmm_view_make(bias, name, &view)))
        return status;
    if (!gmm_is_float(view.dtype))
        return gmm_fail(GMM_ERR_DTYPE, "the bias of %s is %s; it may be f32, f16 or bf16", name,
                        gmm_dtype_name(view.dtype));
    bool one = view.ndim == 1 && stack->matrices == 1 && view.shape[0] == stack->n;
    if (!one && (view.ndim != 2 || view.shape[0] != stack->matrices || view.shape[1] != stack->n))
        return gmm_fail(GMM_ERR_SHAPE, "the bias of %s is %s; it must be (%" PRId64 ", %" PRId64 ")", name,
                        gmm_shape_text(view.shape, view.ndim, text, sizeof text), stack->matrices, stack->n);
    stack->bytes += view.count * view.element_bytes;
    return GMM_OK;
}

static gmm_status check_one(const gmm_moe_weights *weights, const char *name, gmm_moe_stack *stack)
{
    gmm_status status;

    stack->weights = weights;
    if (weights->rhs)
        status = take_dense(weights->rhs, name, stack);
    else if (weights->quantized)
        status = take_quantized(weights->quantized, name, stack);
    else
        status = take_prepared(weights->prepared, name, stack);
    return status ? status : check_bias(weights->bias, name, stack);
}

static gmm_status check_each(const gmm_moe_weights *weights, const char *name, gmm_moe_stack *stack)
{
    int64_t bytes = 0;

    if (weights->each_count < 1)
        return gmm_fail(GMM_ERR_ARGUMENT, "%s: each_count is %" PRId64 "; it must be 1 or more", name,
                        weights->each_count);
    if (weights->bias)
        return gmm_fail(GMM_ERR_ARGUMENT, "%s has a bias beside `each`; it belongs into each", name);
    for (int64_t e = 0; e < weights->each_count; e++) {
        char one[NAME];
        gmm_moe_stack expert;
        gmm_status status;

        snprintf(one, sizeof one, "%s of expert %" PRId64, name, e);
        if (weights->each[e].each || kinds_of(&weights->each[e]) != 1)
            return gmm_fail(GMM_ERR_ARGUMENT, "%s: exactly one of rhs, quantized and prepared must be set", one);
        if ((status = check_one(&weights->each[e], one, &expert)))
            return status;
        if (expert.matrices != 1)
            return gmm_fail(GMM_ERR_SHAPE, "%s has %" PRId64 " matrices; it must have 1", one, expert.matrices);
        if (e > 0 && (expert.n != stack->n || expert.k != stack->k))
            return gmm_fail(GMM_ERR_SHAPE, "%s is %" PRId64 " x %" PRId64 "; expert 0 has %" PRId64 " x %" PRId64, one,
                            expert.n, expert.k, stack->n, stack->k);
        bytes += expert.bytes;
        *stack = expert;
    }
    stack->weights = weights;
    stack->matrices = weights->each_count;
    stack->bytes = bytes;
    return GMM_OK;
}

/* A projection, which may be missing. */
static gmm_status check_stack(const gmm_moe_weights *weights, const char *name, gmm_moe_stack *stack)
{
    int kinds = kinds_of(weights);

    *stack = (gmm_moe_stack){0};
    if (kinds == 0 && !weights->bias)
        return GMM_OK;
    if (kinds != 1)
        return gmm_fail(GMM_ERR_ARGUMENT, "%s: exactly one of rhs, quantized, prepared and each must be set; %d are",
                        name, kinds);
    return weights->each ? check_each(weights, name, stack) : check_one(weights, name, stack);
}

/* A projection that is there must be of this shape. */
static gmm_status expect_shape(const gmm_moe_stack *stack, const char *name, int64_t matrices, int64_t n, int64_t k)
{
    if (!stack->weights || (stack->matrices == matrices && stack->n == n && stack->k == k))
        return GMM_OK;
    return gmm_fail(GMM_ERR_SHAPE,
                    "%s is (%" PRId64 ", %" PRId64 ", %" PRId64 "); it must be (%" PRId64 ", %" PRId64 ", %" PRId64 ")",
                    name, stack->matrices, stack->n, stack->k, matrices, n, k);
}

/* ---- all projections of experts ---- */

static gmm_status check_mlp(const gmm_moe_projections *projections, const char *prefix, gmm_moe_mlp *mlp)
{
    const gmm_moe_weights *weights[] = {&projections->gate, &projections->up, &projections->gate_up,
                                        &projections->down};
    gmm_moe_stack *stacks[] = {&mlp->gate, &mlp->up, &mlp->gate_up, &mlp->down};
    static const char *const names[] = {"gate", "up", "gate_up", "down"};
    char text[4][NAME];
    gmm_status status;

    for (int i = 0; i < 4; i++) {
        snprintf(text[i], sizeof text[i], "%s%s", prefix, names[i]);
        if ((status = check_stack(weights[i], text[i], stacks[i])))
            return status;
        mlp->single |= stacks[i]->weights && stacks[i]->weights->each;
    }
    if (!mlp->down.weights && !mlp->gate.weights && !mlp->up.weights && !mlp->gate_up.weights)
        return GMM_OK;
    if (!mlp->down.weights)
        return gmm_fail(GMM_ERR_ARGUMENT, "%s is missing", text[3]);
    if (mlp->gate_up.weights ? mlp->gate.weights || mlp->up.weights : !mlp->up.weights)
        return gmm_fail(GMM_ERR_ARGUMENT, "there must be %s, or %s and %s, or %s alone", text[2], text[0], text[1],
                        text[1]);
    int64_t layout = (int64_t)projections->gate_up_layout;
    if (layout != GMM_GATE_UP_CONCATENATED && layout != GMM_GATE_UP_INTERLEAVED)
        return gmm_fail(GMM_ERR_ARGUMENT, "gate_up_layout is %" PRId64 "; it may be 0 or 1", layout);
    mlp->interleaved = mlp->gate_up.weights && layout == GMM_GATE_UP_INTERLEAVED;
    mlp->gated = !mlp->up.weights || mlp->gate.weights;
    mlp->inner = mlp->down.k;
    if (gmm_mul_overflows(mlp->inner, mlp->gated ? 2 : 1, &mlp->width))
        return gmm_fail(GMM_ERR_SIZE, "%s has %" PRId64 " inputs", text[3], mlp->inner);
    int64_t matrices = mlp->down.matrices, hidden = mlp->down.n;
    if ((status = expect_shape(&mlp->gate, text[0], matrices, mlp->inner, hidden)) ||
        (status = expect_shape(&mlp->up, text[1], matrices, mlp->inner, hidden)))
        return status;
    return expect_shape(&mlp->gate_up, text[2], matrices, mlp->width, hidden);
}

/* ---- the layer ---- */

static gmm_status check_activation(gmm_moe_model *model)
{
    gmm_moe_layer *layer = &model->layer;
    int64_t activation = (int64_t)layer->activation;
    bool ungated = !model->experts.gated || (model->shared.down.weights && !model->shared.gated);

    if (activation < GMM_ACTIVATION_SILU || activation > GMM_ACTIVATION_RELU_SQUARED)
        return gmm_fail(GMM_ERR_ARGUMENT, "activation is %" PRId64 "; it may be 0 to %d", activation,
                        GMM_ACTIVATION_RELU_SQUARED);
    if (activation != GMM_ACTIVATION_SWIGLU_CLAMPED)
        return GMM_OK;
    if (ungated)
        return gmm_fail(GMM_ERR_ARGUMENT, "GMM_ACTIVATION_SWIGLU_CLAMPED needs a gate");
    if (!isfinite(layer->alpha) || !isfinite(layer->limit) || layer->limit < 0)
        return gmm_fail(GMM_ERR_ARGUMENT, "alpha is %g and limit %g; both must be finite, limit not negative",
                        (double)layer->alpha, (double)layer->limit);
    layer->alpha = layer->alpha == 0 ? 1.702f : layer->alpha;
    layer->limit = layer->limit == 0 ? 7.0f : layer->limit;
    return GMM_OK;
}

static gmm_status check_shared(gmm_moe_model *model)
{
    gmm_status status = check_mlp(&model->layer.shared, "shared ", &model->shared);

    if (status || (status = check_stack(&model->layer.shared_gate, "shared_gate", &model->shared_gate)))
        return status;
    if (!model->shared.down.weights) {
        if (model->shared_gate.weights)
            return gmm_fail(GMM_ERR_ARGUMENT, "there is a shared_gate but no shared expert");
        return GMM_OK;
    }
    if (model->shared.down.matrices != 1 || model->shared.down.n != model->hidden)
        return gmm_fail(GMM_ERR_SHAPE,
                        "shared down is (%" PRId64 ", %" PRId64 ", %" PRId64 "); it must be (1, %" PRId64 ", I)",
                        model->shared.down.matrices, model->shared.down.n, model->shared.down.k, model->hidden);
    if (model->shared_gate.weights && model->shared_gate.weights->bias)
        return gmm_fail(GMM_ERR_ARGUMENT, "shared_gate has a bias; it may have none");
    return expect_shape(&model->shared_gate, "shared_gate", 1, 1, model->hidden);
}

static gmm_status check_routing(gmm_moe_model *model)
{
    gmm_status status = gmm_routing_check(model->layer.routing, model->count, &model->correction);

    if (status)
        return status;
    model->routing = *model->layer.routing;
    model->routed = true;
    if ((status = check_stack(&model->routing.router, "router", &model->router)))
        return status;
    if (model->router.weights && model->router.weights->each)
        return gmm_fail(GMM_ERR_ARGUMENT, "router: `each` is for experts");
    return expect_shape(&model->router, "router", 1, model->count, model->hidden);
}

gmm_status gmm_moe_check(const gmm_moe_layer *layer, gmm_moe_model *model)
{
    gmm_status status;

    if (!layer)
        return gmm_fail(GMM_ERR_NULL, "layer is NULL");
    if (layer->size != sizeof *layer)
        return gmm_fail(GMM_ERR_ARGUMENT, "layer->size is %zu; this library knows %zu", layer->size, sizeof *layer);
    memset(model, 0, sizeof *model);
    model->layer = *layer;
    model->correction.ndim = -1;
    if ((status = check_mlp(&model->layer.experts, "", &model->experts)))
        return status;
    if (!model->experts.down.weights)
        return gmm_fail(GMM_ERR_ARGUMENT, "down is missing");
    model->count = model->experts.down.matrices;
    if (model->count > INT32_MAX)
        return gmm_fail(GMM_ERR_SIZE, "%" PRId64 " experts; at most %" PRId32, model->count, INT32_MAX);
    model->hidden = model->experts.down.n;
    if ((status = check_shared(model)) || (status = check_activation(model)))
        return status;
    return layer->routing ? check_routing(model) : GMM_OK;
}

gmm_status gmm_moe_describe(const gmm_moe_layer *layer, gmm_moe_info *info)
{
    gmm_moe_model model;
    gmm_status status = gmm_moe_check(layer, &model);

    if (status)
        return status;
    if (!info)
        return gmm_fail(GMM_ERR_NULL, "info is NULL");
    *info = (gmm_moe_info){
        .experts = model.count,
        .hidden = model.hidden,
        .intermediate = model.experts.inner,
        .shared_intermediate = model.shared.inner,
    };
    if (model.count > 0)
        info->weight_bytes = (model.experts.gate.bytes + model.experts.up.bytes + model.experts.gate_up.bytes +
                              model.experts.down.bytes) /
                             model.count;
    return GMM_OK;
}

/* ---- overlap ---- */

static gmm_status array_apart(const gmm_view *out, const gmm_array *array, const char *name)
{
    gmm_view view;
    gmm_status status;

    if (!array)
        return GMM_OK;
    if ((status = gmm_view_make(array, name, &view)))
        return status;
    return gmm_views_check_apart(out, "out", &view, name);
}

static gmm_status weights_apart(const gmm_view *out, const gmm_moe_weights *weights, const char *name)
{
    const gmm_quantized *q = weights->quantized;
    gmm_status status = array_apart(out, weights->bias, name);

    if (!status)
        status = array_apart(out, weights->rhs, name);
    if (!status && weights->prepared)
        status = gmm_views_check_apart(out, "out", &weights->prepared->whole, name);
    if (status || !q)
        return status;
    if ((status = array_apart(out, q->w, name)) || (status = array_apart(out, q->scales, name)) ||
        (status = array_apart(out, q->biases, name)))
        return status;
    return array_apart(out, q->global_scale, name);
}

gmm_status gmm_moe_check_apart(const gmm_moe_model *model, const gmm_view *out)
{
    const gmm_moe_stack *stacks[] = {
        &model->experts.gate, &model->experts.up, &model->experts.gate_up, &model->experts.down,
        &model->shared.gate,  &model->shared.up,  &model->shared.gate_up,  &model->shared.down,
        &model->shared_gate,  &model->router,
    };
    static const char *const names[] = {"gate",        "up",        "gate_up",        "down",
                                        "shared gate", "shared up", "shared gate_up", "shared down",
                                        "shared_gate", "router"};
    gmm_status status = GMM_OK;

    for (size_t i = 0; i < sizeof stacks / sizeof stacks[0]; i++) {
        const gmm_moe_weights *weights = stacks[i]->weights;
        if (weights && !weights->each)
            status = weights_apart(out, weights, names[i]);
        for (int64_t e = 0; !status && weights && weights->each && e < weights->each_count; e++)
            status = weights_apart(out, &weights->each[e], names[i]);
        if (status)
            return status;
    }
    return model->routed ? array_apart(out, model->routing.correction_bias, "correction_bias") : GMM_OK;
}

/* ---- in products ---- */

void gmm_moe_operand_make(const gmm_moe_stack *stack, int64_t expert, gmm_moe_operand *operand)
{
    const gmm_moe_weights *weights = stack->weights->each ? &stack->weights->each[expert] : stack->weights;
    const gmm_array *rhs = weights->rhs;

    operand->product = (gmm_product){
        .size = sizeof operand->product,
        .quantized = weights->quantized,
        .prepared = weights->prepared,
        .transpose = weights->quantized != NULL,
        .sorted_indices = true,
    };
    gmm_view view;
    if (!rhs || gmm_view_make(rhs, "rhs", &view) != GMM_OK)
        return;
    /* (E, N, K) as it lies is (E, K, N) with the last two axes exchanged. */
    operand->rhs = *rhs;
    operand->rhs.shape = operand->shape;
    operand->rhs.strides = operand->strides;
    for (int32_t d = 0; d < view.ndim; d++) {
        int32_t from = d == view.ndim - 2 ? d + 1 : d == view.ndim - 1 ? d - 1 : d;
        operand->shape[d] = view.shape[from];
        operand->strides[d] = view.strides[from];
    }
    operand->product.rhs = &operand->rhs;
}

gmm_moe_bias gmm_moe_bias_of(const gmm_moe_stack *stack, int64_t expert)
{
    const gmm_moe_weights *weights = stack->weights;
    gmm_moe_bias bias = {0};
    gmm_view view;

    if (weights && weights->each) {
        weights = &weights->each[expert];
        expert = 0;
    }
    if (!weights || !weights->bias || gmm_view_make(weights->bias, "bias", &view) != GMM_OK)
        return bias;
    bias.data = gmm_view_at(&view, view.ndim == 2 ? expert * view.strides[0] : 0);
    bias.dtype = view.dtype;
    bias.stride = view.strides[view.ndim - 1];
    bias.element_bytes = view.element_bytes;
    return bias;
}

void gmm_moe_bias_add(const gmm_moe_bias *bias, int64_t first, int64_t step, int64_t count, float *values)
{
    float loaded[GMM_MOE_BLOCK];

    if (!bias->data)
        return;
    gmm_load_run(bias->dtype, GMM_F32, bias->data + first * bias->stride * bias->element_bytes, bias->stride * step,
                 count, loaded);
    for (int64_t i = 0; i < count; i++)
        values[i] += loaded[i];
}
