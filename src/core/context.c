/* context.c - making and freeing contexts. */
/* SPDX-License-Identifier: MIT */
#include "base/context.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/error.h"
#include "blas/provider.h"
#include "cpu/cpu.h"

/* What NULL contexts use. */
static gmm_pool default_pool, default_worker_pool;

#if defined(__GNUC__)
/* A program that unloads the library gets its memory back. */
static __attribute__((destructor)) void clear_default_pool(void)
{
    gmm_pool_clear(&default_pool);
    gmm_pool_clear(&default_worker_pool);
}
#endif

gmm_pool *gmm_context_pool(const gmm_context *context)
{
    return context ? context->pool : &default_pool;
}

gmm_pool *gmm_context_worker_pool(const gmm_context *context)
{
    return context ? context->worker_pool : &default_worker_pool;
}

gmm_context gmm_context_of_worker(const gmm_context *context)
{
    gmm_context worker = {.arithmetic = GMM_ARITHMETIC_F32};

    if (context)
        worker = *context;
    worker.threads = 1;
    worker.pool = gmm_context_worker_pool(context);
    return worker;
}

static gmm_status take_arithmetic(gmm_arithmetic arithmetic, gmm_context *context)
{
    /* As a number: what a caller puts there need not be one of the names. */
    int64_t value = (int64_t)arithmetic;

    if (value < GMM_ARITHMETIC_DEFAULT || value > GMM_ARITHMETIC_INT8)
        return gmm_fail(GMM_ERR_ARGUMENT, "arithmetic is %" PRId64 "; it may be 0 (default), 1 (f32) or 2 (int8)",
                        value);
    if (arithmetic != GMM_ARITHMETIC_DEFAULT)
        context->arithmetic = arithmetic;
    return GMM_OK;
}

gmm_status gmm_context_create(const gmm_context_options *options, gmm_context **context)
{
    gmm_context made = {.arithmetic = GMM_ARITHMETIC_F32};
    const size_t before_arithmetic = offsetof(gmm_context_options, arithmetic);
    const size_t before_blas = offsetof(gmm_context_options, blas);
    gmm_status status;
    uint32_t features;

    if (!context)
        return gmm_fail(GMM_ERR_NULL, "context is NULL");
    if (options) {
        if (options->size != sizeof *options && options->size != before_blas && options->size != before_arithmetic)
            return gmm_fail(GMM_ERR_ARGUMENT, "options->size is %zu; this library knows %zu, %zu and %zu",
                            options->size, before_arithmetic, before_blas, sizeof *options);
        if (options->threads < 0)
            return gmm_fail(GMM_ERR_ARGUMENT, "threads is %" PRId32 "; it may be 0 (default) or more",
                            options->threads);
        if ((status = gmm_cpu_parse_mask(options->cpu_mask, "cpu_mask", &made.cpu_mask)))
            return status;
        if (options->size >= before_blas && (status = take_arithmetic(options->arithmetic, &made)))
            return status;
        made.threads = options->threads;
        made.parallel_for = options->parallel_for;
        made.parallel_for_user = options->parallel_for_user;
    }
    if ((status = gmm_cpu_usable(&made, &features)))
        return status;
    if (options && options->size == sizeof *options && options->blas &&
        (status = gmm_provider_open(options->blas, &made.provider)))
        return status;

    gmm_context *result = malloc(sizeof *result);
    made.pool = calloc(1, sizeof *made.pool);
    made.worker_pool = calloc(1, sizeof *made.worker_pool);
    if (!result || !made.pool || !made.worker_pool) {
        free(result);
        free(made.pool);
        free(made.worker_pool);
        return gmm_fail(GMM_ERR_MEMORY, "no memory for a context");
    }
    *result = made;
    *context = result;
    return GMM_OK;
}

bool gmm_context_provider(const gmm_context *context, gmm_provider_info *info)
{
    if (!context || !context->provider || !info)
        return false;
    gmm_provider_describe(context->provider, info);
    return true;
}

void gmm_context_destroy(gmm_context *context)
{
    if (!context)
        return;
    gmm_pool_clear(context->pool);
    gmm_pool_clear(context->worker_pool);
    free(context->pool);
    free(context->worker_pool);
    free(context);
}
