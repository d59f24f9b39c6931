/* choose.c - which kernel of the list does what. */
/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "core/call.h"

static bool can(const gmm_kernel *kernel, gmm_ability ability)
{
    switch (ability) {
    case GMM_CAN_DOT:
        return kernel->dot != NULL;
    case GMM_CAN_OUTER:
        return kernel->outer != NULL;
    case GMM_CAN_INT8:
        return kernel->int8 != NULL;
    case GMM_CAN_TILE:
        return kernel->tile != NULL;
    case GMM_CAN_ACTIVATE:
        return kernel->activate != NULL;
    default:
        return kernel->decode != NULL;
    }
}

const gmm_kernel *gmm_kernel_choose(gmm_ability ability, const char *reads, uint32_t features)
{
    for (size_t i = 0; gmm_kernels[i]; i++)
        if (can(gmm_kernels[i], ability) && !strcmp(gmm_kernels[i]->reads, reads) &&
            !((gmm_kernels[i]->needs | gmm_kernels[i]->pays) & ~features))
            return gmm_kernels[i];
    return NULL;
}

bool gmm_kernel_used(const gmm_kernel *kernel, uint32_t features)
{
    for (gmm_ability ability = GMM_CAN_DOT; ability <= GMM_CAN_ACTIVATE; ability++)
        if (can(kernel, ability) && kernel == gmm_kernel_choose(ability, kernel->reads, features))
            return true;
    return false;
}

bool gmm_weights_plain(const gmm_weights *weights)
{
    if (weights->code_stride != 1)
        return false;
    if (weights->format->quantized)
        return weights->scale_stride == 1 && (!weights->format->has_biases || weights->bias_stride == 1);
    return weights->dtype == weights->format->dtype; /* else integers, which the format's own decode converts */
}

gmm_decode *gmm_decode_choose(const gmm_weights *weights, uint32_t features)
{
    const gmm_kernel *kernel = NULL;

    if (gmm_weights_plain(weights))
        kernel = gmm_kernel_choose(GMM_CAN_DECODE, weights->format->name, features);
    return kernel ? kernel->decode : weights->format->decode;
}
