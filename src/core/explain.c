/* explain.c - a plan in words. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/context.h"
#include "base/error.h"
#include "core/explain.h"
#include "core/prepared_weights.h"
#include "cpu/fp_env.h"

const char *gmm_explain_bytes(double bytes, char *text, size_t size)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    size_t unit = 0;

    for (; bytes >= 1000 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        bytes /= 1000;
    snprintf(text, size, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return text;
}

/* Bytes of one matrix of rhs: elements, or codes, scales and biases. */
static double matrix_bytes(const gmm_call *call)
{
    const gmm_weights *weights = &call->weights;
    double elements = (double)call->n * (double)call->k;

    if (call->panel_block)
        return (double)gmm_panel_elements(call->dot, call->k) * (double)((call->n + GMM_PANEL - 1) / GMM_PANEL) *
               (double)call->rhs.element_bytes;
    if (!call->quantized)
        return elements * (double)call->rhs.element_bytes;
    double groups = elements / weights->group_size;
    return elements * weights->bits / 8 + groups * (double)call->scales.element_bytes +
           (call->biases.ndim < 0 ? 0 : groups * (double)call->biases.element_bytes);
}

void gmm_explain_weights(const gmm_call *call, char *text, size_t size)
{
    const gmm_weights *weights = &call->weights;

    if (call->quantized)
        snprintf(text, size, "%s, %" PRId32 " bits, groups of %" PRId32, weights->format->name, weights->bits,
                 weights->group_size);
    else
        snprintf(text, size, "%s", gmm_dtype_name(call->rhs.dtype));
}

const char *gmm_explain_decoder(const gmm_call *call, const gmm_plan *plan)
{
    if (plan->int8 || plan->tile)
        return "none";
    if (plan->decoder)
        return plan->decoder->name;
    return !call->quantized && call->rhs.dtype == GMM_F32 ? "none" : "portable";
}

/* What of the sums is chosen by the context. */
static void arithmetic_text(const gmm_context *context, const gmm_call *call, const gmm_plan *plan, char *text,
                            size_t size)
{
    char tiles[64] = "";

    if (plan->int8) {
        snprintf(text, size, "int8, rows of lhs rounded in groups of %" PRId32, call->weights.group_size);
        return;
    }
    if (plan->tile)
        snprintf(tiles, sizeof tiles, " of bf16 tiles, %" PRId32 " part%s to an element of lhs", plan->parts,
                 plan->parts == 1 ? "" : "s");
    snprintf(text, size, "f32%s%s", tiles,
             gmm_context_arithmetic(context) == GMM_ARITHMETIC_INT8
                 ? "; int8 is for affine, mxfp4 and nvfp4 weights along K"
                 : "");
}

/* Which BLAS, and what it multiplies; nothing if the context has none. */
static void blas_text(const gmm_context *context, const gmm_plan *plan, char *text, size_t size)
{
    gmm_provider_info info;

    if (!gmm_context_provider(context, &info))
        return;
    int length = snprintf(text, size, "BLAS: %s for %" PRId64 " matrices, by %s of %s (%s%s)%s", info.symbol,
                          plan->blas_groups, info.library.version[0] ? info.library.version : "a library",
                          info.library.path, info.build_id[0] ? "build-id " : "no build-id", info.build_id,
                          info.state == GMM_PROVIDER_STATE_REMEDIED ? "; C zeroed as a remedy" : "");
    if (length < 0 || (size_t)length >= size)
        return;
    if (plan->blas_left > 0)
        length += snprintf(text + length, size - (size_t)length, "; refused for %" PRId64, plan->blas_left);
    if (*info.finding && (size_t)length < size)
        length += snprintf(text + length, size - (size_t)length, "; %s", info.finding);
    if ((size_t)length < size)
        snprintf(text + length, size - (size_t)length, "\n");
}

static void plan_text(const gmm_context *context, const gmm_call *call, const gmm_plan *plan, char *text,
                      size_t text_size)
{
    char weights[64], arithmetic[128], one[32], all[32];
    const gmm_kernel *whole = plan->int8 ? plan->int8 : plan->tile; /* few rows and many */
    const gmm_kernel *few = whole ? whole : plan->dot, *many = whole ? whole : plan->outer;
    int64_t outer_groups = 0, most = 0;

    for (int64_t i = 0; i < plan->group_count; i++)
        most = plan->groups[i].rows > most ? plan->groups[i].rows : most;
    for (int64_t i = 0; i < plan->item_count; i++)
        outer_groups += plan->items[i].outer && plan->items[i].row == 0 && plan->items[i].column == 0;
    gmm_explain_weights(call, weights, sizeof weights);
    arithmetic_text(context, call, plan, arithmetic, sizeof arithmetic);
    snprintf(text, text_size,
             "%" PRId64 " products of %" PRId64 " x %" PRId64 " by %" PRId64 " x %" PRId64 ", type %s\n"
             "weights: %s, along %s%s; %" PRId64 " of %" PRId64 " matrices used, %s each, %s in all\n"
             "arithmetic: %s\n"
             "kernels: %s for %" PRId64 " matrices, %s for %" PRId64 "; at most %" PRId64 " rows a matrix; decode: %s\n"
             "threads: %" PRId32 " for %" PRId64 " pieces of work\n",
             call->products, call->m, call->k, call->k, call->n, gmm_dtype_name(call->dtype), weights,
             call->dot ? "K (dot layout)" : "N (outer layout)", call->prepared ? ", prepared" : "", plan->group_count,
             call->rhs_indices.matrices, gmm_explain_bytes(matrix_bytes(call), one, sizeof one),
             gmm_explain_bytes(matrix_bytes(call) * (double)plan->group_count, all, sizeof all), arithmetic, few->name,
             plan->group_count - outer_groups - plan->blas_groups, many->name, outer_groups, most,
             gmm_explain_decoder(call, plan), plan->workers, plan->item_count);
}

gmm_status gmm_explain(const gmm_context *context, const gmm_product *product, char *text, size_t text_size)
{
    gmm_status status;
    gmm_call call;
    gmm_plan plan;

    if (!text || text_size == 0)
        return gmm_fail(GMM_ERR_NULL, "text is NULL or of size 0");
    if ((status = gmm_call_check(product, &call)))
        return status;
    gmm_arena *arena = gmm_arena_begin(gmm_context_pool(context));
    if (!arena)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for a call");
    gmm_fp_env saved = gmm_fp_enter();
    status = gmm_plan_make(context, &call, arena, &plan);
    if (!status)
        plan_text(context, &call, &plan, text, text_size);
    if (!status)
        blas_text(context, &plan, text + strlen(text), text_size - strlen(text));
    gmm_fp_leave(saved);
    gmm_arena_end(gmm_context_pool(context), arena);
    return status;
}
