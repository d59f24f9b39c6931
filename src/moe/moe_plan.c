/* moe_plan.c - the public calls for layers: one run, and plans that are kept. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "base/context.h"
#include "base/error.h"
#include "cpu/cpu.h"
#include "cpu/fp_env.h"
#include "moe/moe_run.h"

struct gmm_moe_plan {
    const gmm_context *context;
    gmm_moe_model model;
    gmm_moe_sizes sizes;
    int64_t bytes;
    void *memory;
};

gmm_status gmm_moe_no_memory(const gmm_moe_model *model, int64_t tokens, int64_t slots)
{
    return gmm_fail(GMM_ERR_MEMORY,
                    "no memory for scratch: %" PRId64 " tokens of %" PRId64 " with %" PRId64 " experts each", tokens,
                    model->hidden, slots);
}

gmm_status gmm_moe_slots_planned(const gmm_moe_model *model, int64_t max_tokens, int32_t max_slots, int64_t *slots)
{
    if (max_tokens < 1 || max_slots < 0)
        return gmm_fail(GMM_ERR_ARGUMENT,
                        "max_tokens is %" PRId64 " and max_slots %" PRId32 "; 1 and 0 or more are good", max_tokens,
                        max_slots);
    if (max_slots == 0 && !model->routed)
        return gmm_fail(GMM_ERR_ARGUMENT, "max_slots is 0 and the layer has no routing");
    *slots = model->routed && model->routing.top_k > max_slots ? model->routing.top_k : max_slots;
    return GMM_OK;
}

/* Carry out a call in the default floating-point environment. */
static gmm_status carry_out(const gmm_context *context, const gmm_moe_model *model, const gmm_moe_sizes *sizes,
                            void *memory, const gmm_moe_call *call)
{
    gmm_fp_env saved = gmm_fp_enter();
    gmm_status status = gmm_moe_carry_out(context, model, sizes, memory, call);

    gmm_fp_leave(saved);
    return status;
}

gmm_status gmm_moe_run(const gmm_context *context, const gmm_moe_layer *layer, const gmm_array *x, const gmm_array *ids,
                       const gmm_array *weights, gmm_array *out)
{
    gmm_status status;
    gmm_moe_model model;
    gmm_moe_sizes sizes;
    gmm_moe_call call;
    uint32_t features;

    if ((status = gmm_cpu_usable(context, &features)) || (status = gmm_moe_check(layer, &model)) ||
        (status = gmm_moe_call_check(&model, x, ids, weights, out, &call)))
        return status;
    int64_t bytes = gmm_moe_plan_sizes(context, &model, call.tokens, call.slots, &sizes);
    gmm_arena *arena = bytes < 0 ? NULL : gmm_arena_begin(gmm_context_pool(context));
    void *memory = arena ? gmm_arena_take(arena, bytes, 1) : NULL;
    status =
        memory ? carry_out(context, &model, &sizes, memory, &call) : gmm_moe_no_memory(&model, call.tokens, call.slots);
    gmm_arena_end(gmm_context_pool(context), arena);
    return status;
}

gmm_status gmm_moe_plan_create(const gmm_context *context, const gmm_moe_layer *layer, int64_t max_tokens,
                               int32_t max_slots, gmm_moe_plan **plan)
{
    gmm_status status;
    int64_t slots = 0;
    uint32_t features;

    if (!plan)
        return gmm_fail(GMM_ERR_NULL, "plan is NULL");
    if ((status = gmm_cpu_usable(context, &features)))
        return status;
    gmm_moe_plan *made = calloc(1, sizeof *made);
    if (!made)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for a plan");
    made->context = context;
    status = gmm_moe_check(layer, &made->model);
    if (!status)
        status = gmm_moe_slots_planned(&made->model, max_tokens, max_slots, &slots);
    if (!status) {
        made->bytes = gmm_moe_plan_sizes(context, &made->model, max_tokens, slots, &made->sizes);
        if (made->bytes >= 0 && made->bytes <= INT64_MAX - 64)
            made->memory = aligned_alloc(64, (size_t)made->bytes + 64);
        if (!made->memory)
            status = gmm_moe_no_memory(&made->model, max_tokens, slots);
    }
    if (status) {
        gmm_moe_plan_destroy(made);
        return status;
    }
    *plan = made;
    return GMM_OK;
}

gmm_status gmm_moe_plan_run(gmm_moe_plan *plan, const gmm_array *x, const gmm_array *ids, const gmm_array *weights,
                            gmm_array *out)
{
    gmm_status status;
    gmm_moe_call call;

    if (!plan)
        return gmm_fail(GMM_ERR_NULL, "plan is NULL");
    if ((status = gmm_moe_call_check(&plan->model, x, ids, weights, out, &call)))
        return status;
    if (call.tokens > plan->sizes.tokens || call.slots > plan->sizes.slots)
        return gmm_fail(GMM_ERR_SIZE,
                        "%" PRId64 " tokens with %" PRId64 " experts each; the plan is for %" PRId64 " with %" PRId64,
                        call.tokens, call.slots, plan->sizes.tokens, plan->sizes.slots);
    return carry_out(plan->context, &plan->model, &plan->sizes, plan->memory, &call);
}

int64_t gmm_moe_plan_bytes(const gmm_moe_plan *plan)
{
    return plan ? plan->bytes : 0;
}

void gmm_moe_plan_destroy(gmm_moe_plan *plan)
{
    if (!plan)
        return;
    free(plan->memory);
    free(plan);
}
