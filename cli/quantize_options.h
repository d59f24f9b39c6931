/* quantize_options.h - the options of quantizing, for each command that does it. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_QUANTIZE_OPTIONS_H
#define GMM_QUANTIZE_OPTIONS_H

#include "command.h"
#include "quantize_plan.h"

enum {
    OPTION_MODE = 256,
    OPTION_BITS,
    OPTION_GROUP_SIZE,
    OPTION_EXCLUDE,
    OPTION_INCLUDE,
    OPTION_EXPONENT_RULE,
    OPTION_TIE_RULE,
    OPTION_DTYPE,
    OPTION_THREADS,
    OPTION_JSON,
    OPTION_QUIET,
    OPTION_DRY_RUN,
    OPTION_OWN /* a command's own options begin here */
};

/* Lines of a command's table; the mode's option has a name of the command's choice. */
#define QUANTIZE_OPTIONS(mode)                                                                                         \
    {mode, required_argument, NULL, OPTION_MODE}, {"bits", required_argument, NULL, OPTION_BITS},                      \
        {"group-size", required_argument, NULL, OPTION_GROUP_SIZE},                                                    \
        {"exclude", required_argument, NULL, OPTION_EXCLUDE}, {"include", required_argument, NULL, OPTION_INCLUDE},    \
        {"exponent-rule", required_argument, NULL, OPTION_EXPONENT_RULE},                                              \
        {"tie-rule", required_argument, NULL, OPTION_TIE_RULE}, {"dtype", required_argument, NULL, OPTION_DTYPE},      \
        {"threads", required_argument, NULL, OPTION_THREADS}, {"json", no_argument, NULL, OPTION_JSON},                \
        {"quiet", no_argument, NULL, OPTION_QUIET}, {"dry-run", no_argument, NULL, OPTION_DRY_RUN},                    \
    {                                                                                                                  \
        "help", no_argument, NULL, 'h'                                                                                 \
    }

/* Take one of these options with its value; false after a usage error. */
bool quantize_read_option(const command *cmd, quantize_request *request, int option);

/* The mode (of --OPTION), its bits and group size, and the rules: defaults filled in. EXIT_FINE, or EXIT_USAGE after an
 * error. */
int quantize_check_options(const command *cmd, const char *option, quantize_request *request);

void quantize_request_free(quantize_request *request);

/* The table of modes for a help text, from the library's list. */
void quantize_print_modes(void);

#endif
