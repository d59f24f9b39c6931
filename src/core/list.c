/* list.c - what there is: version, CPU features, kernels, formats. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/context.h"
#include "core/call.h"
#include "cpu/cpu.h"

#define TEXT(x) #x
#define TEXT_OF(macro) TEXT(macro)

const char *gmm_version(void)
{
    return TEXT_OF(GMM_VERSION_MAJOR) "." TEXT_OF(GMM_VERSION_MINOR) "." TEXT_OF(GMM_VERSION_PATCH);
}

const char *gmm_build_info(void)
{
#if defined(__clang__)
#define COMPILER "clang " TEXT_OF(__clang_major__) "." TEXT_OF(__clang_minor__) "." TEXT_OF(__clang_patchlevel__)
#else
#define COMPILER "gcc " __VERSION__
#endif
#ifdef _OPENMP
#define THREADS "OpenMP"
#else
#define THREADS "no OpenMP"
#endif
    return COMPILER ", " GMM_BUILD_FLAGS ", " THREADS;
}

bool gmm_cpu_feature_at(const gmm_context *context, size_t i, gmm_cpu_feature_info *info)
{
    uint32_t usable;

    if (i >= GMM_CPU_COUNT || gmm_cpu_usable(context, &usable))
        return false;
    info->name = gmm_cpu_words[i];
    info->present = gmm_cpu_present() >> i & 1;
    info->masked = info->present && !(usable >> i & 1);
    return true;
}

bool gmm_kernel_at(const gmm_context *context, size_t i, gmm_kernel_info *info)
{
    uint32_t usable;

    for (size_t before = 0; before < i; before++)
        if (!gmm_kernels[before])
            return false;
    if (!gmm_kernels[i] || gmm_cpu_usable(context, &usable))
        return false;
    const gmm_kernel *kernel = gmm_kernels[i];
    *info = (gmm_kernel_info){
        .name = kernel->name,
        .body = kernel->body,
        .reads = kernel->reads,
        .mr = kernel->mr,
        .nr = kernel->nr,
        .usable = !(kernel->needs & ~usable),
        .used = gmm_kernel_used(kernel, usable),
    };
    return true;
}

bool gmm_format_at(size_t i, gmm_format_info *info)
{
    for (size_t before = 0; before < i; before++)
        if (!gmm_formats[before])
            return false;
    if (!gmm_formats[i])
        return false;
    const gmm_format *format = gmm_formats[i];
    *info = (gmm_format_info){
        .mode = format->name,
        .quantized = format->quantized,
        .has_biases = format->has_biases,
        .group_sizes = format->group_sizes,
        .bits = format->bits,
    };
    return true;
}
