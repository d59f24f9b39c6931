/* conversion_plan.c - which tensors the other layout has. */
/* SPDX-License-Identifier: MIT */
#include "checkpoint/conversion_plan.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "checkpoint/conversion_output.h"
#include "io/file_check.h"

/* Names in order, runs of digits as numbers, so that layer 10 follows layer 9. */
static int compare_names(const char *a, const char *b)
{
    const char *whole_a = a, *whole_b = b;

    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            while (*a == '0' && isdigit((unsigned char)a[1]))
                a++;
            while (*b == '0' && isdigit((unsigned char)b[1]))
                b++;
            size_t m = strspn(a, "0123456789"), n = strspn(b, "0123456789");
            int order = m != n ? (m > n) - (m < n) : strncmp(a, b, m);
            if (order)
                return order;
            a += m;
            b += n;
        } else if (*a != *b)
            break;
        else {
            a++;
            b++;
        }
    }
    int order = (unsigned char)*a - (unsigned char)*b;
    return order ? order : strcmp(whole_a, whole_b);
}

static int by_name(const void *a, const void *b)
{
    return compare_names((*(const gmm_output *const *)a)->name, (*(const gmm_output *const *)b)->name);
}

static void note_dense_routers(gmm_conversion *c)
{
    const gmm_checkpoint *checkpoint = c->checkpoint;

    for (size_t l = 0; c->to_mlx && checkpoint->family->router_stays_dense && l < checkpoint->count; l++) {
        const char *module = checkpoint->records[l].router.name;
        size_t length = strlen(module);
        for (size_t i = 0; i < c->count; i++)
            if (strncmp(c->outputs[i]->name, module, length) == 0 &&
                strcmp(c->outputs[i]->name + length, ".weight") == 0)
                c->outputs[i]->info.stays_dense = true;
    }
}

static gmm_status plan(gmm_conversion *c)
{
    const gmm_checkpoint *checkpoint = c->checkpoint;
    gmm_status status = GMM_OK;

    for (size_t l = 0; l < checkpoint->count && status == GMM_OK; l++)
        status = gmm_conversion_experts(c, &checkpoint->records[l]);
    if (status == GMM_OK && checkpoint->family->convert)
        status = checkpoint->family->convert(c);
    if (status == GMM_OK)
        status = gmm_conversion_others(c);
    if (status != GMM_OK)
        return status;
    note_dense_routers(c);
    if (c->count)
        qsort(c->outputs, c->count, sizeof(gmm_output *), by_name);
    for (size_t i = 1; i < c->count; i++)
        if (strcmp(c->outputs[i - 1]->name, c->outputs[i]->name) == 0)
            return gmm_malformed(checkpoint->set.path, "two tensors would be " GMM_QUOTED, c->outputs[i]->name);
    return GMM_OK;
}

static gmm_status check_options(const gmm_conversion_options *options)
{
    if (options->size != sizeof *options)
        return gmm_fail(GMM_ERR_ARGUMENT, "options->size is %zu; it must be %zu", options->size, sizeof *options);
    if (!options->layout)
        return gmm_fail(GMM_ERR_NULL, "options->layout is NULL");
    if (strcmp(options->layout, "hf") != 0 && strcmp(options->layout, "mlx") != 0)
        return gmm_fail(GMM_ERR_ARGUMENT, "layout is not \"hf\" or \"mlx\"");
    return GMM_OK;
}

gmm_status gmm_conversion_create(const gmm_checkpoint *checkpoint, const gmm_conversion_options *options,
                                 gmm_conversion **conversion)
{
    if (!checkpoint || !options || !conversion)
        return gmm_fail(GMM_ERR_NULL, "%s is NULL", !checkpoint ? "checkpoint" : !options ? "options" : "conversion");
    gmm_status status = check_options(options);
    if (status != GMM_OK)
        return status;
    if (checkpoint->is_gguf)
        return gmm_fail(GMM_ERR_ARGUMENT, "%s: GGUF files are not converted", checkpoint->set.path);
    gmm_conversion *made = calloc(1, sizeof *made);
    if (!made)
        return gmm_fail(GMM_ERR_MEMORY, "no memory for %zu bytes", sizeof *made);
    size_t tensors = checkpoint->set.count;
    *made = (gmm_conversion){.checkpoint = checkpoint,
                             .to_mlx = strcmp(options->layout, "mlx") == 0,
                             .decode_fp8 = options->decode_fp8,
                             .left_out = calloc(tensors + 1, sizeof(char *)),
                             .used = calloc(tensors + 1, sizeof(bool))};
    status = made->left_out && made->used ? plan(made) : gmm_conversion_no_memory(made);
    if (status != GMM_OK) {
        gmm_conversion_free(made);
        return status;
    }
    *conversion = made;
    return GMM_OK;
}

void gmm_conversion_free(gmm_conversion *conversion)
{
    if (!conversion)
        return;
    for (size_t i = 0; i < conversion->count; i++) {
        free(conversion->outputs[i]->name);
        free(conversion->outputs[i]->pieces);
        free(conversion->outputs[i]);
    }
    free(conversion->outputs);
    free(conversion->left_out);
    free(conversion->used);
    free(conversion);
}

size_t gmm_conversion_count(const gmm_conversion *conversion)
{
    return conversion ? conversion->count : 0;
}

bool gmm_conversion_at(const gmm_conversion *conversion, size_t i, gmm_converted *tensor)
{
    if (i >= gmm_conversion_count(conversion))
        return false;
    *tensor = conversion->outputs[i]->info;
    return true;
}

const char *gmm_conversion_left_out_at(const gmm_conversion *conversion, size_t i)
{
    return conversion && i < conversion->left_out_count ? conversion->left_out[i] : NULL;
}
