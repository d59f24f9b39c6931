/* quantize_options.c - see quantize_options.h. */
/* SPDX-License-Identifier: MIT */
#include "quantize_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

/* A word and the value that it stands for. */
typedef struct choice {
    const char *word;
    int value;
} choice;

static const choice exponent_rules[] = {{"nearest", GMM_EXPONENT_NEAREST}, {"up", GMM_EXPONENT_UP}, {NULL, 0}};
static const choice tie_rules[] = {{"smaller", GMM_TIES_SMALLER}, {"even", GMM_TIES_EVEN}, {NULL, 0}};
static const choice dtypes[] = {{"f32", GMM_F32}, {"f16", GMM_F16}, {"bf16", GMM_BF16}, {NULL, 0}};

/* The value of the word given for an option; 0 after a usage error. */
static int choose(const command *cmd, const char *option, const char *word, const choice *choices)
{
    char *words = must_format("%s", choices[0].word);

    for (size_t i = 0; choices[i].word; i++) {
        if (!strcmp(choices[i].word, word)) {
            free(words);
            return choices[i].value;
        }
        if (i > 0) {
            char *longer = must_format("%s, %s", words, choices[i].word);
            free(words);
            words = longer;
        }
    }
    usage_error(cmd, "--%s '%s' is not one of: %s", option, word, words);
    free(words);
    return 0;
}

static void add_pattern(pattern_list *list, const char *glob)
{
    list->globs = must_grow(list->globs, list->count + 1, sizeof *list->globs);
    list->matched = must_grow(list->matched, list->count + 1, sizeof *list->matched);
    list->globs[list->count] = glob;
    list->matched[list->count++] = false;
}

static bool read_number(const command *cmd, const char *option, int32_t lowest, int32_t *number)
{
    if (parse_number(optarg, lowest, 65536, number))
        return true;
    usage_error(cmd, "--%s '%s' is not a whole number from %d to 65536", option, optarg, (int)lowest);
    return false;
}

bool quantize_read_option(const command *cmd, quantize_request *request, int option)
{
    switch (option) {
    case OPTION_MODE:
        request->options.mode = optarg;
        return true;
    case OPTION_BITS:
        return read_number(cmd, "bits", 1, &request->options.bits);
    case OPTION_GROUP_SIZE:
        return read_number(cmd, "group-size", 1, &request->options.group_size);
    case OPTION_EXCLUDE:
        add_pattern(&request->excludes, optarg);
        return true;
    case OPTION_INCLUDE:
        add_pattern(&request->includes, optarg);
        return true;
    case OPTION_EXPONENT_RULE:
        request->options.exponent_rule = (gmm_exponent_rule)choose(cmd, "exponent-rule", optarg, exponent_rules);
        return request->options.exponent_rule != GMM_EXPONENT_DEFAULT;
    case OPTION_TIE_RULE:
        request->options.tie_rule = (gmm_tie_rule)choose(cmd, "tie-rule", optarg, tie_rules);
        return request->options.tie_rule != GMM_TIES_DEFAULT;
    case OPTION_DTYPE:
        request->casts = true;
        request->cast_dtype = (gmm_dtype)choose(cmd, "dtype", optarg, dtypes);
        return request->cast_dtype != 0;
    case OPTION_THREADS:
        return read_number(cmd, "threads", 1, &request->threads);
    case OPTION_JSON:
        request->json = true;
        return true;
    case OPTION_QUIET:
        request->quiet = true;
        return true;
    case OPTION_DRY_RUN:
        request->dry_run = true;
        return true;
    default: /* next_option has complained */
        return false;
    }
}

static bool find_format(const char *mode, gmm_format_info *format)
{
    for (size_t i = 0; gmm_format_at(i, format); i++)
        if (format->quantized && !strcmp(format->mode, mode))
            return true;
    return false;
}

static int unknown_mode(const command *cmd, const char *option, const char *mode)
{
    gmm_format_info format;
    char *modes = must_format("%s", "");

    for (size_t i = 0; gmm_format_at(i, &format); i++)
        if (format.quantized) {
            char *longer = must_format("%s%s%s", modes, *modes ? ", " : "", format.mode);
            free(modes);
            modes = longer;
        }
    int status = mode ? usage_error(cmd, "--%s '%s' is not one of: %s", option, mode, modes)
                      : usage_error(cmd, "--%s is needed: %s", option, modes);
    free(modes);
    return status;
}

/* *value is one of the mode's, or becomes its default when it is 0. */
static int check_number(const command *cmd, const char *option, const char *mode, const int32_t *allowed,
                        int32_t *value)
{
    for (const int32_t *v = allowed; *value && *v; v++)
        if (*v == *value)
            return EXIT_FINE;
    if (*value) {
        char *list = number_list(allowed);
        usage_error(cmd, "--%s %d: mode %s has %s", option, (int)*value, mode, list);
        free(list);
        return EXIT_USAGE;
    }
    *value = allowed[0];
    return EXIT_FINE;
}

/* The rules decide how float codes are chosen; affine has none of them, nvfp4 no power-of-two exponent. */
static int check_rules(const command *cmd, const quantize_request *request, const char *mode)
{
    if (request->has_biases && request->options.tie_rule)
        return usage_error(cmd, "--tie-rule has no meaning for mode %s", mode);
    if (request->options.exponent_rule && strncmp(mode, "mx", 2))
        return usage_error(cmd, "--exponent-rule has no meaning for mode %s", mode);
    return EXIT_FINE;
}

int quantize_check_options(const command *cmd, const char *option, quantize_request *request)
{
    gmm_format_info format;
    const char *mode = request->options.mode;

    if (!mode || !find_format(mode, &format))
        return unknown_mode(cmd, option, mode);
    request->has_biases = format.has_biases;
    int status = check_number(cmd, "bits", mode, format.bits, &request->options.bits);
    if (!status)
        status = check_number(cmd, "group-size", mode, format.group_sizes, &request->options.group_size);
    return status ? status : check_rules(cmd, request, mode);
}

void quantize_request_free(quantize_request *request)
{
    free(request->includes.globs);
    free(request->includes.matched);
    free(request->excludes.globs);
    free(request->excludes.matched);
}

void quantize_print_modes(void)
{
    gmm_format_info format;
    table t = {.alignment = "lll"};

    table_add(&t, "mode");
    table_add(&t, "bits (default)");
    table_add(&t, "group sizes (default)");
    for (size_t i = 0; gmm_format_at(i, &format); i++) {
        if (!format.quantized)
            continue;
        char *bits = number_list(format.bits), *sizes = number_list(format.group_sizes);
        table_add(&t, "%s", format.mode);
        table_add(&t, "%s (%d)", bits, (int)format.bits[0]);
        table_add(&t, "%s (%d)", sizes, (int)format.group_sizes[0]);
        free(bits);
        free(sizes);
    }
    printf("\n");
    table_print(&t, 2);
}
