/* command.h - what a subcommand is, and the answers that all of them share. */
/* SPDX-License-Identifier: MIT */
#ifndef GMM_COMMAND_H
#define GMM_COMMAND_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit statuses, documented in gathermm(1). A command that a signal ended dies of that signal (128 + number in a
 * shell). */
enum {
    EXIT_FINE = 0,
    EXIT_FOUND = 1, /* a check found something */
    EXIT_USAGE = 2,
    EXIT_COULD_NOT_RUN = 3 /* a file, memory, bad input */
};

typedef struct command {
    const char *name;
    const char *arguments;             /* the usage line after the name */
    const char *summary;               /* for the list of commands */
    const char *help;                  /* options and notes, at most 80 columns wide */
    void (*more_help)(void);           /* prints what only the library knows; NULL: nothing */
    int (*run)(int argc, char **argv); /* argv[0] is the subcommand's name; returns an exit status */
} command;

#define COMMAND(name) extern const command name;
#include "command_list.h"
#undef COMMAND

/* "gathermm NAME: message", the usage line and where to find help on stderr; returns EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int usage_error(const command *cmd, const char *format, ...);

/* A usage_error with this message about an option's value, which it frees; true if it is NULL. */
bool accept_value(const command *cmd, const char *option, char *message);

/* getopt_long for long options without abbreviations or short forms, except -h. Returns an option's val; -1 at the end;
 * '?' after a usage_error that names the option and, if there is one, the nearest that exists. */
int next_option(const command *cmd, int argc, char **argv, const struct option *options);

/* Print a command's help on stdout. */
void print_help(const command *cmd);

/* A whole number in [lowest, highest] from an option's text; false if it is none. */
bool parse_number(const char *text, int32_t lowest, int32_t highest, int32_t *number);

#endif
