/* format_list.c - the list of weight formats, and finding one in it. */
/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "formats/format.h"

#define FORMAT(name) &name,
const gmm_format *const gmm_formats[] = {
#include "formats/format_list.h"
    NULL,
};
#undef FORMAT

const gmm_format *gmm_format_find(const char *mode)
{
    for (size_t i = 0; gmm_formats[i]; i++)
        if (gmm_formats[i]->quantized && strcmp(gmm_formats[i]->name, mode) == 0)
            return gmm_formats[i];
    return NULL;
}

const gmm_format *gmm_format_dense(gmm_dtype dtype)
{
    for (size_t i = 0; gmm_formats[i]; i++)
        if (!gmm_formats[i]->quantized && gmm_formats[i]->dtype == dtype)
            return gmm_formats[i];
    return NULL;
}

/* "32, 64, 128" into text, cut to its size; returns text. */
static const char *list_text(const int32_t *numbers, char *text, size_t text_size)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; numbers[i] && used < text_size; i++)
        used += (size_t)snprintf(text + used, text_size - used, "%s%" PRId32, i ? ", " : "", numbers[i]);
    return text;
}

static gmm_status fail_mode(const char *mode)
{
    char text[128] = "";
    size_t used = 0;

    for (size_t i = 0; gmm_formats[i] && used < sizeof text; i++)
        if (gmm_formats[i]->quantized)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "", gmm_formats[i]->name);
    return gmm_fail(GMM_ERR_FORMAT, "mode is \"%.64s\"; the modes are %s", mode, text);
}

/* Is `wanted` in the list? 0 asks for the first, the default. */
static bool choose(const int32_t *numbers, int32_t wanted, int32_t *used)
{
    for (size_t i = 0; numbers[i]; i++)
        if (wanted == 0 || numbers[i] == wanted) {
            *used = numbers[i];
            return true;
        }
    return false;
}

gmm_status gmm_format_resolve(const char *mode, int32_t group_size, int32_t bits, const gmm_format **format,
                              int32_t *group_size_used, int32_t *bits_used)
{
    char text[64];
    const gmm_format *found = gmm_format_find(mode ? mode : "affine");

    if (!found)
        return fail_mode(mode);
    if (!choose(found->group_sizes, group_size, group_size_used))
        return gmm_fail(GMM_ERR_FORMAT, "group_size is %" PRId32 "; mode %s has %s", group_size, found->name,
                        list_text(found->group_sizes, text, sizeof text));
    if (!choose(found->bits, bits, bits_used))
        return gmm_fail(GMM_ERR_FORMAT, "bits is %" PRId32 "; mode %s has %s", bits, found->name,
                        list_text(found->bits, text, sizeof text));
    *format = found;
    return GMM_OK;
}
