/* api.c - the public calls for products: check, plan, run. */
/* SPDX-License-Identifier: MIT */
#include "base/context.h"
#include "base/error.h"
#include "core/call.h"
#include "cpu/fp_env.h"

gmm_status gmm_run_in(const gmm_context *context, gmm_arena *arena, const gmm_product *product, gmm_array *out)
{
    gmm_status status;
    gmm_call call;
    gmm_view view;
    gmm_plan plan;

    if ((status = gmm_call_check(product, &call)) || (status = gmm_call_check_output(product, &call, out, &view)))
        return status;
    gmm_fp_env saved = gmm_fp_enter(); /* the plan weighs work in floating point: the caller's flags must not show it */
    status = gmm_plan_make(context, &call, arena, &plan);
    if (!status)
        status = gmm_plan_run(context, &call, &plan, arena, &view);
    gmm_fp_leave(saved);
    gmm_arena_reset(arena);
    return status;
}

gmm_status gmm_run(const gmm_context *context, const gmm_product *product, gmm_array *out)
{
    gmm_arena *arena = gmm_arena_begin(gmm_context_pool(context));
    gmm_status status =
        arena ? gmm_run_in(context, arena, product, out) : gmm_fail(GMM_ERR_MEMORY, "no memory for a call");

    gmm_arena_end(gmm_context_pool(context), arena);
    return status;
}

gmm_status gmm_result_spec(const gmm_product *product, gmm_array_spec *spec)
{
    gmm_call call;
    gmm_status status = gmm_call_check(product, &call);

    if (status)
        return status;
    if (!spec)
        return gmm_fail(GMM_ERR_NULL, "spec is NULL");
    gmm_call_spec(&call, spec);
    return GMM_OK;
}

gmm_status gmm_gather_mm(const gmm_context *context, const gmm_array *a, const gmm_array *b,
                         const gmm_array *lhs_indices, const gmm_array *rhs_indices, bool sorted_indices,
                         gmm_array *out)
{
    if (!a || !b)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", a ? "b" : "a");
    return gmm_run(context,
                   &(gmm_product){
                       .size = sizeof(gmm_product),
                       .lhs = a,
                       .rhs = b,
                       .lhs_indices = lhs_indices,
                       .rhs_indices = rhs_indices,
                       .sorted_indices = sorted_indices,
                   },
                   out);
}

gmm_status gmm_gather_qmm(const gmm_context *context, const gmm_array *x, const gmm_quantized *w,
                          const gmm_array *lhs_indices, const gmm_array *rhs_indices, bool transpose,
                          bool sorted_indices, gmm_array *out)
{
    if (!x || !w)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", x ? "w" : "x");
    return gmm_run(context,
                   &(gmm_product){
                       .size = sizeof(gmm_product),
                       .lhs = x,
                       .quantized = w,
                       .transpose = transpose,
                       .lhs_indices = lhs_indices,
                       .rhs_indices = rhs_indices,
                       .sorted_indices = sorted_indices,
                   },
                   out);
}

gmm_status gmm_quantized_matmul(const gmm_context *context, const gmm_array *x, const gmm_quantized *w, bool transpose,
                                gmm_array *out)
{
    return gmm_gather_qmm(context, x, w, NULL, NULL, transpose, false, out);
}
