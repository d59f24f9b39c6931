/* bench_cases.c - what a benchmark goes through, from the words of its options. */
/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "command.h"
#include "output.h"

static const bench_shape presets[] = {
#define PRESET(name, k, n, experts, top_k) {name, k, n, experts, top_k},
#include "bench_preset_list.h"
#undef PRESET
};

static const bench_activations activations[] = {{"f32", GMM_F32}, {"bf16", GMM_BF16}, {"f16", GMM_F16}};

static const bench_mode modes[] = {{"f32", GMM_ARITHMETIC_F32}, {"int8", GMM_ARITHMETIC_INT8}};

static const struct {
    const char *mode;
    gmm_dtype dtype;
} dense_types[] = {{"f32", GMM_F32}, {"f16", GMM_F16}, {"bf16", GMM_BF16}};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

bool bench_preset_at(size_t i, bench_shape *shape)
{
    if (i >= COUNT(presets))
        return false;
    *shape = presets[i];
    return true;
}

/* The smallest number of a 0-terminated list that is above `last`; 0 if there is none. */
static int32_t next_above(const int32_t *values, int32_t last)
{
    int32_t next = 0;

    for (; *values; values++)
        if (*values > last && (!next || *values < next))
            next = *values;
    return next;
}

/* A mode with several numbers of bits is several formats, in rising order. */
bool bench_format_at(size_t i, bench_format *format)
{
    gmm_format_info info;

    for (size_t f = 0; gmm_format_at(f, &info); f++) {
        int32_t bits = info.quantized ? next_above(info.bits, 0) : 0;
        do {
            if (i-- > 0)
                continue;
            *format = (bench_format){.mode = info.mode,
                                     .quantized = info.quantized,
                                     .has_biases = info.has_biases,
                                     .bits = bits,
                                     .group_size = info.quantized ? info.group_sizes[0] : 0};
            for (size_t d = 0; d < COUNT(dense_types); d++)
                if (!strcmp(dense_types[d].mode, info.mode))
                    format->dtype = dense_types[d].dtype;
            if (info.quantized && info.bits[1])
                snprintf(format->name, sizeof format->name, "%s%d", info.mode, (int)bits);
            else
                snprintf(format->name, sizeof format->name, "%s", info.mode);
            return true;
        } while (info.quantized && (bits = next_above(info.bits, bits)));
    }
    return false;
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

/* The next of "word,word,..." in memory of its own, and the rest; NULL at the end. An empty word is one too. */
static char *next_word(const char **rest)
{
    if (!*rest)
        return NULL;
    size_t length = strcspn(*rest, ",");
    char *word = must_format("%.*s", (int)length, *rest);
    *rest = (*rest)[length] ? *rest + length + 1 : NULL;
    return word;
}

/* One kind of thing that is chosen by words. */
typedef struct choices {
    bool (*name_at)(size_t i, char name[32]); /* false past the end */
    /* Append number i to the request; `suffix` begins with "/" or is "". False if there is no such suffix. */
    bool (*add)(bench_request *request, size_t i, const char *suffix);
} choices;

/* Add what the words name; "all" is everything. */
static char *read_words(bench_request *request, const char *words, const choices *from)
{
    char *word, *message = NULL, name[32];

    while (!message && (word = next_word(&words))) {
        char *names = must_format("%s", "");
        size_t length = strcspn(word, "/");
        bool all = !strcmp(word, "all"), added = false;
        for (size_t i = 0; from->name_at(i, name); i++) {
            char *longer = must_format("%s%s, ", names, name);
            free(names);
            names = longer;
            if (all || (strlen(name) == length && !strncmp(word, name, length)))
                added |= from->add(request, i, all ? "" : word + length);
        }
        if (!added)
            message = must_format("'%s' is not one of: %sall", word, names);
        free(names);
        free(word);
    }
    return message;
}

static bool shape_name_at(size_t i, char name[32])
{
    bench_shape shape;
    bool there = bench_preset_at(i, &shape);

    if (there)
        snprintf(name, 32, "%s", shape.name);
    return there;
}

void bench_add_shape(bench_request *request, bench_shape shape)
{
    for (size_t i = 0; i < request->shape_count; i++) {
        const bench_shape *s = &request->shapes[i];
        if (s->k == shape.k && s->n == shape.n && s->experts == shape.experts && s->top_k == shape.top_k)
            return;
    }
    request->shapes = must_grow(request->shapes, request->shape_count + 1, sizeof *request->shapes);
    request->shapes[request->shape_count++] = shape;
}

static bool add_preset(bench_request *request, size_t i, const char *suffix)
{
    bench_shape shape;

    if (*suffix || !bench_preset_at(i, &shape))
        return false;
    bench_add_shape(request, shape);
    return true;
}

char *bench_read_shapes(bench_request *request, const char *words)
{
    return read_words(request, words, &(choices){shape_name_at, add_preset});
}

static bool format_name_at(size_t i, char name[32])
{
    bench_format format;
    bool there = bench_format_at(i, &format);

    if (there)
        snprintf(name, 32, "%s", format.name);
    return there;
}

/* Take the group size in "/128"; false if the mode has no such size. */
static bool set_group_size(bench_format *format, const char *suffix)
{
    gmm_format_info info;
    int32_t size;

    if (!format->quantized || !parse_number(suffix + 1, 1, 65536, &size))
        return false;
    for (size_t f = 0; gmm_format_at(f, &info); f++)
        for (const int32_t *s = info.group_sizes; !strcmp(info.mode, format->mode) && *s; s++)
            if (*s == size) {
                size_t length = strlen(format->name);
                if (size != format->group_size)
                    snprintf(format->name + length, sizeof format->name - length, "/%d", (int)size);
                format->group_size = size;
                return true;
            }
    return false;
}

static bool add_format(bench_request *request, size_t i, const char *suffix)
{
    bench_format format;

    if (!bench_format_at(i, &format) || (*suffix && !set_group_size(&format, suffix)))
        return false;
    for (size_t f = 0; f < request->format_count; f++)
        if (!strcmp(request->formats[f].name, format.name))
            return true;
    request->formats = must_grow(request->formats, request->format_count + 1, sizeof *request->formats);
    request->formats[request->format_count++] = format;
    return true;
}

char *bench_read_formats(bench_request *request, const char *words)
{
    return read_words(request, words, &(choices){format_name_at, add_format});
}

static bool activations_name_at(size_t i, char name[32])
{
    if (i < COUNT(activations))
        snprintf(name, 32, "%s", activations[i].name);
    return i < COUNT(activations);
}

static bool add_activations(bench_request *request, size_t i, const char *suffix)
{
    if (*suffix)
        return false;
    for (size_t a = 0; a < request->activation_count; a++)
        if (request->activations[a] == &activations[i])
            return true;
    request->activations = must_grow(request->activations, request->activation_count + 1, sizeof *request->activations);
    request->activations[request->activation_count++] = &activations[i];
    return true;
}

char *bench_read_activations(bench_request *request, const char *words)
{
    return read_words(request, words, &(choices){activations_name_at, add_activations});
}

static bool mode_name_at(size_t i, char name[32])
{
    if (i < COUNT(modes))
        snprintf(name, 32, "%s", modes[i].name);
    return i < COUNT(modes);
}

static bool add_mode(bench_request *request, size_t i, const char *suffix)
{
    if (*suffix)
        return false;
    for (size_t m = 0; m < request->mode_count; m++)
        if (request->modes[m] == &modes[i])
            return true;
    request->modes = must_grow(request->modes, request->mode_count + 1, sizeof *request->modes);
    request->modes[request->mode_count++] = &modes[i];
    return true;
}

char *bench_read_modes(bench_request *request, const char *words)
{
    return read_words(request, words, &(choices){mode_name_at, add_mode});
}

bool bench_mode_fits(const bench_mode *mode, const bench_request *request, const bench_format *format)
{
    gmm_kernel_info kernel;

    if (mode->arithmetic == GMM_ARITHMETIC_F32)
        return true;
    for (size_t i = 0; !request->plain && gmm_kernel_at(NULL, i, &kernel); i++)
        if (!strcmp(kernel.body, mode->name) && !strcmp(kernel.reads, format->mode))
            return true;
    return false;
}

char *bench_read_numbers(const char *words, int32_t highest, int32_t **numbers, size_t *count)
{
    char *word, *message = NULL;
    int32_t number;

    while (!message && (word = next_word(&words))) {
        *numbers = must_grow(*numbers, *count + 1, sizeof **numbers);
        if (parse_number(word, 1, highest, &number))
            (*numbers)[(*count)++] = number;
        else
            message = must_format("'%s' is not a whole number from 1 to %d", word, (int)highest);
        free(word);
    }
    return message;
}

char *bench_read_set(const char *words, int32_t highest, int32_t **numbers, size_t *count)
{
    char *message = bench_read_numbers(words, highest, numbers, count);
    size_t kept = 0;

    for (size_t i = 0; i < *count; i++) {
        size_t j = 0;
        while (j < kept && (*numbers)[j] != (*numbers)[i])
            j++;
        if (j == kept)
            (*numbers)[kept++] = (*numbers)[i];
    }
    *count = kept;
    return message;
}

char *bench_read_seconds(const char *text, double *seconds)
{
    char *end;

    *seconds = strtod(text, &end);
    if (end == text || *end || !(*seconds > 0 && *seconds <= 3600))
        return must_format("'%s' is not a number of seconds above 0, up to 3600", text);
    return NULL;
}

char *bench_read_seed(const char *text, uint64_t *seed)
{
    char *end;

    errno = 0;
    *seed = strtoull(text, &end, 0);
    return errno || end == text || *end || *text == '-' ? must_format("'%s' is not a whole number", text) : NULL;
}
